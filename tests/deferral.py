"""An expat that is as slow to look again as any expat may be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from xml.parsers import expat


class Deferring:
    """A parser that looks at a part of a token again only when as much again has come (expat 2.6, *reparse deferral*).

    So that it defers whatever expat is installed, it does so by itself; an expat that can be told to is told to.
    """

    def __init__(self, *arguments: Any) -> None:
        parser = _create(*arguments)
        if hasattr(parser, "SetReparseDeferralEnabled"):
            parser.SetReparseDeferralEnabled(True)
        self.__dict__.update(parser=parser, deferred=b"", fed=0, token=0, had=0)

    def Parse(self, data: bytes, final: bool = False) -> None:  # noqa: N802
        """Expat's callProcessor(): the text of a token that is not whole, and had been there before, is only kept."""
        own = self.__dict__
        own["deferred"] += data
        own["fed"] += len(data)
        have = own["fed"] - own["token"]
        if not final and have < 2 * own["had"]:
            return
        data, own["deferred"] = own["deferred"], b""
        own["parser"].Parse(data, final)
        token = own["parser"].CurrentByteIndex
        own["had"] = have if token == own["token"] else 0
        own["token"] = token

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["parser"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["parser"], name, value)


_create = expat.ParserCreate


@contextmanager
def defer() -> Iterator[None]:
    """Every parser that is made meanwhile defers."""
    with mock.patch.object(expat, "ParserCreate", Deferring):
        yield

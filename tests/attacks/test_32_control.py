"""Attack 32, control: the search finds what is planted, wherever and in whatever form."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.attacks.secret_search import WORDS, Search, finish, watch_loop
from tests.slixmpp_e2e.env import Env

PLANTED = bytes.fromhex("9f3ac41b7e05d86290aa5b1c3de7f4886b21507c0e9d4fa3b8165ae2d37c01f6")


@dataclass
class Careless:
    """As dataclasses are by default."""

    key: bytes


def in_log(secret: bytes) -> str:
    logging.getLogger("slixmpp_e2e").debug("derived %s", secret.hex())
    return ""


def in_traceback(secret: bytes) -> str:
    try:
        try:
            bytes([0xFF]).decode() if secret else None
        except UnicodeDecodeError:
            raise ValueError(secret) from None
    except ValueError as error:
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.parametrize(
    "plant",
    [
        in_log,
        in_traceback,
        lambda secret: repr(Careless(secret)),
        lambda secret: repr(secret[5:20]),
        lambda secret: base64.b64encode(b"x" + secret + b"y").decode(),
        lambda secret: base64.b64encode(b"xy" + secret).decode(),
        lambda secret: base64.urlsafe_b64encode(secret).decode(),
        lambda secret: secret.hex(":"),
        lambda secret: str(list(secret)),
        lambda secret: f"d={int.from_bytes(secret, 'big')}",
        lambda secret: secret.decode("latin-1"),
    ],
)
def test_control_what_is_planted_is_found(
    search: Search, caplog: pytest.LogCaptureFixture, plant: Callable[[bytes], str]
) -> None:
    """In a log, a traceback or a repr, in each way of writing; and nothing is found that is not there."""
    search.secrets["planted"] = PLANTED
    search.secrets["not planted"] = PLANTED[::-1]
    search.texts.append(plant(PLANTED))
    with pytest.raises(AssertionError):
        finish(search, caplog)
    assert search.found() == {"planted"}


async def test_control_every_object_is_looked_at(env: Env, search: Search) -> None:
    """Sessions, stores, keys and configurations are among them, and one that shows its secret is found."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    assert search.every_repr() > 50
    said = "\n".join(search.texts)
    for name in ("<E2ESession alice@localhost/a", "SQLStore(", "KeyFile(", "OwnKey(SHA256:", "Config("):
        assert name in said
    careless = Careless(PLANTED)
    Careless.__module__ = "slixmpp_e2e.careless"
    search.secrets["planted"] = PLANTED
    search.every_repr()
    assert search.found() == {"planted"}
    assert careless
    Careless.__module__ = __name__


async def test_control_a_partial_is_found(search: Search) -> None:
    """As asyncio.to_thread() makes one of a function's arguments."""
    careless = partial(derive_srp_secret, WORDS)
    search.texts += [repr(each) for each in gc.get_objects() if isinstance(each, partial)]
    assert search.found() == {"passphrase"}
    assert careless


async def test_control_what_a_future_holds_is_found(search: Search) -> None:
    """As a thread's result has it, when the loop calls whoever waits for it."""
    watch_loop(search)
    search.secrets["planted"] = PLANTED
    assert await asyncio.to_thread(lambda: PLANTED) == PLANTED
    assert search.found() == {"planted"}


async def test_control_a_context_is_found(search: Search) -> None:
    """Though Python does not print it."""
    search.secrets["planted"] = PLANTED

    def decode() -> None:
        try:
            raise UnicodeDecodeError("utf-8", PLANTED, 0, 1, "invalid start byte")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None

    with pytest.raises(ValueError, match="it is not UTF-8 text") as caught:
        decode()
    assert "x9f" not in "".join(traceback.format_exception(caught.value))
    search.said(caught.value)
    assert search.found() == {"planted"}


@pytest.mark.parametrize("name", ["slixmpp_e2e", "slixmpp", "asyncio", "sqlalchemy.engine"])
async def test_control_every_log_is_heard(search: Search, name: str) -> None:
    """At every level, and the parts of a line as well as the line."""
    search.secrets["planted"] = PLANTED
    logging.getLogger(name).debug("a line", extra={"key": PLANTED})
    assert search.found() == {"planted"}

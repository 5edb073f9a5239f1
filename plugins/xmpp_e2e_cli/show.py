"""What people and programs get to read: results on stdout, progress on stderr, JSON on request, no colour unless wanted.

Whatever comes from a peer is cleaned before a terminal sees it: it could hold commands to the terminal, or forge a line.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, TextIO

import segno
from rich.console import Console
from rich.text import Text

from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Assurance, KnownKey
from xmpp_e2e_cli.codes import code_of

WIDTH = 80
"""Columns at most: longer lines are hard to read."""
STYLES = {
    Assurance.NONE: "bold red",
    Assurance.VOUCHED: "yellow",
    Assurance.VOUCHED_SIGNED: "yellow",
    Assurance.KNOWN: "cyan",
    Assurance.VERIFIED: "bold green",
}
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control characters, those that turn the direction of writing or join nothing, and line breaks other than \\n."""


def clean(text: str) -> str:
    """``text`` with what could command a terminal, or deceive whoever reads it, spelled out as ``<U+001B>``; \\n stays."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSEEN else f"<U+{ord(c):04X}>" for c in text)


def one_line(text: str) -> str:
    """`clean`, and on one line."""
    return clean(text).replace("\n", " ")


class Output:
    """Where a command writes."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.results = _console(sys.stdout)
        self.progress = _console(sys.stderr)

    def result(self, data: dict[str, Any], *lines: Text | str) -> None:
        """One result: ``data`` as a line of JSON, or else the lines for people."""
        if self.as_json:
            print(json.dumps(data), flush=True)
            return
        for line in lines:
            _write(self.results, line)

    def tell(self, line: Text | str) -> None:
        """Progress, on stderr."""
        _write(self.progress, line)

    def tell_plainly(self, text: str) -> None:
        """Progress that may quote a peer."""
        self.tell(clean(text))

    def ask(self, question: str) -> None:
        """A question, on stderr; the answer is typed behind it."""
        self.progress.print(question, soft_wrap=True, end="")
        self.progress.file.flush()

    def event(self, name: str, data: dict[str, Any], line: Text | str) -> None:
        """Something that happened meanwhile: a line of JSON on stdout, or else a line for people on stderr."""
        if self.as_json:
            self.result({"event": name, **data})
        else:
            self.tell(line)

    def error(self, error: E2EError) -> None:
        """The whole story on stderr; in JSON on stdout."""
        code = code_of(error)
        if self.as_json:
            told = {"message": str(error), "likely": error.likely, "attack": error.attack, "remedy": error.remedy}
            print(json.dumps({"error": type(error).__name__, "exit_code": int(code), **told}), flush=True)
            return
        first, *rest = clean(error.explain()).splitlines()
        self.tell(Text.assemble(("error: ", "bold red"), first))
        for line in rest:
            self.tell(f"  {line}")


def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _write(console: Console, line: Text | str) -> None:
    """Never wrapped: what is copied or piped must stay in one piece."""
    console.print(line, soft_wrap=True)
    console.file.flush()


def leveled(assurance: Assurance) -> Text:
    """The word, in its colour."""
    return Text(str(assurance), STYLES[assurance])


def message_line(sender: str, assurance: Assurance, body: str) -> Text:
    """One message; its further lines are indented, so that none looks like another message."""
    head = Text.assemble(one_line(sender), " [", leveled(assurance), "] ")
    return head.append(clean(body).replace("\n", "\n    "))


def qr(text: str) -> str:
    """A QR code (ISO/IEC 18004) in half blocks. Light on dark."""
    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(blocks[bool(a), bool(b)] for a, b in zip(*pair, strict=True)) for pair in pairs)


def key_data(key: KnownKey) -> dict[str, Any]:
    """A remembered key for programs; ``since`` in seconds since the epoch."""
    return {
        "fingerprint": str(key.fingerprint),
        "assurance": "blocked" if key.blocked else str(key.assurance),
        "method": key.method,
        "since": key.since,
        "blocked": key.blocked,
    }


def key_text(key: KnownKey, day: Callable[[float], str]) -> Text:
    """A remembered key on one line."""
    if key.blocked:
        return Text.assemble(str(key.fingerprint), "  ", ("blocked", "bold red"), f" since {day(key.since)}")
    how = f" by {key.method}, since {day(key.since)}"
    return Text.assemble(str(key.fingerprint), "  ", leveled(key.assurance), how)

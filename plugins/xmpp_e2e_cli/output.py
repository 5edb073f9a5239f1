"""Print for people and programs: results on stdout, progress on stderr, JSON on request.

Text from a peer is escaped before it reaches the terminal: it could hold terminal commands, or imitate a line of ours.
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

from slixmpp_e2e.alarms import explain, reason_of, summary, words
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import ACCEPT, RETIRED, Assurance, Fingerprint, KnownKey
from xmpp_e2e_cli.exit_codes import exit_code_of

WIDTH = 80
"""Maximum width of prose, in columns."""
STYLES = {
    Assurance.NONE: "bold red",
    Assurance.VOUCHED: "yellow",
    Assurance.VOUCHED_SIGNED: "yellow",
    Assurance.KNOWN: "cyan",
    Assurance.VERIFIED: "bold green",
}
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of control characters, invisible format characters, and line breaks other than \\n."""


def escape(text: str) -> str:
    """Return ``text`` with every unprintable character spelled out, such as ``<U+001B>``. Only \\n stays."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNPRINTABLE else f"<U+{ord(c):04X}>" for c in text)


def one_line(text: str) -> str:
    """Return ``text`` escaped and on one line."""
    return escape(text).replace("\n", " ")


class Output:
    """The output of one command."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json, self.verbose = as_json, verbose
        self.results = _console(sys.stdout)
        self.progress = _console(sys.stderr)

    def result(self, data: dict[str, Any], *lines: Text | str) -> None:
        """Print a result: with ``--json`` the data as one line, otherwise the lines for people."""
        if self.as_json:
            print(json.dumps(data), flush=True)
            return
        for line in lines:
            _write(self.results, line)

    def info(self, line: Text | str) -> None:
        """Print progress to stderr."""
        _write(self.progress, line)

    def info_escaped(self, text: str) -> None:
        """Print progress that may quote a peer: escape it first."""
        self.info(escape(text))

    def ask(self, question: str) -> None:
        """Print a question to stderr, without a line break after it."""
        self.progress.print(question, soft_wrap=True, end="")
        self.progress.file.flush()

    def carried(self, peer: str, have: int, size: int) -> None:
        """Print how far a message has come: at a terminal, or if ``verbose``; with ``--json`` as an event, if ``verbose``."""
        if self.verbose or (self.progress.is_terminal and not self.as_json):
            data = {"peer": peer, "acknowledged_bytes": have, "bytes": size}
            self.event("progress", data, f"{have} of {size} bytes have come to {one_line(peer)}")

    def event(self, name: str, data: dict[str, Any], line: Text | str) -> None:
        """Print an event: with ``--json`` as a line on stdout, otherwise as a line for people on stderr."""
        if self.as_json:
            self.result({"event": name, **data})
        else:
            self.info(line)

    def error(self, error: E2EError) -> None:
        """Print an error with its explanation to stderr; with ``--json`` to stdout."""
        code = exit_code_of(error)
        if self.as_json:
            kind = {"error": type(error).__name__, "code": reason_of(error).value, "exit_code": int(code)}
            print(json.dumps({**kind, "message": summary(error), **words(error)._asdict()}), flush=True)
            return
        first, *rest = escape(explain(error)).splitlines()
        self.info(Text.assemble(("error: ", "bold red"), first))
        for line in rest:
            self.info(f"  {line}")


def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _write(console: Console, line: Text | str) -> None:
    """Print without wrapping: a line that is copied or piped must stay in one piece."""
    console.print(line, soft_wrap=True)
    console.file.flush()


def assurance_text(assurance: Assurance) -> Text:
    """Return the assurance as a coloured word."""
    return Text(str(assurance), STYLES[assurance])


def message_line(sender: str, assurance: Assurance, body: str) -> Text:
    """Format a message. Its further lines are indented, so that none looks like another message."""
    head = Text.assemble(one_line(sender), " [", assurance_text(assurance), "] ")
    return head.append(escape(body).replace("\n", "\n    "))


def qr_code(text: str) -> str:
    """Draw a QR code (ISO/IEC 18004) with half blocks, light on dark."""
    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(blocks[bool(a), bool(b)] for a, b in zip(*pair, strict=True)) for pair in pairs)


def key_json(key: KnownKey) -> dict[str, Any]:
    """Return a remembered key for programs; ``since`` is in seconds since the epoch."""
    return {
        "fingerprint": str(key.fingerprint),
        "assurance": "blocked" if key.blocked else str(key.assurance),
        "method": key.verified_by,
        "since": key.first_seen,
        "blocked": key.blocked,
    }


def key_text(key: KnownKey, day: Callable[[float], str], rotated_from: Fingerprint | None = None) -> Text:
    """Format a remembered key as one line. ``rotated_from``: the key whose place it took."""
    if key.blocked and key.verified_by == RETIRED:
        return Text.assemble(str(key.fingerprint), "  ", ("retired", "bold red"), ", refused: another took its place")
    if key.blocked:
        return Text.assemble(str(key.fingerprint), "  ", ("blocked", "bold red"), f" since {day(key.first_seen)}")
    since = f"since {day(key.first_seen)}"
    if key.verified_by == ACCEPT:
        return Text.assemble(str(key.fingerprint), "  ", ("accepted", STYLES[key.assurance]), f", not verified, {since}")
    how = f" by {key.verified_by}, {since}" + (f", rotated from {rotated_from}" if rotated_from else "")
    return Text.assemble(str(key.fingerprint), "  ", assurance_text(key.assurance), how)

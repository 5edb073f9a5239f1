"""Print the demo. Every statement about what happened is checked before it is printed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TextIO, TypeVar

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from xmpp_e2e_cli.errors import DemoFailed
from xmpp_e2e_cli.output import WIDTH, escape

PATIENCE = 20.0
"""Timeout for each thing that has to happen. It takes milliseconds, or a second on a slow machine."""
INDENT = 3
LABEL = 14
_T = TypeVar("_T")


class Narrator:
    """Prints claims, explanations and quotes. A claim that is not true raises DemoFailed and is not printed."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._width = min(WIDTH, self._console.width)
        fancy = self._console.encoding.lower().startswith("utf")
        tick, self._dots, self._rule = ("✓", "…", "─") if fancy else ("*", "...", "-")
        self._mark = Text.assemble(" " * INDENT, (tick, "green"), " ")
        self.checked = 0
        """The number of claims that were checked so far."""

    def title(self, text: str) -> None:
        """Print the first line."""
        self._console.print(Text(text, "bold"), width=self._width)

    def section(self, text: str) -> None:
        """Print a heading above several scenes; nothing if it is empty."""
        if text:
            self._console.print()
            self._print(Text(), Text(text, "bold"))

    def scene(self, number: int, title: str) -> None:
        """Begin a scene."""
        head = f"{number}  {title} "
        rule = self._rule * max(0, self._width - len(head))
        self._console.print()
        self._console.print(Text.assemble((head, "bold"), (rule, "dim")), width=self._width)

    def explain(self, text: str) -> None:
        """Print an explanation, which claims nothing about this run."""
        self._print(Text(" " * INDENT), Text(text))

    def claim(self, text: str, true: bool) -> None:
        """Print a claim about this run, if it is true."""
        self._check(text, true)
        self._print(self._mark, Text(text))

    def claim_row(self, label: str, value: str, true: bool) -> None:
        """Print a claim as a row of a table, if it is true."""
        self._check(f"{label}: {value}", true)
        self._print(self._mark + Text(f"{label:{LABEL}}", "bold"), Text(value))

    def quote(self, text: str, style: str = "cyan") -> None:
        """Quote code, a stanza or an error. The caller quotes only what really exists."""
        for line in escape(text).splitlines():
            self._print(Text(" " * (INDENT + 2)), Text(line, style))

    def screens(self, screens: Sequence[tuple[str, str]]) -> None:
        """Draw the participants' screens, each with a title, side by side if there is room."""
        shown = Columns([Panel.fit(Text(escape(text)), title=title) for title, text in screens], equal=True)
        options = self._console.options.update(width=self._width - INDENT - 2)
        for line in self._console.render_lines(shown, options, pad=False):
            text = Text(" " * (INDENT + 2))
            for segment in line:
                text.append(segment.text, segment.style)
            text.rstrip()
            self._console.print(text, soft_wrap=True)

    def gap(self) -> None:
        """Print an empty line."""
        self._console.print()

    def shortened(self, text: str, characters: int) -> str:
        """Return ``text``, cut to this length; a cut says how much is missing."""
        if len(text) <= characters:
            return text
        return f"{text[:characters]}{self._dots} ({len(text) - characters} characters more)"

    async def wait_for(self, what: str, happens: Awaitable[_T]) -> _T:
        """Wait for something that has to happen. Raises DemoFailed after a timeout."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await happens
        except TimeoutError:
            raise DemoFailed(f"this did not happen within {PATIENCE:.0f} seconds: {what}") from None

    def _check(self, text: str, true: bool) -> None:
        if not true:
            raise DemoFailed(f"this statement is not true: {text}")
        self.checked += 1

    def _print(self, before: Text, text: Text) -> None:
        """Print wrapped text. Further lines begin below the first word."""
        room = max(self._width - len(before), 1)
        for line in text.wrap(self._console, room):
            line.rstrip()
            self._console.print(before + line, soft_wrap=True)
            before = Text(" " * len(before))

"""How the demonstration talks: every statement about what happened is checked before it is printed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TextIO, TypeVar

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.show import WIDTH, clean

PATIENCE = 20.0
"""Seconds for anything that we wait for: it takes milliseconds, on a machine with nothing to spare a second."""
INDENT = 3
LABEL = 14
_T = TypeVar("_T")


class Story:
    """A narrator with a conscience. Nothing is printed for a claim that is not true: Untold is raised instead."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._width = min(WIDTH, self._console.width)
        fancy = self._console.encoding.lower().startswith("utf")
        tick, self._dots, self._rule = ("✓", "…", "─") if fancy else ("*", "...", "-")
        self._mark = Text.assemble(" " * INDENT, (tick, "green"), " ")
        self.checked = 0
        """Statements that were checked so far."""

    def title(self, text: str) -> None:
        """The first line."""
        self._console.print(Text(text, "bold"), width=self._width)

    def part(self, text: str) -> None:
        """What the scenes that follow have in common, if anything."""
        if text:
            self._console.print()
            self._print(Text(), Text(text, "bold"))

    def scene(self, number: int, title: str) -> None:
        """A new scene."""
        head = f"{number}  {title} "
        rule = self._rule * max(0, self._width - len(head))
        self._console.print()
        self._console.print(Text.assemble((head, "bold"), (rule, "dim")), width=self._width)

    def say(self, text: str) -> None:
        """What is going to happen, or what it means: no claim about this run."""
        self._print(Text(" " * INDENT), Text(text))

    def fact(self, text: str, true: bool) -> None:
        """A claim about this run."""
        self._claim(text, true)
        self._print(self._mark, Text(text))

    def row(self, label: str, value: str, true: bool) -> None:
        """A claim in a table."""
        self._claim(f"{label}: {value}", true)
        self._print(self._mark + Text(f"{label:{LABEL}}", "bold"), Text(value))

    def quote(self, text: str, style: str = "cyan") -> None:
        """Something as it is: code, a stanza, an error. The caller shows only what is there."""
        for line in clean(text).splitlines():
            self._print(Text(" " * (INDENT + 2)), Text(line, style))

    def screens(self, screens: Sequence[tuple[str, str]]) -> None:
        """What people see, title and text, side by side where there is room. The caller shows only what is there."""
        shown = Columns([Panel.fit(Text(clean(text)), title=title) for title, text in screens], equal=True)
        options = self._console.options.update(width=self._width - INDENT - 2)
        for line in self._console.render_lines(shown, options, pad=False):
            text = Text(" " * (INDENT + 2))
            for segment in line:
                text.append(segment.text, segment.style)
            text.rstrip()
            self._console.print(text, soft_wrap=True)

    def gap(self) -> None:
        """An empty line."""
        self._console.print()

    def shortened(self, text: str, characters: int) -> str:
        """``text``, cut if it is longer; what is missing is said."""
        if len(text) <= characters:
            return text
        return f"{text[:characters]}{self._dots} ({len(text) - characters} characters more)"

    async def until(self, what: str, happens: Awaitable[_T]) -> _T:
        """Wait for something, which is not for ever."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await happens
        except TimeoutError:
            raise Untold(f"in {PATIENCE:.0f} seconds this did not happen: {what}") from None

    def _claim(self, text: str, true: bool) -> None:
        if not true:
            raise Untold(f"this should be so, and is not: {text}")
        self.checked += 1

    def _print(self, before: Text, text: Text) -> None:
        """Wrapped, with what does not fit a line below its beginning."""
        room = max(self._width - len(before), 1)
        for line in text.wrap(self._console, room):
            line.rstrip()
            self._console.print(before + line, soft_wrap=True)
            before = Text(" " * len(before))

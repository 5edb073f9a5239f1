"""What users want proved beyond what the hellos need: who wishes for what, what waits for our own side's word, and what
both users have said of short strings."""

from __future__ import annotations

from dataclasses import dataclass

from xmpp_e2e.authenticate.strings import Form


@dataclass
class Wish:
    """A method that is to run, and how its strings are to be shown."""

    form: Form
    ours: bool
    """Does our own side want it, or agree?"""
    step: bytes | None = None
    """The first step of the initiator's, until the responder's side agrees."""
    announced: bool = False
    """Has our first step of it gone out, with its form?"""


class Wishes:
    """By method; each once in a session."""

    def __init__(self) -> None:
        self._all: dict[str, Wish] = {}
        self.strings_shown = False
        self.said: dict[bool, bool] = {}
        """Are the strings the same? By whose user said so: ours (True), the peer's (False)."""

    def __contains__(self, method: str) -> bool:
        return method in self._all and self._all[method].ours

    def of(self, method: str) -> Wish | None:
        """What is wished of a method."""
        return self._all.get(method)

    def add(self, method: str, wish: Wish) -> None:
        """Somebody wants it."""
        self._all[method] = wish

    def drop(self, method: str) -> None:
        """Nobody wants it any more."""
        self._all.pop(method, None)

    def form(self, method: str) -> Form:
        """How its strings are shown."""
        wish = self._all.get(method)
        return wish.form if wish is not None else Form.DECIMAL

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that the peer wants, and of which our own side has said nothing yet."""
        return tuple(method for method, wish in self._all.items() if not wish.ours)

    @property
    def methods(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._all)

    @property
    def comparing(self) -> bool:
        """Are the strings shown, and has one of the users yet to say whether they are the same, and none that they differ?"""
        return self.strings_shown and all(self.said.values()) and len(self.said) < 2

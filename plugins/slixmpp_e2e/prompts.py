"""How users are asked while a peer is proved: for a password, and whether what they see is what the peer sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from xmpp_e2e.authenticate.strings import Form, render


@dataclass(frozen=True)
class Compare:
    """Two people look at this and at what the other sees, and say whether it is the same."""

    peer: str
    """The full JID at the other end."""
    code: bytes = field(repr=False)
    form: str = Form.DECIMAL.value
    """``decimal``, ``emoji`` or ``words``: that of ``text``, on both sides."""
    cut: int = 0
    """How many comparisons with this peer, since one succeeded, have ended before both of you had spoken. It may have been
    accidents; it is what somebody in the middle would do who saw that the strings differ."""

    @property
    def text(self) -> str:
        """What to compare."""
        return str(getattr(self, self.form))

    @property
    def decimal(self) -> str:
        """Three numbers of four digits."""
        return " ".join(render(self.code, Form.DECIMAL))

    @property
    def emoji(self) -> str:
        """Seven pictures with their names."""
        return "  ".join(render(self.code, Form.EMOJI))

    @property
    def words(self) -> str:
        """Five English words."""
        return " ".join(render(self.code, Form.WORDS))


@dataclass(frozen=True)
class Prompts:
    """How the user is asked; None: not at all. Both may be ordinary functions, too, if they answer at once."""

    password: Callable[[str], Awaitable[str | None] | str | None] | None = None
    """Gets the peer's bare JID, gives the password, or None: there is none."""
    sas: Callable[[Compare], Awaitable[bool] | bool] | None = None
    """Is it the same?"""


NOBODY = Prompts()
"""Nobody is asked."""

"""The prompts for a user during a verification: for a password, or for the comparison with the peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from xmpp_e2e.authenticate.sas_text import SasForm, render


@dataclass(frozen=True)
class SasPrompt:
    """A short string. Two people compare it with what the other sees, and say whether it is the same."""

    peer: str
    """The full JID at the other end."""
    code: bytes = field(repr=False)
    form: str = SasForm.DECIMAL.value
    """``decimal``, ``emoji`` or ``words``: the form of ``text``, the same on both sides."""
    interrupted: int = 0
    """Comparisons with this contact that were interrupted since one succeeded. They may have been accidents; an attacker in the
    middle who saw that the strings differ would interrupt them too."""
    own_jid: str = ""
    """Our full JID at this end: a component has several."""

    @property
    def text(self) -> str:
        """The string to compare."""
        return str(getattr(self, self.form))

    @property
    def decimal(self) -> str:
        """Three numbers of four digits."""
        return " ".join(render(self.code, SasForm.DECIMAL))

    @property
    def emoji(self) -> str:
        """Seven emoji with their names."""
        return "  ".join(render(self.code, SasForm.EMOJI))

    @property
    def words(self) -> str:
        """Five English words."""
        return " ".join(render(self.code, SasForm.WORDS))


@dataclass(frozen=True)
class Prompts:
    """How the user is asked; None: not at all. Both may also be ordinary functions, if they answer at once."""

    password: Callable[..., Awaitable[str | None] | str | None] | None = None
    """Gets the peer's bare JID, and of a component that of its address; returns the password, or None if there is none."""
    sas: Callable[[SasPrompt], Awaitable[bool] | bool] | None = None
    """Returns True if the strings are the same."""


NO_PROMPTS = Prompts()
"""The user is not asked."""

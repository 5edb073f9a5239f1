"""Verifications that a user asks for beyond those that the hellos require, and both users' answers about a SAS."""

from __future__ import annotations

from dataclasses import dataclass

from xmpp_e2e.authenticate.sas_text import SasForm


@dataclass
class VerificationRequest:
    """A method that is to run, and how its SAS is shown."""

    form: SasForm
    agreed: bool
    """True if our own side wants it, or has agreed to it."""
    first_step: bytes | None = None
    """The initiator's first step, until the responder's side agrees."""
    form_sent: bool = False
    """True once our first step has gone out, with the form."""


class VerificationRequests:
    """The requests by method; each method runs once in a session."""

    def __init__(self) -> None:
        self._all: dict[str, VerificationRequest] = {}
        self.sas_shown = False
        self.sas_answers: dict[bool, bool] = {}
        """Whether the strings are the same, by the user who answered: ours (True) or the peer's (False)."""

    def __contains__(self, method: str) -> bool:
        return method in self._all and self._all[method].agreed

    def get(self, method: str) -> VerificationRequest | None:
        """Return the request for a method."""
        return self._all.get(method)

    def add(self, method: str, request: VerificationRequest) -> None:
        """Add or replace the request for a method."""
        self._all[method] = request

    def drop(self, method: str) -> None:
        """Forget the request for a method."""
        self._all.pop(method, None)

    def form(self, method: str) -> SasForm:
        """Return how the SAS of a method is shown."""
        request = self._all.get(method)
        return request.form if request is not None else SasForm.DECIMAL

    @property
    def pending(self) -> tuple[str, ...]:
        """Methods that the peer wants and our side has not answered."""
        return tuple(method for method, request in self._all.items() if not request.agreed)

    @property
    def methods(self) -> tuple[str, ...]:
        """All requested methods."""
        return tuple(self._all)

    @property
    def is_comparing(self) -> bool:
        """Return whether the SAS is shown, one user has not answered yet, and none has said that they differ."""
        return self.sas_shown and all(self.sas_answers.values()) and len(self.sas_answers) < 2

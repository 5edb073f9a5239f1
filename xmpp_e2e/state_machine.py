"""The state of one session, and the deadline of that state."""

from __future__ import annotations

from typing import Never

from xmpp_e2e.authenticate.base import Proof
from xmpp_e2e.config import Timeouts
from xmpp_e2e.errors import JingleError, LocalError, StreamError
from xmpp_e2e.states import (
    AUTHENTICATING,
    FAREWELL,
    FAREWELL_SECONDS,
    STATE_TIMEOUTS,
    State,
    Trigger,
    next_state,
)


class StateMachine:
    """Follows the table of states: rejects what is not in it, and enters OPEN only with a proof."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.state = State.IDLE
        self.deadline: float | None = None
        """On the clock of ``now``; None if there is nothing to wait for."""
        self.verification_deadline: float | None = None
        """The same for a proof in an open session, beside the session's own deadline."""
        self._timeouts = timeouts
        self._farewell_ends = 0.0

    def transition(self, trigger: Trigger, now: float, proof: Proof | None = None) -> None:
        """Enter the state that follows, and start its timeout; the states of AUTHENTICATING share one.

        If it is illegal: JingleError (the peer's fault in the signalling), StreamError (inside TLS) or LocalError (ours).
        """
        after = next_state(self.state, trigger)
        if after is None:
            self.reject(trigger)
        if after is State.OPEN and self.state is not State.OPEN and proof is None:
            raise AssertionError("OPEN takes a proof")
        if after is not self.state and not (after in AUTHENTICATING and self.state in AUTHENTICATING):
            self.deadline = now + self._timeouts.for_state(after) if after in STATE_TIMEOUTS else None
            self.verification_deadline = None
            self._farewell_ends = now + FAREWELL_SECONDS
        self.state = after

    @property
    def timer(self) -> float | None:
        """The earlier of the two deadlines."""
        return min((each for each in (self.deadline, self.verification_deadline) if each is not None), default=None)

    def extend_for_verification(self, now: float, active: bool) -> None:
        """Start or stop the deadline of a proof in the open session; users may have to act for it."""
        if not active:
            self.verification_deadline = None
        elif self.verification_deadline is None:
            self.verification_deadline = now + self._timeouts.user

    def extend_for_user(self, now: float) -> None:
        """Give a user, here or there, their full time, before the session opens or once it is open."""
        if self.state in AUTHENTICATING:
            self.deadline = now + self._timeouts.user
        else:
            self.verification_deadline = now + self._timeouts.user

    def extend_farewell(self, now: float) -> None:
        """Bytes come in during a farewell: it is not late yet. Not for ever, though."""
        if self.state in FAREWELL:
            self.deadline = min(now + self._timeouts.for_state(self.state), self._farewell_ends)

    def reject(self, trigger: Trigger) -> Never:
        """Raise the error for a trigger that is illegal now."""
        if trigger in (Trigger.INITIATE, Trigger.ACCEPTED):
            raise JingleError(f"no {trigger.value} is due", "unexpected-request", "out-of-order", type="wait")
        if trigger in (Trigger.OFFER, Trigger.ACCEPT, Trigger.CONNECTED, Trigger.POLICY_MET, Trigger.TLS_UP):
            raise LocalError(f"{trigger.value} is not possible: the session is {self.state.value}")
        raise StreamError(f"the peer's {trigger.value} came when the session was {self.state.value}", "policy-violation")

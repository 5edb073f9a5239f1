"""Where one session is, how it came there, and until when it may stay."""

from __future__ import annotations

from typing import Never

from xmpp_e2e.authenticate.base import Proven
from xmpp_e2e.config import Deadlines
from xmpp_e2e.errors import JingleError, LocalError, StreamError
from xmpp_e2e.stages import DEADLINES, PROVING, Input, Stage, successor


class Progress:
    """Goes by the table of stages alone: whatever is not in it is refused, and OPEN takes a proof."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.stage = Stage.IDLE
        self.deadline: float | None = None
        """On the clock of ``now``; None if there is nothing to wait for."""
        self.proof_deadline: float | None = None
        """The same for a proof in an open session, whose own deadline goes on."""
        self._deadlines = deadlines

    def step(self, happened: Input, now: float, proof: Proven | None = None) -> None:
        """To the stage that follows; a stage has its time from now on, and those of PROVING share theirs.

        JingleError, LocalError or StreamError where it is illegal: the peer's fault in the signalling, ours, or his inside."""
        after = successor(self.stage, happened)
        if after is None:
            self.refuse(happened)
        if after is Stage.OPEN and self.stage is not Stage.OPEN and proof is None:
            raise AssertionError("OPEN takes a proof")
        if after is not self.stage and not (after in PROVING and self.stage in PROVING):
            self.deadline = now + self._deadlines.of(after) if after in DEADLINES else None
            self.proof_deadline = None
        self.stage = after

    @property
    def timer(self) -> float | None:
        """When the next of them passes."""
        return min((each for each in (self.deadline, self.proof_deadline) if each is not None), default=None)

    def prove_late(self, now: float, active: bool) -> None:
        """In the open session a proof is on its way, or is not any more: persons may have to act for it."""
        if not active:
            self.proof_deadline = None
        elif self.proof_deadline is None:
            self.proof_deadline = now + self._deadlines.human

    def wait_for_a_person(self, now: float) -> None:
        """Somebody, here or there, has to act before it opens, or now that it is open, and has all the time for it."""
        if self.stage in PROVING:
            self.deadline = now + self._deadlines.human
        else:
            self.proof_deadline = now + self._deadlines.human

    def refuse(self, happened: Input) -> Never:
        """What happened has no place here."""
        if happened in (Input.INITIATE, Input.ACCEPTED):
            raise JingleError(f"no {happened.value} is due", "unexpected-request", "out-of-order", type="wait")
        if happened in (Input.OFFER, Input.ACCEPT, Input.CONNECTED, Input.PROOF, Input.SECURE):
            raise LocalError(f"{happened.value} is not possible: the session is {self.stage.value}")
        raise StreamError(f"the peer's {happened.value} came when the session was {self.stage.value}", "policy-violation")

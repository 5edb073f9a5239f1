"""The runs of authenticators in one session: one after the other, each once, whoever needs it.

It is told what came and asked what is to be done; the session says it on the wire, to the host and to the judge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from xmpp_e2e.authenticate.base import Ask, Authenticator, Evidence, Proof, Proven, Receive, Send, Step
from xmpp_e2e.errors import E2EError, StreamError


class Runs:
    """Lets each wanted authenticator run to its proof, strictly one at a time."""

    def __init__(self, evidence: Evidence, authenticators: Iterable[Authenticator]) -> None:
        self._evidence = evidence
        self._authenticators = {each.name: each for each in authenticators if each.rank}
        self._queue: deque[str] = deque()
        self._begun: set[str] = set()
        self._proof: Proof | None = None
        self._step: Step | None = None
        self._heard: tuple[str, bytes] | None = None
        """What the peer said ahead of our being ready for it, by method: one step, since each waits for the other's."""
        self._reply: bytes | None = None
        self.method = ""
        """The one that runs now, or ran last."""

    @property
    def question(self) -> Ask | None:
        """What our own side is asked and has not answered."""
        return self._step if isinstance(self._step, Ask) else None

    @property
    def active(self) -> bool:
        """Is one running, or waiting for its turn?"""
        return self._proof is not None or bool(self._queue)

    def knows(self, method: str) -> bool:
        """Is there such a method, other than those that have run by themselves?"""
        return method in self._authenticators

    def wants(self, methods: Iterable[str]) -> bool:
        """Has any of these not come to its proof yet?"""
        return any(method in self._queue or (method == self.method and self._proof is not None) for method in methods)

    def add(self, methods: Iterable[str]) -> None:
        """Let these run after those that are waiting, by rank, each once in a session."""
        new = set(methods) - self._begun - set(self._queue)
        self._queue += sorted(new, key=lambda method: self._authenticators[method].rank)

    def may_begin(self, method: str) -> bool:
        """Has it not run in this session, and does it not wait for its turn?"""
        return method not in self._begun and method not in self._queue

    def drop(self, method: str) -> None:
        """The peer declines it: forget it, if it runs or waits."""
        if method == self.method and self._proof is not None:
            self._proof = self._step = self._reply = None
            if self._heard is not None and self._heard[0] == method:
                self._heard = None
        elif method in self._queue:
            self._queue.remove(method)

    def receive(self, method: str, payload: bytes) -> None:
        """A <step/> of the peer's: of the method that runs, or of the next if he is through with this one, as he may be while
        our user still compares. StreamError if it is not his turn, or not in such a method."""
        running = [self.method] if self._proof is not None else []
        if method not in [*running, *self._queue][: len(running) + 1] or self._heard is not None:
            raise StreamError(f"the peer sent a step of {method}, which is not running", "policy-violation")
        self._heard = (method, payload)

    def answer(self, reply: bytes) -> None:
        """To ``question``."""
        self._reply = reply

    def advance(self) -> Send | Ask | Proven | None:
        """What is to be done now; None: wait for the peer, or for our own answer, or there is nothing to run."""
        while (value := self._next_value()) is not None:
            self._step = None
            assert self._proof is not None
            try:
                self._step = next(self._proof) if value is _START else self._proof.send(value)
            except StopIteration as convinced:
                self._proof = None
                if self._heard is not None and self._heard[0] == self.method:
                    raise StreamError(f"the peer said more than {self.method} asks for", "policy-violation") from None
                proven: Proven = convinced.value
                return proven
            except E2EError:
                self._proof = None  # in an open session our own lack, of a key that is long enough, costs this run alone
                raise
            if not isinstance(self._step, Receive):
                return self._step
        return None

    def _next_value(self) -> bytes | None:
        """What the authenticator goes on with."""
        match self._step:
            case Send():
                return b""
            case Receive():
                if self._heard is None or self._heard[0] != self.method:
                    return None
                (_, heard), self._heard = self._heard, None
                return heard
            case Ask():
                reply, self._reply = self._reply, None
                return reply
        if self._queue:
            self.method = self._queue.popleft()
            self._begun.add(self.method)
            self._proof = self._authenticators[self.method].prove(self._evidence)
            return _START
        return None


_START = b"start"
"""Stands for nothing at all: a generator is begun, not sent to. Compared by identity."""

"""The proofs of one session: one after the other, by the order of their methods, each once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from xmpp_e2e.authenticate.base import AskHost, Authenticator, ChannelBinding, Effect, Proof, ProofSteps, Receive, Send
from xmpp_e2e.errors import E2EError, StreamError


class ProofQueue:
    """Runs each queued authenticator to its proof, strictly one at a time."""

    def __init__(self, binding: ChannelBinding, authenticators: Iterable[Authenticator]) -> None:
        self._binding = binding
        self._authenticators = {each.name: each for each in authenticators if each.order}
        self._queue: deque[str] = deque()
        self._used: set[str] = set()
        self._steps: ProofSteps | None = None
        self._effect: Effect | None = None
        self._received_ahead: tuple[str, bytes] | None = None
        """The peer's step, by method, that came before we were ready for it. One is enough: each side waits for the other's."""
        self._reply: bytes | None = None
        self.method = ""
        """The method that runs now, or ran last."""

    @property
    def pending_prompt(self) -> AskHost | None:
        """The prompt that the host has not answered."""
        return self._effect if isinstance(self._effect, AskHost) else None

    @property
    def is_active(self) -> bool:
        """Return whether a method runs or waits for its turn."""
        return self._steps is not None or bool(self._queue)

    def supports(self, method: str) -> bool:
        """Return whether there is such a method, apart from the one that runs by itself."""
        return method in self._authenticators

    def still_needs(self, methods: Iterable[str]) -> bool:
        """Return whether one of these runs or waits for its turn."""
        return any(method in self._queue or (method == self.method and self._steps is not None) for method in methods)

    def add(self, methods: Iterable[str]) -> None:
        """Queue these behind the others, in their own order; each runs once in a session."""
        new = set(methods) - self._used - set(self._queue)
        self._queue += sorted(new, key=lambda method: self._authenticators[method].order)

    def is_unused(self, method: str) -> bool:
        """Return whether a method has neither run nor been queued in this session."""
        return method not in self._used and method not in self._queue

    def cancel(self, method: str) -> None:
        """Stop a method that the peer declines, or take it from the queue."""
        if method == self.method and self._steps is not None:
            self._steps = self._effect = self._reply = None
            if self._received_ahead is not None and self._received_ahead[0] == method:
                self._received_ahead = None
        elif method in self._queue:
            self._queue.remove(method)

    def clear(self) -> None:
        """Drop everything: the session is closed."""
        self._steps = self._effect = None
        self._queue.clear()

    def receive(self, method: str, payload: bytes) -> None:
        """Take a <step/> of the peer: of the method that runs, or of the next one, if the peer is through with this one while
        our user still compares. StreamError if it is not due."""
        running = [self.method] if self._steps is not None else []
        if method not in [*running, *self._queue][: len(running) + 1] or self._received_ahead is not None:
            raise StreamError(f"the peer sent a step of {method}, which is not running", "policy-violation")
        self._received_ahead = (method, payload)

    def answer_prompt(self, reply: bytes) -> None:
        """Answer ``pending_prompt``."""
        self._reply = reply

    def run(self) -> Send | AskHost | Proof | None:
        """Go on to the next thing to do; None if there is none before the peer or the host has answered."""
        while (value := self._next_value()) is not None:
            self._effect = None
            assert self._steps is not None
            try:
                self._effect = next(self._steps) if value is _START else self._steps.send(value)
            except StopIteration as returned:
                self._steps = None
                if self._received_ahead is not None and self._received_ahead[0] == self.method:
                    raise StreamError(f"the peer said more than {self.method} asks for", "policy-violation") from None
                proof: Proof = returned.value
                return proof
            except E2EError:
                self._steps = None  # a fault of our own, such as a key that is too short, ends only this run of an open session
                raise
            if not isinstance(self._effect, Receive):
                return self._effect
        return None

    def _next_value(self) -> bytes | None:
        """Return the value with which the authenticator goes on."""
        match self._effect:
            case Send():
                return b""
            case Receive():
                if self._received_ahead is None or self._received_ahead[0] != self.method:
                    return None
                (_, payload), self._received_ahead = self._received_ahead, None
                return payload
            case AskHost():
                reply, self._reply = self._reply, None
                return reply
        if self._queue:
            self.method = self._queue.popleft()
            self._used.add(self.method)
            self._steps = self._authenticators[self.method].prove(self._binding)
            return _START
        return None


_START = b"start"
"""A new generator is started, not sent to: this stands for the value, and is compared by identity."""

"""A man in the middle who owns both servers: he ends TLS on both sides under his own key and relays every stanza."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.pair import NOBODY, Pair, config, identity
from xmpp_e2e import events
from xmpp_e2e.identity import Remembered
from xmpp_e2e.stages import Stage


class Middleman:
    """To Alice he is Bob, to Bob he is Alice: JIDs are the servers' to stamp, and so are the fingerprints in the signalling."""

    def __init__(
        self,
        *,
        alice: dict[str, Any] | None = None,
        bob: dict[str, Any] | None = None,
        alice_remembers: Remembered = NOBODY,
        bob_remembers: Remembered = NOBODY,
    ) -> None:
        own = identity("mallory")
        self._near = Pair(config("alice", **(alice or {})), config("bob", identity=own), alice_remembers=alice_remembers)
        self._far = Pair(config("alice", identity=own), config("bob", **(bob or {})), bob_remembers=bob_remembers)
        self.alice, self.bob = self._near.alice, self._far.bob
        self.read: list[str] = []
        """What Mallory has read."""

    def open(self) -> Middleman:
        """Let both connections be made."""
        self._near.open()
        self._far.open()
        return self

    def say_nothing_to_alice(self) -> None:
        """Towards Alice the middleman ends TLS, and then says neither hello nor done."""
        for method in ("_greet", "_judge"):
            setattr(self._near.bob.session._inner, method, lambda *now: None)

    def relay(self) -> Middleman:
        """Carry everything, and hand on what comes out on the other side."""
        for source, sink, pair in (
            (self._near.bob, self._far.alice, self._far),
            (self._far.alice, self._near.bob, self._near),
        ):
            self._near.run()
            self._far.run()
            for event in source.of(events.StanzaReceived):
                source.events.remove(event)
                self.read.append("".join(event.stanza.itertext()))
                if sink.session.stage is Stage.OPEN:
                    sink.session.send_stanza(deepcopy(event.stanza))
            pair.run()
        return self

"""A man in the middle of two sessions. It owns both servers, terminates TLS on both sides with its own key, and relays
every stanza."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.pair import NOBODY, Pair, config, identity, mute, prepare
from xmpp_e2e import events
from xmpp_e2e.states import State
from xmpp_e2e.types import KnownKeys


class SessionMitm:
    """It is Bob to Alice, and Alice to Bob: the servers stamp JIDs, and fingerprints are in the signalling."""

    def __init__(
        self,
        *,
        alice: dict[str, Any] | None = None,
        bob: dict[str, Any] | None = None,
        alice_remembers: KnownKeys = NOBODY,
        bob_remembers: KnownKeys = NOBODY,
    ) -> None:
        own = identity("mallory")
        self._near = Pair(config("alice", **(alice or {})), config("bob", own_key=own), alice_remembers=alice_remembers)
        self._far = Pair(config("alice", own_key=own), config("bob", **(bob or {})), bob_remembers=bob_remembers)
        self.alice, self.bob = self._near.alice, self._far.bob
        self.read: list[str] = []
        """The texts that it has read."""

    def open(self) -> SessionMitm:
        """Open both connections."""
        self._near.open()
        self._far.open()
        return self

    def say_nothing_to_alice(self) -> None:
        """Towards Alice the man in the middle ends TLS, and then says neither hello nor done."""
        prepare(self._near.bob.session, mute)

    def relay(self) -> SessionMitm:
        """Deliver everything, and relay each stanza to the other side."""
        for source, sink, pair in (
            (self._near.bob, self._far.alice, self._far),
            (self._far.alice, self._near.bob, self._near),
        ):
            self._near.run()
            self._far.run()
            for event in source.of(events.StanzaReceived):
                source.events.remove(event)
                self.read.append("".join(event.stanza.itertext()))
                if sink.session.state is State.OPEN:
                    sink.session.send_stanza(deepcopy(event.stanza))
            pair.run()
        return self

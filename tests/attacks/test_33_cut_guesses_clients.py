"""Attack 33 end to end: a server poses as Bob, hears Alice's proof of their password, and cuts the line each time.

When her proof is on the way the guess is in her store already, as another process finds it there.
"""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.verifier import GUESSES, Locked
from tests.attacks.steps import SECRETS, proves_nothing
from tests.attacks.test_33_cut_guesses import late
from tests.pair import identity
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, jingle
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.authenticate.dialogue import Dialogue
from xmpp_e2e.encoding import lv
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Role
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_loopback.relay import End

SECRET = "the treasure is under the oak"
BOBS = "bob@localhost"


class Poser:
    """A hook: Bob in each session that Alice offers him. He answers the first step, and cuts the line when he has her proof."""

    def __init__(self, world: World, store: SQLStore) -> None:
        self._world, self._store = world, store
        self._end: End | None = None
        self.counted: list[int] = []
        """The guesses in the store at each proof that he has heard."""
        world.server.interfere.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if sender != ALICE or stanza.get("to") != BOB:
            return stanza
        if jingle("session-initiate")(stanza, sender):
            terms = {"need": ("srp",), "secrets": {"srp": bytes(32)}}
            self._end = End(self._world.server.inject, Role.RESPONDER, BOB, ALICE, identity("mallory"), **terms)
            self._end.other = self._end
            self._passing = proves_nothing(self._end.session)
            self._answered = False
        end = self._end
        if end is None or not end.takes(stanza):
            return stanza
        if self._passing.heard:
            self._passing.heard.clear()
            self._hear(end)
        return None

    def _hear(self, end: End) -> None:
        if not self._answered:
            self._answered = True
            end.session._inner.out.element(auth.build_step("srp", lv(os.urandom(16), b"\x01" + os.urandom(511))))
        else:
            self.counted.append(self._store.failures(BOBS, "srp"))
            end.session.close(0.0, Reason.GONE)
        end.pump()


async def tried(world: World, times: int) -> tuple[Poser, list[E2EError]]:
    """What Alice hears of so many messages to Bob."""
    alice, _ = await world.pair()
    e2e(alice).switchboard._store.put_secret(BOBS, "srp", "1", SECRETS["srp"])
    failed, errors = Heard(alice, "e2e_send_failed"), []
    with SQLStore.open(e2e(alice).memory.path) as another:
        poser = Poser(world, another)
        for _ in range(times):
            alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
            errors.append((await failed.take()).error)
    assert world.in_clear(SECRET) == []
    return poser, errors


async def test_each_counts_before_her_proof_is_said(world: World) -> None:
    """One, two, three, four, five; and then she says nothing any more."""
    poser, errors = await tried(world, GUESSES + 1)
    assert poser.counted == [1, 2, 3, 4, 5]
    assert [isinstance(error, Locked) for error in errors] == [False] * GUESSES + [True]


async def test_control_counted_afterwards_it_is_never_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: whoever counts wrong answers only gives him as many guesses as there are messages."""
    monkeypatch.setattr(Dialogue, "confirm", late)
    poser, errors = await tried(world, 3)
    assert poser.counted == [0, 0, 0]
    assert not any(isinstance(error, Locked) for error in errors)

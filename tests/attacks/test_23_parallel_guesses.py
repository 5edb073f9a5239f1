"""Attack 23 end to end: a server begins many runs in the names of Bob's devices, and ends none before all have begun.

Whatever has begun, five guesses are five guesses: the next is refused, though it began before the others were wrong.
"""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.verifier import GUESSES
from tests.attacks.posers import Posers
from tests.attacks.steps import SECRETS
from tests.pair import identity
from tests.slixmpp_e2e.world import ALICE, World, e2e
from xmpp_e2e.authenticate.base import GuessSpent, Question
from xmpp_e2e.identity import Role
from xmpp_e2e.stages import Stage
from xmpp_loopback.relay import NOW, End

BOBS = "bob@localhost"


class Device(End):
    """One of Bob's, as the server has it: it keeps its proof to itself until it is told."""

    asked: Question | None = None

    def _asked(self, question: Question) -> None:
        if isinstance(question, GuessSpent) and self.asked is None:
            self.asked = question
        else:
            super()._asked(question)

    def go(self) -> None:
        """Say the proof."""
        assert self.asked is not None
        self._asked(self.asked)
        self.pump()


class Devices(Posers[Device]):
    """All of them."""

    async def begin(self, alice: ClientXMPP, secret: bytes) -> Device:
        """One more run, as far as its proof."""
        jid = f"{BOBS}/{len(self.ends)}"
        terms = {"need": ("srp",), "secrets": {"srp": secret}}
        end = Device(self._world.server.inject, Role.INITIATOR, jid, ALICE, identity("mallory"), **terms)
        end.other = self.ends[jid] = end
        end.session.offer(NOW)
        end.pump()
        while end.asked is None and end.failure is None:
            await self._world.settle(alice)
        return end


async def at_once(world: World, *secrets: bytes) -> tuple[ClientXMPP, list[Device]]:
    """Alice has counted three wrong guesses. Runs with these secrets begin; when all have, each is brought to its end."""
    alice = await world.client(ALICE)
    store = e2e(alice).switchboard._store
    store.put_secret(BOBS, "srp", "1", SECRETS["srp"])
    for _ in range(GUESSES - 2):
        store.count_failure(BOBS, "srp")
    devices = Devices(world)
    begun = [await devices.begin(alice, secret) for secret in secrets]
    assert [device.failure for device in begun] == [None] * len(secrets)
    for device in begun:
        device.go()
        while device.failure is None and device.session.stage is not Stage.OPEN:
            await world.settle(alice)
    return alice, begun


async def test_what_has_begun_is_no_guess_beyond_the_fifth(world: World) -> None:
    """Two guesses are left, and three runs begin. The third is refused, though he would be right this time."""
    alice, begun = await at_once(world, bytes(32), bytes(32), SECRETS["srp"])
    assert [device.session.stage for device in begun] == [Stage.CLOSED] * 3
    assert not e2e(alice).sessions()
    assert e2e(alice).switchboard.proofs.is_locked(BOBS)
    assert not e2e(alice).switchboard._store.remembered(BOBS).keys


async def test_control_what_is_not_counted_is_a_guess(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a store that has always counted one, there are as many guesses as can be begun."""
    monkeypatch.setattr(SQLStore, "count_failure", lambda *_: 1)
    _, begun = await at_once(world, bytes(32), bytes(32), SECRETS["srp"])
    assert [device.session.stage for device in begun] == [Stage.CLOSED, Stage.CLOSED, Stage.OPEN]

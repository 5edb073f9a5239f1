"""Attack 23 end to end: a server begins many runs in the names of Bob's devices, and ends none before all have begun.

Whatever has begun, five guesses are five guesses: the next is refused, though it began before the others were wrong.
"""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.attacks.impostors import Impostors
from tests.attacks.proof_mitm import SECRETS
from tests.pair import identity
from tests.slixmpp_e2e.env import ALICE, Env, e2e
from xmpp_e2e.authenticate.base import AttemptStarted, Prompt
from xmpp_e2e.states import State
from xmpp_e2e.types import Role
from xmpp_loopback.mitm import NOW, MitmSide

BOBS = "bob@localhost"


class Device(MitmSide):
    """One of Bob's, as the server has it: it keeps its proof to itself until it is told."""

    asked: Prompt | None = None

    def _asked(self, question: Prompt) -> None:
        if isinstance(question, AttemptStarted) and self.asked is None:
            self.asked = question
        else:
            super()._asked(question)

    def go(self) -> None:
        """Say the proof."""
        assert self.asked is not None
        self._asked(self.asked)
        self.pump()


class Devices(Impostors[Device]):
    """All of them."""

    async def begin(self, alice: ClientXMPP, secret: bytes) -> Device:
        """One more run, as far as its proof."""
        jid = f"{BOBS}/{len(self.ends)}"
        terms = {"required_methods": ("srp",), "shared_secrets": {"srp": secret}}
        end = Device(self._env.server.inject, Role.INITIATOR, jid, ALICE, identity("mallory"), **terms)
        end.other = self.ends[jid] = end
        end.session.offer(NOW)
        end.pump()
        while end.asked is None and end.failure is None:
            await self._env.settle(alice)
        return end


async def at_once(env: Env, *secrets: bytes) -> tuple[ClientXMPP, list[Device]]:
    """Alice has counted three wrong guesses. Runs with these secrets begin; when all have, each is brought to its end."""
    alice = await env.client(ALICE)
    store = e2e(alice)._client._store
    store.put_secret(BOBS, "srp", "1", SECRETS["srp"])
    for _ in range(MAX_PASSWORD_ATTEMPTS - 2):
        store.count_failed_attempt(BOBS, "srp")
    devices = Devices(env)
    begun = [await devices.begin(alice, secret) for secret in secrets]
    assert [device.failure for device in begun] == [None] * len(secrets)
    for device in begun:
        device.go()
        while device.failure is None and device.session.state is not State.OPEN:
            await env.settle(alice)
    return alice, begun


async def test_what_has_begun_is_no_guess_beyond_the_fifth(env: Env) -> None:
    """Two guesses are left, and three runs begin. The third is refused, though it would be right this time."""
    alice, begun = await at_once(env, bytes(32), bytes(32), SECRETS["srp"])
    assert [device.session.state for device in begun] == [State.CLOSED] * 3
    assert not e2e(alice).sessions()
    assert e2e(alice)._client._verifier._attempts.is_locked(BOBS, "alice@localhost")
    assert not e2e(alice)._client._store.known_keys(BOBS).keys


async def test_control_what_is_not_counted_is_a_guess(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a store that has always counted one, there are as many guesses as can be begun."""
    monkeypatch.setattr(SQLStore, "count_failed_attempt", lambda *_: 1)
    _, begun = await at_once(env, bytes(32), bytes(32), SECRETS["srp"])
    assert [device.session.state for device in begun] == [State.CLOSED, State.CLOSED, State.OPEN]

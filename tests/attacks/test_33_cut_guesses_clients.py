"""Attack 33 end to end: a server poses as Bob, hears Alice's proof of their password, and cuts the line each time.

When Alice's proof is on the way the guess is in the store already, as another process finds it there.
"""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.attacks.proof_mitm import SECRETS, disable_proofs
from tests.attacks.test_33_cut_guesses import late
from tests.pair import identity, talk
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import E2EError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.types import Role
from xmpp_loopback.mitm import MitmSide

SECRET = "the treasure is under the oak"
BOBS = "bob@localhost"


class Impostor:
    """A hook: Bob in each session that Alice offers. Answers the first step, and cuts the line at the proof."""

    def __init__(self, env: Env, store: SQLStore) -> None:
        self._env, self._store = env, store
        self._end: MitmSide | None = None
        self.counted: list[int] = []
        """The guesses in the store at each proof that was heard."""
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if sender != ALICE or stanza.get("to") != BOB:
            return stanza
        if jingle("session-initiate")(stanza, sender):
            terms = {"required_methods": ("srp",), "shared_secrets": {"srp": bytes(32)}}
            self._end = MitmSide(self._env.server.inject, Role.RESPONDER, BOB, ALICE, identity("mallory"), **terms)
            self._end.other = self._end
            self._passing = disable_proofs(self._end.session)
            self._answered = False
        end = self._end
        if end is None or not end.takes(stanza):
            return stanza
        if self._passing.heard:
            self._passing.heard.clear()
            self._hear(end)
        return None

    def _hear(self, end: MitmSide) -> None:
        if not self._answered:
            self._answered = True
            talk(end.session).out.element(
                auth.build_step("srp", length_prefixed(os.urandom(16), b"\x01" + os.urandom(511)))
            )
        else:
            self.counted.append(self._store.failed_attempts(BOBS, "srp"))
            end.session.close(0.0, Reason.GONE)
        end.pump()


async def tried(env: Env, times: int) -> tuple[Impostor, list[E2EError]]:
    """What Alice hears of so many messages to Bob."""
    alice, _ = await env.pair()
    e2e(alice)._client._store.put_secret(BOBS, "srp", "1", SECRETS["srp"])
    failed, errors = Events(alice, "e2e_send_failed"), []
    with SQLStore.open(e2e(alice)._store.path) as another:
        impostor = Impostor(env, another)
        for _ in range(times):
            alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
            errors.append((await failed.take()).error)
    assert env.in_clear(SECRET) == []
    return impostor, errors


async def test_each_counts_before_her_proof_is_said(env: Env) -> None:
    """One, two, three, four, five; and then Alice says nothing any more."""
    impostor, errors = await tried(env, MAX_PASSWORD_ATTEMPTS + 1)
    assert impostor.counted == [1, 2, 3, 4, 5]
    assert [isinstance(error, PasswordLocked) for error in errors] == [False] * MAX_PASSWORD_ATTEMPTS + [True]


async def test_control_counted_afterwards_it_is_never_counted(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: whoever counts wrong answers only gives them as many guesses as there are messages."""
    monkeypatch.setattr(ProofExchange, "confirm_key", late)
    impostor, errors = await tried(env, 3)
    assert impostor.counted == [0, 0, 0]
    assert not any(isinstance(error, PasswordLocked) for error in errors)

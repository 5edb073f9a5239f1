"""Keys and passwords that are shared in the running program prove the peer."""

from __future__ import annotations

import pytest

from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.secrets import KEY_ID
from tests.slixmpp_e2e.env import ALICE, BOB, Env, e2e
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.errors import LocalError

ALICES, BOBS = "alice@localhost", "bob@localhost"


async def test_a_password_is_derived_for_the_two_accounts(env: Env) -> None:
    alice = e2e(env.make(ALICE))
    assert not await alice.secrets.put_password(BOB, "correct horse")
    assert alice._store.secret(BOBS, "srp", KEY_ID) == derive_srp_secret("correct horse", BOBS, ALICES)
    assert await alice.secrets.put_password(BOBS, "battery staple")
    assert alice._store.secret(BOBS, "srp", KEY_ID) == derive_srp_secret("battery staple", ALICES, BOBS)
    with pytest.raises(LocalError):
        await alice.secrets.put_password(BOB, "")


async def test_a_key_has_at_least_16_bytes(env: Env) -> None:
    """A shorter one could be a password."""
    alice = e2e(env.make(ALICE))
    with pytest.raises(WeakKey, match="at least 16 bytes, and this one 15"):
        alice.secrets.put_key(BOB, bytes(15))
    assert not alice.secrets.put_key(BOB, bytes(16))
    assert alice._store.secret(BOBS, "psk", KEY_ID) == bytes(16)


async def test_there_is_one_secret_of_each_kind(env: Env) -> None:
    alice = e2e(env.make(ALICE))
    alice._store.put_secret(BOBS, "psk", "0", bytes(32))
    alice.secrets.put(BOB, "srp", bytes(32))
    assert alice.secrets.put_key(BOB, bytes(range(32)))
    assert alice._store.secret_ids(BOBS, "psk") == (KEY_ID,)
    assert alice.secrets.has(BOB, "psk")
    assert alice.secrets.forget(BOB, "psk")
    assert not alice.secrets.has(BOB, "psk")
    assert not alice.secrets.forget(BOB, "psk")
    assert alice._store.secret_ids(BOBS, "srp") == (KEY_ID,)


async def test_a_locked_password_can_be_unlocked(env: Env) -> None:
    alice = e2e(env.make(ALICE))
    for _ in range(5):
        alice._store.count_failed_attempt(BOBS, "srp")
    assert alice.secrets.failed_attempts(BOB) == alice.secrets.unlock_password(BOB) == 5
    assert not alice._client._verifier._attempts.is_locked(BOBS, ALICES)

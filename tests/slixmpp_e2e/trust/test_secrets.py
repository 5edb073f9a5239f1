"""What two accounts share is set up in the running program, and proves them."""

from __future__ import annotations

import pytest

from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.secrets import KEY_ID
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.errors import LocalError

ALICES, BOBS = "alice@localhost", "bob@localhost"


async def test_a_password_is_stretched_for_the_pair(world: World) -> None:
    """What is stored is of use between these two accounts alone; one that cannot be typed is none."""
    alice = e2e(world.make(ALICE))
    assert not await alice.shared.put_password(BOB, "correct horse")
    assert alice.memory.secret(BOBS, "srp", KEY_ID) == stretched("correct horse", BOBS, ALICES)
    assert await alice.shared.put_password(BOBS, "battery staple")
    assert alice.memory.secret(BOBS, "srp", KEY_ID) == stretched("battery staple", ALICES, BOBS)
    with pytest.raises(LocalError):
        await alice.shared.put_password(BOB, "")


async def test_a_key_has_its_size(world: World) -> None:
    """16 bytes will do, 15 are a password."""
    alice = e2e(world.make(ALICE))
    with pytest.raises(WeakKey, match="at least 16 bytes, and this one 15"):
        alice.shared.put_key(BOB, bytes(15))
    assert not alice.shared.put_key(BOB, bytes(16))
    assert alice.memory.secret(BOBS, "psk", KEY_ID) == bytes(16)


async def test_there_is_one_of_each_kind(world: World) -> None:
    """A new one takes the place of all that there are, and can be forgotten."""
    alice = e2e(world.make(ALICE))
    alice.memory.put_secret(BOBS, "psk", "0", bytes(32))
    alice.shared.put(BOB, "srp", bytes(32))
    assert alice.shared.put_key(BOB, bytes(range(32)))
    assert alice.memory.secret_ids(BOBS, "psk") == (KEY_ID,)
    assert alice.shared.forget(BOB, "psk")
    assert not alice.shared.forget(BOB, "psk")
    assert alice.memory.secret_ids(BOBS, "srp") == (KEY_ID,)


async def test_a_lock_can_be_opened(world: World) -> None:
    """Wrong guesses are forgotten."""
    alice = e2e(world.make(ALICE))
    for _ in range(5):
        alice.memory.count_failure(BOBS, "srp")
    assert alice.shared.unlock(BOB) == 5
    assert not alice.switchboard.proofs.is_locked(BOBS)


async def test_it_proves(world: World) -> None:
    """Before the first message is delivered."""
    alice, bob = await world.pair()
    e2e(alice).shared.put_key(BOB, bytes(range(32)))
    e2e(bob).shared.put_key(ALICE, bytes(range(32)))
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="it is me", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "verified"

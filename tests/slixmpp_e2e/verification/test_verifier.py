"""Proofs between slixmpp clients: what is set up runs before a stanza flows, people are asked, guesses are counted."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.prompts import Compare
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.verification.verifier import GUESSES, Locked, PeerDeclined
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.errors import AuthenticationFailed, E2EError, LocalError, PeerRefused
from xmpp_e2e.identity import Assurance, Role

ALICES, BOBS = "alice@localhost", "bob@localhost"
KEY = bytes(range(32))


def share(client: ClientXMPP, peer: str, method: str, secret: bytes) -> None:
    """The client's user has set this up for a peer."""
    e2e(client).switchboard._store.put_secret(peer, method, "1", secret)


def of(password: str) -> bytes:
    """As Alice and Bob stretch it."""
    return stretched(password, ALICES, BOBS)


async def says(password: str | None) -> str | None:
    """A user's answer."""
    return password


async def agrees(shown: Compare) -> bool:
    """A user who sees the same as the other."""
    return True


@pytest.mark.parametrize(("method", "secret"), [("psk", KEY), ("srp", of("correct horse"))], ids=["psk", "srp"])
async def test_what_is_set_up_runs_before_a_stanza_flows(world: World, method: str, secret: bytes) -> None:
    """The first message comes as ``verified``; the key is remembered so, with the method."""
    alice, bob = await world.pair()
    share(alice, BOBS, method, secret)
    share(bob, ALICES, method, secret)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="Now I know you.")
    message = await heard.take()
    assert message["e2e"]["assurance"] is Assurance.VERIFIED
    [key] = e2e(alice).switchboard._store.remembered(BOBS).keys
    assert (key.assurance, key.method) == (Assurance.VERIFIED, method)


async def test_a_wrong_password_sends_nothing_and_is_locked_in_the_end(world: World) -> None:
    """Each guess is counted on both sides; after the fifth nothing is tried any more, and the message says what helps."""
    alice, bob = await world.pair()
    share(alice, BOBS, "srp", of("right"))
    share(bob, ALICES, "srp", of("wrong"))
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    for count in range(1, GUESSES + 1):
        alice.send_message(mto=BOB, mbody="in vain")
        told: SendFailed = await failed.take()
        assert isinstance(told.error, AuthenticationFailed)
        stores = [e2e(client).switchboard._store for client in (alice, bob)]
        assert [stores[0].failures(BOBS, "srp"), stores[1].failures(ALICES, "srp")] == [count, count]
    alice.send_message(mto=BOB, mbody="in vain")
    told = await failed.take()
    assert isinstance(told.error, Locked)
    assert f"xmpp-e2e trust unlock {BOBS}" in told.error.explain()
    assert len(heard) == 0
    assert world.in_clear("in vain") == []


async def test_who_is_locked_goes_on_without(world: World) -> None:
    """An offer of somebody with whom it is locked is refused and told; it does not end our stream, nor sessions with others."""
    alice, bob = await world.pair()
    share(bob, ALICES, "srp", of("right"))
    for _ in range(GUESSES):
        e2e(bob).switchboard._store.count_failure(ALICES, "srp")
    failed, refused, lost = Heard(alice, "e2e_send_failed"), Heard(bob, "e2e_session_refused"), Heard(bob, "disconnected")
    alice.send_message(mto=BOB, mbody="in vain")
    told: SendFailed = await failed.take()
    assert isinstance(told.error, PeerRefused)
    report = await refused.take()
    assert report.peer == ALICES
    assert f"xmpp-e2e trust unlock {ALICES}" in str(report)
    await world.settle(alice, bob)
    assert len(lost) == 0
    assert world.in_clear("in vain") == []


async def test_two_people_compare_what_they_see(world: World) -> None:
    """In an open session, asked for by one; both are asked, see the same, and end up ``verified``."""
    seen: list[str] = []

    async def looks(shown: Compare) -> bool:
        seen.append(shown.decimal)
        return True

    alice, bob = await world.client(ALICE), await world.client(BOB, sas=looks)
    ours, theirs = await world.session(alice, bob)
    await until(ours.verify_sas(looks))
    await world.settle(alice, bob)
    assert seen[0] == seen[1]
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_a_peer_without_anybody_to_ask_declines(world: World) -> None:
    """The session goes on, and whoever asked is told."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    with pytest.raises(PeerDeclined, match="takes no part in sas"):
        await until(ours.verify_sas(agrees))
    assert ours.is_open


async def test_a_password_for_one_session(world: World) -> None:
    """Neither has stored one: Alice gives it, Bob's user is asked for it."""
    alice = await world.client(ALICE)
    bob = await world.client(BOB, password=lambda peer: says("correct horse" if peer == ALICES else None))
    ours, theirs = await world.session(alice, bob)
    await until(ours.verify_password("correct horse"))
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED


async def test_whoever_gives_another_password_ends_the_session(world: World) -> None:
    """The one who asked hears that it failed."""
    alice, bob = await world.client(ALICE), await world.client(BOB, password=lambda peer: says("wrong"))
    ours, _ = await world.session(alice, bob)
    with pytest.raises(AuthenticationFailed):
        await until(ours.verify_password("right"))


@pytest.mark.parametrize("asks", list(Role))
@pytest.mark.parametrize("method", ["psk", "srp"])
async def test_a_secret_of_this_one_time(world: World, method: str, asks: Role) -> None:
    """Either side may give it; the other, who has pinned the key and needs no proof, has the same set up."""
    alice, bob = await world.pair()
    other, peer, key = (bob, ALICES, alice) if asks is Role.INITIATOR else (alice, BOBS, bob)
    share(other, peer, method, KEY if method == "psk" else of("correct horse"))
    await e2e(other).trust.pin(peer, e2e(key).fingerprint)
    link = next(link for link in await world.session(alice, bob) if link.role is asks)
    await until(link.verify_key(KEY) if method == "psk" else link.verify_password("correct horse"))
    await world.settle(alice, bob)
    assert link.is_open
    assert link.assurance is Assurance.VERIFIED


async def test_a_password_is_no_key(world: World) -> None:
    """It is refused before anything is said, and the session is unharmed."""
    alice, bob = await world.pair()
    ours, theirs = await world.session(alice, bob)
    for link in (ours, theirs):
        with pytest.raises(WeakKey):
            await until(link.verify_key(b"correct horse"))
        with pytest.raises(LocalError, match="cannot be a password"):
            await until(link.verify_password(""))
        assert link.is_open


async def test_what_cannot_be_a_password_is_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever types it at the peer's wish ends the proof at once, as if he had typed nothing; it is not in the log."""
    alice, bob = await world.client(ALICE), await world.client(BOB, password=lambda peer: "tabs\tmoretabs")
    ours, _ = await world.session(alice, bob)
    with pytest.raises(E2EError):
        await until(ours.verify_password("correct horse"))
    assert "cannot be used" in caplog.text
    assert "moretabs" not in caplog.text


async def test_what_is_locked_is_not_tried(world: World) -> None:
    """Not with a password of this one time either."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    for _ in range(GUESSES):
        e2e(alice).switchboard._store.count_failure(BOBS, "srp")
    with pytest.raises(Locked):
        await until(ours.verify_password("correct horse"))
    assert ours.is_open

"""The user's decisions about keys, applied to sessions that are open, on their way, or wait for just that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from slixmpp import JID, ClientXMPP

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.keys import Trust
from slixmpp_e2e.trust.trust_uri import key_uri
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, turns, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.identity import Assurance, Fingerprint

OTHER = Fingerprint(bytes(range(32)))


async def test_a_uri_pins_its_account_and_no_other(world: World) -> None:
    """Whatever a user has pasted, a fingerprint or a URI, can be handed on."""
    alice = await world.client(ALICE)
    trust, bare = e2e(alice).trust, JID(BOB).bare
    await trust.pin(BOB, key_uri(BOB, OTHER))
    assert [(key.fingerprint, key.assurance) for key in trust.show(BOB).keys] == [(OTHER, Assurance.VERIFIED)]
    with pytest.raises(ValueError, match=f"a key of {bare}"):
        await trust.pin(ALICE, key_uri(BOB, OTHER))
    assert trust.show(ALICE).keys == ()


async def test_a_held_message_is_delivered_once_the_key_is_pinned(world: World) -> None:
    """Under `server-untrusted` a first contact waits for a person: compare, pin, and it goes."""
    alice, bob = await world.client(ALICE, trust_model="server-untrusted"), await world.client(BOB)
    await world.settle(alice, bob)
    heard, started, failed = Heard(bob, "message"), Heard(alice, "e2e_session_start"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    await world.settle(alice, bob)
    assert (len(heard), len(started), link.is_open) == (0, 0, False)
    assert link.fingerprint == e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, str(link.fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    happened = await started.take()
    assert happened.detail.assurance is Assurance.VERIFIED
    assert link.assurance is Assurance.VERIFIED
    assert len(failed) == 0


async def test_pinning_raises_a_session_that_flows(world: World) -> None:
    """What comes through it afterwards is verified, without a new key or a new session."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    assert ours.assurance is Assurance.VOUCHED
    await e2e(alice).trust.pin("bob@localhost", e2e(bob).fingerprint)
    heard = Heard(alice, "message")
    bob.send_message(mto=ALICE, mbody="x")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert e2e(alice).sessions() == (ours,)


async def test_a_key_that_is_not_the_pinned_one_is_held(world: World) -> None:
    """Nothing is delivered or sent in clear; the user is told, with both keys and the command that resolves it."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, OTHER)
    told, heard = Heard(alice, "e2e_key_changed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    happened = await told.take()
    assert happened.peer == BOB
    assert (happened.detail.kind, happened.detail.decision) == ("changed", "hold")
    assert happened.detail.fingerprint == e2e(bob).fingerprint
    assert happened.detail.remembered == (OTHER,)
    assert "xmpp-e2e trust pin bob@localhost" in happened.detail.text
    await world.settle(alice, bob)
    assert len(heard) == 0
    await e2e(alice).trust.pin(BOB, happened.detail.fingerprint)
    assert await heard.bodies(1) == ["for Bob only"]
    assert world.in_clear("for Bob only") == []


async def test_blocking_a_key_ends_its_session(world: World) -> None:
    """And refuses the next ones, until it is forgotten."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    heard, ended, failed = (Heard(client, name) for client, name in (
        (bob, "message"), (alice, "e2e_session_end"), (alice, "e2e_send_failed")
    ))  # fmt: skip
    trust = e2e(alice).trust
    await trust.block(BOB, e2e(bob).fingerprint)
    happened = await ended.take()
    assert happened.session is ours
    assert isinstance(happened.detail.error, UntrustedKey)
    alice.send_message(mto=BOB, mbody="one")
    report = await failed.take()
    assert isinstance(report.error, UntrustedKey)
    assert "blocked" in str(report)
    assert await trust.forget(BOB, str(e2e(bob).fingerprint)) == 1
    alice.send_message(mto=BOB, mbody="two")
    assert await heard.bodies(1) == ["two"]
    assert world.in_clear("one", "two") == []


async def test_blocking_a_key_that_is_held_ends_the_wait(world: World) -> None:
    """The message that waited is reported."""
    alice, bob = await world.client(ALICE, trust_model="server-untrusted"), await world.client(BOB)
    await world.settle(alice, bob)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    await until(e2e(alice).connect(BOB))
    await e2e(alice).trust.block(BOB, e2e(bob).fingerprint)
    assert isinstance((await failed.take()).error, UntrustedKey)


async def test_what_is_remembered_can_be_asked(world: World) -> None:
    """Keys, history and peers; full JIDs mean their accounts, and a malformed fingerprint is an error."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    trust = e2e(alice).trust
    [key] = trust.show(BOB).keys
    assert (key.fingerprint, key.assurance, key.method) == (e2e(bob).fingerprint, Assurance.VOUCHED, "route")
    await trust.pin(BOB, OTHER)
    assert [change.what for change in trust.history(BOB)] == ["accepted", "pinned"]
    assert trust.peers() == ("bob@localhost",)
    assert await trust.forget("bob@localhost") == 2
    assert trust.peers() == ()
    with pytest.raises(ValueError, match="no key fingerprint"):
        await trust.pin(BOB, "SHA256:nonsense")


async def second(world: World, alice: ClientXMPP) -> None:
    """The next session with Bob, after the first one has ended."""
    await e2e(alice).close()
    await world.settle(alice)


async def test_the_second_session_is_known(world: World) -> None:
    """The same key as before; forgotten, it is met anew."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    await second(world, alice)
    assert (await world.session(alice, bob))[0].assurance is Assurance.KNOWN
    await second(world, alice)
    await e2e(alice).trust.forget(BOB)
    assert (await world.session(alice, bob))[0].assurance is Assurance.VOUCHED


# --- connect ---------------------------------------------------------------------------------------------------------


async def test_connect_returns_when_both_hellos_are_checked(world: World) -> None:
    """Its session tells what was agreed; a bare JID means the best resource."""
    alice = await world.client(ALICE)
    low, high = await world.client("bob@localhost/low"), await world.client("bob@localhost/high")
    high.send_presence(ppriority=5)
    await world.settle(low, high, alice)
    link = await until(e2e(alice).connect("bob@localhost"))
    await until(link.opened())
    assert (link.peer, link.ours, link.role.value) == ("bob@localhost/high", ALICE, "initiator")
    assert (link.protocol, link.group) == ("TLSv1.3", "X25519MLKEM768")
    assert link.cipher.startswith("TLS_")
    assert link is await until(e2e(alice).connect("bob@localhost/high"))


@pytest.mark.parametrize("before", [False, True], ids=["first", "while one is open"])
async def test_connect_with_a_requirement_makes_stanzas_wait_for_it(world: World, before: bool) -> None:
    """`require="verified"`: nothing flows until the key is verified, not through a lesser session that was open either."""
    alice, bob = await world.pair()
    heard = Heard(bob, "message")
    if before:
        await world.session(alice, bob)
    link = await until(e2e(alice).connect(BOB, require="verified"))
    alice.send_message(mto=BOB, mbody="for Bob only")
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert not link.is_open
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    await until(link.opened())
    assert link.assurance is Assurance.VERIFIED
    assert await heard.bodies(1) == ["for Bob only"]
    assert link is await until(e2e(alice).connect(BOB, require=Assurance.VERIFIED))


async def test_connect_with_a_requirement_joins_no_lesser_handshake(world: World) -> None:
    """A session that is on its way on lesser terms will not do, unless it turns out better than asked."""
    alice, _ = await world.pair()
    first = asyncio.create_task(e2e(alice).connect(BOB))
    await turns(3)
    better = await until(e2e(alice).connect(BOB, require="verified"))
    assert better is not await until(first)
    assert better.minimum is Assurance.VERIFIED


@pytest.mark.parametrize(
    ("peer", "config", "words"),
    [
        ("bob@localhost/nowhere", {}, "cannot be reached"),
        ("carol@localhost", {}, "cannot be reached"),
        ("plain", {}, "does not advertise"),
        (BOB, {"policy": "off"}, "policy"),
        (BOB, {"accept": []}, "service-unavailable"),
    ],
)
async def test_connect_raises_what_made_it_fail(world: World, peer: str, config: dict[str, object], words: str) -> None:
    """Offline, without encryption, switched off here, or refused there: each says so."""
    accept = config.pop("accept", "anyone")
    alice, bob = await world.client(ALICE, **config), await world.client(BOB, accept_from=accept)
    plain = await world.client("carol@localhost/plain", "xep_0030", load=False)
    if peer == "plain":
        peer = plain.boundjid.full
    else:
        plain.send_presence(ptype="unavailable")
    await world.settle(plain, bob, alice)
    with pytest.raises(Exception, match=words):
        await until(e2e(alice).connect(peer))


async def test_an_unknown_requirement_is_an_error(world: World) -> None:
    """A misspelt level must not mean none."""
    alice, _ = await world.pair()
    with pytest.raises(ValueError, match="no assurance level"):
        await e2e(alice).connect(BOB, require="verifed")


async def test_one_key_of_several_is_forgotten(tmp_path: Path) -> None:
    """The others stay, and whoever waits for a decision hears of it."""
    changed: list[str] = []
    another = Fingerprint(bytes(32))
    with SQLStore.open(tmp_path / "store.db") as store:
        trust = Trust(store, changed.append)
        for key in (OTHER, another):
            await trust.pin(BOB, key)
        assert await trust.forget(BOB, str(OTHER)) == 1
        assert [key.fingerprint for key in trust.show(BOB).keys] == [another]
        assert await trust.forget(BOB) == 1
    assert changed == ["bob@localhost"] * 4

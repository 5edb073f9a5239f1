"""The user's decisions about keys apply to sessions that are open, that open, and that wait for a decision."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from slixmpp import JID, ClientXMPP

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.keys import PeerKeys
from slixmpp_e2e.trust.trust_uri import build_trust_uri
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.types import Assurance, Fingerprint

OTHER = Fingerprint(bytes(range(32)))


async def test_a_uri_pins_its_account_and_no_other(env: Env) -> None:
    alice = await env.client(ALICE)
    trust, bare = e2e(alice).trust, JID(BOB).bare
    await trust.pin(BOB, build_trust_uri(BOB, OTHER))
    assert [(key.fingerprint, key.assurance) for key in trust.show(BOB).keys] == [(OTHER, Assurance.VERIFIED)]
    with pytest.raises(ValueError, match=f"a key of {bare}"):
        await trust.pin(ALICE, build_trust_uri(BOB, OTHER))
    assert trust.show(ALICE).keys == ()


async def test_a_queued_message_is_delivered_when_the_key_is_pinned(env: Env) -> None:
    """Under `server-untrusted` a first contact waits until the user has pinned the key."""
    alice, bob = await env.pair(alices={"trust_model": "server-untrusted"})
    heard, started, failed = Events(bob, "message"), Events(alice, "e2e_session_opened"), Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    await env.settle(alice, bob)
    assert (len(heard), len(started), link.is_open) == (0, 0, False)
    assert link.fingerprint == e2e(bob).fingerprint
    await e2e(alice).trust.pin(BOB, str(link.fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    happened = await started.take()
    assert happened.assurance is Assurance.VERIFIED
    assert link.assurance is Assurance.VERIFIED
    assert len(failed) == 0


async def test_pinning_raises_an_open_session(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    assert ours.assurance is Assurance.VOUCHED
    await e2e(alice).trust.pin("bob@localhost", e2e(bob).fingerprint)
    heard = Events(alice, "message")
    bob.send_message(mto=ALICE, mbody="x")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert e2e(alice).sessions() == (ours,)


async def test_blocking_a_key_ends_its_session(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    heard, ended, failed = (Events(client, name) for client, name in (
        (bob, "message"), (alice, "e2e_session_closed"), (alice, "e2e_send_failed")
    ))  # fmt: skip
    trust = e2e(alice).trust
    await trust.block(BOB, e2e(bob).fingerprint)
    happened = await ended.take()
    assert happened.session is ours
    assert isinstance(happened.error, UntrustedKey)
    alice.send_message(mto=BOB, mbody="one")
    report = await failed.take()
    assert isinstance(report.error, UntrustedKey)
    assert "blocked" in str(report)
    assert await trust.forget(BOB, str(e2e(bob).fingerprint)) == 1
    alice.send_message(mto=BOB, mbody="two")
    assert await heard.bodies(1) == ["two"]
    assert env.in_clear("one", "two") == []


async def test_blocking_a_key_that_awaits_verification_ends_the_wait(env: Env) -> None:
    alice, bob = await env.pair(alices={"trust_model": "server-untrusted"})
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="for Bob only")
    await until(e2e(alice).connect(BOB))
    await e2e(alice).trust.block(BOB, e2e(bob).fingerprint)
    assert isinstance((await failed.take()).error, UntrustedKey)


async def test_keys_history_and_peers_can_be_listed(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    trust = e2e(alice).trust
    [key] = trust.show(BOB).keys
    assert (key.fingerprint, key.assurance, key.verified_by) == (e2e(bob).fingerprint, Assurance.VOUCHED, "route")
    await trust.pin(BOB, OTHER)
    assert [change.what for change in trust.history(BOB)] == ["accepted", "pinned"]
    assert trust.peers() == ("bob@localhost",)
    assert await trust.forget("bob@localhost") == 2
    assert trust.peers() == ()
    with pytest.raises(ValueError, match="no key fingerprint"):
        await trust.pin(BOB, "SHA256:nonsense")


async def second(env: Env, alice: ClientXMPP) -> None:
    await e2e(alice).close()
    await env.settle(alice)


async def test_the_second_session_is_known(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    await second(env, alice)
    assert (await env.session(alice, bob))[0].assurance is Assurance.KNOWN
    await second(env, alice)
    await e2e(alice).trust.forget(BOB)
    assert (await env.session(alice, bob))[0].assurance is Assurance.VOUCHED


async def test_connect_returns_when_both_hellos_are_checked(env: Env) -> None:
    """The session has its properties; a bare JID means the best resource."""
    alice = await env.client(ALICE)
    low, high = await env.client("bob@localhost/low"), await env.client("bob@localhost/high")
    high.send_presence(ppriority=5)
    await env.settle(low, high, alice)
    link = await until(e2e(alice).connect("bob@localhost"))
    await until(link.wait_open())
    assert (link.peer, link.own_jid, link.role.value) == ("bob@localhost/high", ALICE, "initiator")
    assert (link.protocol, link.group) == ("TLSv1.3", "X25519MLKEM768")
    assert link.cipher.startswith("TLS_")
    assert link is await until(e2e(alice).connect("bob@localhost/high"))


@pytest.mark.parametrize("before", [False, True], ids=["first", "while one is open"])
async def test_connect_with_a_requirement_makes_stanzas_wait_for_it(env: Env, before: bool) -> None:
    """With `require="verified"` no stanza is sent until the key is verified, not even through another open session."""
    alice, bob = await env.pair()
    heard = Events(bob, "message")
    if before:
        await env.session(alice, bob)
    link = await until(e2e(alice).connect(BOB, require="verified"))
    alice.send_message(mto=BOB, mbody="for Bob only")
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not link.is_open
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED
    assert await heard.bodies(1) == ["for Bob only"]
    assert link is await until(e2e(alice).connect(BOB, require=Assurance.VERIFIED))


async def test_connect_with_a_requirement_does_not_join_a_weaker_opening(env: Env) -> None:
    alice, _ = await env.pair()
    first = asyncio.create_task(e2e(alice).connect(BOB))
    while not e2e(alice).sessions(BOB):
        await turns(1)
    better = await until(e2e(alice).connect(BOB, require="verified"))
    assert better is not await until(first)
    assert better.min_assurance is Assurance.VERIFIED


@pytest.mark.parametrize(
    ("peer", "config", "words"),
    [
        ("bob@localhost/nowhere", {}, "cannot be reached"),
        ("carol@localhost", {}, "cannot be reached"),
        ("plain", {}, "does not advertise"),
        (BOB, {"policy": "off"}, "policy"),
        (BOB, {"accept": []}, "does not advertise"),
    ],
)
async def test_connect_raises_the_cause_of_its_failure(env: Env, peer: str, config: dict[str, object], words: str) -> None:
    accept = config.pop("accept", "anyone")
    alice, bob = await env.client(ALICE, **config), await env.client(BOB, accept_from=accept)
    plain = await env.client("carol@localhost/plain", "xep_0030", load=False)
    if peer == "plain":
        peer = plain.boundjid.full
    else:
        plain.send_presence(ptype="unavailable")
    await env.settle(plain, bob, alice)
    with pytest.raises(Exception, match=words):
        await until(e2e(alice).connect(peer))


async def test_an_unknown_requirement_is_an_error(env: Env) -> None:
    """A misspelt assurance must not mean none."""
    alice, _ = await env.pair()
    with pytest.raises(ValueError, match="no assurance level"):
        await e2e(alice).connect(BOB, require="verifed")


async def test_one_key_of_several_is_forgotten(tmp_path: Path) -> None:
    changed: list[tuple[str, str]] = []
    another = Fingerprint(bytes(32))
    with SQLStore.open(tmp_path / "store.db") as store:
        trust = PeerKeys(store, lambda *accounts: changed.append(accounts), "alice@localhost")
        for key in (OTHER, another):
            await trust.pin(BOB, key)
        assert await trust.forget(BOB, str(OTHER)) == 1
        assert [key.fingerprint for key in trust.show(BOB).keys] == [another]
        assert await trust.forget(BOB) == 1
    assert changed == [("bob@localhost", "alice@localhost")] * 4

"""What leaves, what comes in, and who hears of it: real clients, on a server that may be hostile."""

from __future__ import annotations

from typing import get_args

import pytest
from slixmpp.exceptions import IqError

from slixmpp_e2e import alarms
from slixmpp_e2e.errors import ConfigError, PeerOffline, PeerWithoutE2E, PlaintextNotAllowed
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.sessions.driver import AssuranceChanged, SessionDiscarded, SessionReleased
from slixmpp_e2e.store import StoreError, StoreReason
from slixmpp_e2e.xmpp import adapter
from tests.slixmpp_e2e.env import ALICE, BOB, SECRET, Env, Events, ask, block, e2e, refused, until
from xmpp_e2e import events
from xmpp_e2e.errors import PeerRefused
from xmpp_loopback import offline


def explains(report: SendFailed) -> bool:
    error = report.error
    words = alarms.words(error)
    return all(part and part in str(report) for part in (str(error), words.likely, words.remedy))


INSIDE, CLEAR, FAILED = "encrypted", "plaintext", "failed"
ABLE, PLAIN, ABSENT = "advertises", "does not advertise", "offline"
OUTGOING = [
    # peer, has used E2E before, plaintext allowed: off, prefer, require
    (ABLE, False, False, CLEAR, INSIDE, INSIDE),
    (ABLE, True, False, CLEAR, INSIDE, INSIDE),
    (ABLE, True, True, CLEAR, INSIDE, INSIDE),
    (PLAIN, False, False, CLEAR, CLEAR, FAILED),
    (PLAIN, False, True, CLEAR, CLEAR, FAILED),
    (PLAIN, True, False, CLEAR, FAILED, FAILED),
    (PLAIN, True, True, CLEAR, CLEAR, FAILED),
    (ABSENT, False, False, CLEAR, CLEAR, FAILED),
    (ABSENT, True, False, CLEAR, FAILED, FAILED),
    (ABSENT, True, True, CLEAR, CLEAR, FAILED),
]
ROWS = [
    (peer, seen, allowed, policy, outcome)
    for peer, seen, allowed, *outcomes in OUTGOING
    for policy, outcome in zip(("off", "prefer", "require"), outcomes, strict=True)
]


@pytest.mark.parametrize("to", [BOB, "bob@localhost"], ids=["full", "bare"])
@pytest.mark.parametrize(("peer", "seen", "allowed", "policy", "outcome"), ROWS)
async def test_what_leaves_follows_the_policy(
    env: Env, peer: str, seen: bool, allowed: bool, policy: str, outcome: str, to: str
) -> None:
    alice = await env.client(ALICE, policy=policy)
    if seen:
        e2e(alice)._store.record_e2e_use("bob@localhost", 1.0)
    if allowed:
        e2e(alice).allow_plaintext("bob@localhost")
    failed = Events(alice, "e2e_send_failed")
    if peer != ABSENT:
        bob = await env.client(BOB, "xep_0030", load=peer == ABLE)
        await env.settle(alice, bob)
        heard = Events(bob, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    if outcome == FAILED:
        report = await failed.take()
        assert isinstance(report.error, PeerOffline if peer == ABSENT else PeerWithoutE2E)
        assert explains(report)
        assert alarms.words(report.error).attack in str(report)
    elif peer == ABSENT:
        await until(env.server.wait_for(lambda handled: SECRET in handled.text))
    else:
        message = await heard.take()
        assert message["body"] == SECRET
        assert message["e2e"]["assurance"].name == ("VOUCHED" if outcome == INSIDE else "NONE")
    await env.settle(alice)
    assert bool(env.in_clear(SECRET)) is (outcome == CLEAR)
    assert len(failed) == 0


@pytest.mark.parametrize(("peer", "seen", "allowed", "policy", "outcome"), [row for row in ROWS if row[-1] == FAILED])
async def test_a_request_that_cannot_be_sent_is_answered_at_once(
    env: Env, peer: str, seen: bool, allowed: bool, policy: str, outcome: str
) -> None:
    """Whoever waits for the answer of an iq gets an error that says why, and not a timeout."""
    alice = await env.client(ALICE, policy=policy)
    if seen:
        e2e(alice)._store.record_e2e_use("bob@localhost", 1.0)
    if peer != ABSENT:
        await env.client(BOB, load=False)
    text = await refused(ask(alice, BOB))
    assert ("cannot be reached" if peer == ABSENT else "does not advertise") in text
    assert env.in_clear(SECRET) == []


async def test_the_policy_of_a_peer_goes_before_the_general_one(env: Env) -> None:
    """``set_policy`` holds for the account at once, also where a route is known; None leaves what was set."""
    alice, bob = await env.pair(policy="off")
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="one")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    e2e(alice).set_policy(BOB, "require")
    e2e(alice).set_policy("bob@localhost")
    e2e(bob).set_policy(ALICE, "prefer")
    alice.send_message(mto=BOB, mbody="two")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    with pytest.raises(ConfigError, match="plain XMPP, but the policy `require` refuses it"):
        e2e(alice).set_policy(BOB, trust_model="server-trusted")
    e2e(alice).set_policy(BOB, "off", "server-trusted")
    alice.send_message(mto=BOB, mbody="three")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"


@pytest.mark.parametrize(
    ("policy", "seen", "delivered", "told"),
    [
        ("off", False, True, ""),
        ("off", True, True, ""),
        ("prefer", False, True, ""),
        ("prefer", True, True, "e2e_plaintext_received"),
        ("require", False, False, "e2e_plaintext_refused"),
        ("require", True, False, "e2e_plaintext_refused"),
    ],
)
async def test_plaintext_that_comes_follows_the_policy(env: Env, policy: str, seen: bool, delivered: bool, told: str) -> None:
    alice = await env.client(ALICE, policy=policy)
    if seen:
        e2e(alice)._store.record_e2e_use("bob@localhost", 1.0)
    bob = await env.client(BOB, load=False)
    messages, names = Events(alice, "message"), ("e2e_plaintext_received", "e2e_plaintext_refused")
    reports = {name: Events(alice, name) for name in names}
    bob.send_message(mto=ALICE, mbody="in clear")
    await env.settle(bob, alice)
    assert [len(reports[name]) for name in names] == [int(name == told) for name in names]
    if told:
        report = await reports[told].take()
        assert isinstance(report.error, PlaintextNotAllowed)
        assert report.stanza["body"] == "in clear"
    assert len(messages) == int(delivered)
    if delivered:
        assert str((await messages.take())["e2e"]["assurance"]) == "none"
    if policy != "prefer" or not seen:
        with pytest.raises(IqError) as caught:
            await until(ask(bob, ALICE))
        assert caught.value.iq["error"]["condition"] == ("feature-not-implemented" if delivered else "service-unavailable")


async def test_first_stanzas_to_the_bare_and_to_the_full_jid_share_one_session(env: Env) -> None:
    """Two messages of one turn to two addresses of one device cost one handshake."""
    alice, bob = await env.pair()
    heard, started = Events(bob, "message"), Events(bob, "e2e_session_opened")
    alice.send_message(mto="bob@localhost", mbody="bare")
    alice.send_message(mto=BOB, mbody="full")
    assert sorted(await heard.bodies(2)) == ["bare", "full"]
    await env.settle(alice, bob)
    assert len(started) == 1


async def test_a_session_that_the_peer_opens_changes_the_route(env: Env) -> None:
    """A session of a peer who got plaintext before, and whose presence we never saw, tells that they have encryption now."""
    env.server.set_subscription("alice@localhost", "bob@localhost", "none")
    alice = await env.client(ALICE, accept_from="anyone")
    bob = await env.client(BOB, "xep_0030", load=False)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="in clear")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    e2e(alice).allow_plaintext(BOB)
    alice.send_message(mto=BOB, mbody="in clear")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    env.load(bob)
    await env.session(bob, alice)
    alice.send_message(mto=BOB, mbody=SECRET)
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear(SECRET) == []


async def test_whoever_has_accepted_an_offer_is_never_a_stranger_again(env: Env) -> None:
    """A server that breaks the first handshake, once it is known that the peer has encryption, gets no plaintext."""
    alice, bob = await env.pair()
    failed, hold = Events(alice, "e2e_send_failed"), env.hold(block)
    alice.send_message(mto=BOB, mbody="before it was stripped")
    await until(hold.caught())
    await offline(bob)
    await env.settle(alice)
    alice.send_message(mto=BOB, mbody="after it was stripped")
    report = await failed.take()
    while report.stanza["body"] != "after it was stripped":
        report = await failed.take()
    assert isinstance(report.error, PeerOffline)
    assert env.in_clear("stripped") == []


async def test_an_advertisement_alone_makes_nobody_fall_silent(env: Env) -> None:
    """The account has a plain client otherwise: what one device has said once is no reason to fail what is for the others."""
    alice, bob = await env.client(ALICE), await env.client(BOB, accept_from=["nobody@nowhere.test"])
    await env.settle(alice, bob)
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="while it advertises")
    assert isinstance((await failed.take()).error, PeerRefused)
    assert env.in_clear("while") == []
    adapter.unload(bob, "e2e")
    await env.settle(bob, alice)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="afterwards")
    assert await heard.bodies(1) == ["afterwards"]


async def test_every_event_of_a_session_has_listeners(env: Env) -> None:
    """Each event class of the core and of the driver has an entry, so that no event is an error in the middle of a session."""
    listeners = e2e(env.make(ALICE))._client._listeners
    assert set(listeners) == {*get_args(events.Event), AssuranceChanged, SessionDiscarded, SessionReleased}


async def test_a_peer_who_cannot_be_remembered_gets_no_session(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store fails when a session opens, the session ends, nobody hears that it opened, and nothing is delivered."""
    alice, bob = await env.pair()

    def fails(*_: object) -> None:
        raise StoreError(e2e(alice)._store.path, "the disk is full", StoreReason.NO_ACCESS)

    monkeypatch.setattr(e2e(alice)._store, "remember_key", fails)
    opened, ended, heard = Events(alice, "e2e_session_opened"), Events(alice, "e2e_session_failed"), Events(alice, "message")
    failed = Events(bob, "e2e_send_failed")
    bob.send_message(mto=ALICE, mbody=SECRET)
    assert isinstance((await ended.take()).error, StoreError)
    await failed.take()
    await env.settle(alice, bob)
    assert (len(opened), len(heard)) == (0, 0)
    assert env.in_clear(SECRET) == []

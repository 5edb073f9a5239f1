"""The policy table of the product, with real clients and a server that may be hostile: what leaves, and what comes in."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.exceptions import IqError

from slixmpp_e2e import client as switchboard
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, PlaintextRefused
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.xmpp import adapter, discovery
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, jingle, until
from xmpp_e2e.errors import PeerRefused, SecurityStripped
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_loopback import Hook, hostile, offline

QUERY = "{urn:example:query}query"
SECRET = "attack at dawn"


def ask(client: ClientXMPP, to: str) -> asyncio.Future[Iq]:
    """Send a query with a secret inside."""
    iq = client.make_iq_get(ito=to)
    SubElement(iq.xml, QUERY).text = f"{SECRET}?"
    answer: asyncio.Future[Iq] = iq.send(timeout=20)
    return answer


async def refused(answer: asyncio.Future[Iq]) -> str:
    """The error that answered a query; its sender must not have to wait for a timeout."""
    with pytest.raises(IqError) as caught:
        await until(answer)
    return str(caught.value.iq["error"]["text"])


def explains(report: SendFailed) -> bool:
    """Does it say what happened, what it may mean, and what to do?"""
    error = report.error
    return all(part and part in str(report) for part in (str(error), error.likely, error.remedy))


# --- the way out -----------------------------------------------------------------------------------------------------

INSIDE, CLEAR, FAILED = "inside", "clear", "failed"
ABLE, PLAIN, ABSENT = "advertises", "does not advertise", "offline"
OUTGOING = [
    # peer, seen with E2E before, plaintext allowed: off, prefer, require
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
    world: World, peer: str, seen: bool, allowed: bool, policy: str, outcome: str, to: str
) -> None:
    """Each row of the table: a message goes inside, in clear, or nowhere, and then its sender is told why."""
    alice = await world.client(ALICE, policy=policy)
    if seen:
        e2e(alice).memory.mark_seen("bob@localhost", 1.0)
    if allowed:
        e2e(alice).allow_plaintext("bob@localhost")
    failed = Heard(alice, "e2e_send_failed")
    if peer != ABSENT:
        bob = await world.client(BOB, "xep_0030", load=peer == ABLE)
        await world.settle(alice, bob)
        heard = Heard(bob, "message")
    alice.send_message(mto=to, mbody=SECRET, mtype="chat")
    if outcome == FAILED:
        report = await failed.take()
        assert isinstance(report.error, PeerOffline if peer == ABSENT else PeerWithoutE2E)
        assert explains(report)
        assert report.error.attack in str(report)
    elif peer == ABSENT:
        await until(world.server.saw(lambda handled: SECRET in handled.text))
    else:
        message = await heard.take()
        assert message["body"] == SECRET
        assert message["e2e"]["assurance"].name == ("VOUCHED" if outcome == INSIDE else "NONE")
    await world.settle(alice)
    assert bool(world.in_clear(SECRET)) is (outcome == CLEAR)
    assert len(failed) == 0


@pytest.mark.parametrize(("peer", "seen", "allowed", "policy", "outcome"), [row for row in ROWS if row[-1] == FAILED])
async def test_a_request_that_cannot_be_sent_is_answered_at_once(
    world: World, peer: str, seen: bool, allowed: bool, policy: str, outcome: str
) -> None:
    """Who waits for the answer of an iq gets an error that says why, and no timeout."""
    alice = await world.client(ALICE, policy=policy)
    if seen:
        e2e(alice).memory.mark_seen("bob@localhost", 1.0)
    if peer != ABSENT:
        await world.client(BOB, load=False)
    text = await refused(ask(alice, BOB))
    assert ("cannot be reached" if peer == ABSENT else "does not advertise") in text
    assert world.in_clear(SECRET) == []


async def test_the_policy_of_a_peer_goes_before_the_general_one(world: World) -> None:
    """`set_policy` holds for the account, for what is known of its way already, too; None leaves what was set."""
    alice, bob = await world.pair(policy="off")
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="one")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    e2e(alice).set_policy(BOB, "require")
    e2e(alice).set_policy("bob@localhost")
    e2e(bob).set_policy(ALICE, "prefer")
    alice.send_message(mto=BOB, mbody="two")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    e2e(alice).set_policy(BOB, trust_model="server-trusted")
    alice.send_message(mto=BOB, mbody="three")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"


async def test_a_stricter_policy_holds_at_once(world: World) -> None:
    """For a way in clear that was taken a moment ago, too."""
    alice, bob = await world.client(ALICE), await world.client(BOB, "xep_0030", load=False)
    await world.settle(alice, bob)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="one")
    assert await heard.bodies(1) == ["one"]
    e2e(alice).set_policy(BOB, "require")
    alice.send_message(mto=BOB, mbody="two")
    assert isinstance((await failed.take()).error, PeerWithoutE2E)
    assert world.in_clear("two") == []


# --- a hostile server, or an unwilling peer --------------------------------------------------------------------------


def nothing(stanza: Element, sender: str) -> Element:
    """A server that does what it should."""
    return stanza


def strip_security(action: str) -> Hook:
    """Take <security/> out of one Jingle stanza."""
    strip, matches = hostile.strip_element(f"{{{NS_SECURITY}}}security"), jingle(action)
    return lambda stanza, sender: strip(stanza, sender) if matches(stanza, sender) else stanza


HOSTILE: list[tuple[str, Hook, dict[str, Any], type[Exception], str]] = [
    ("feature", hostile.strip_feature(NS_SECURITY), {}, PeerWithoutE2E, "strips the feature"),
    ("initiate", strip_security("session-initiate"), {}, PeerRefused, "security-error"),
    ("accept", strip_security("session-accept"), {}, SecurityStripped, "strips <security/>"),
    ("refused", nothing, {"accept_from": []}, PeerRefused, "accept_from"),
    ("off", nothing, {"policy": "off"}, PeerRefused, "accept_from"),
]


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize(
    ("hook", "config", "kind", "words"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
async def test_no_trick_makes_us_speak_in_clear(
    world: World, policy: str, hook: Hook, config: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """A server that strips what we need, or a peer who refuses: the message and the iq fail, and it is said why."""
    world.server.interfere.append(hook)
    alice = await world.client(ALICE, policy=policy)
    bob = await world.client(BOB, **config)
    await world.settle(alice, bob)
    e2e(alice).memory.mark_seen("bob@localhost", 1.0)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    answer = ask(alice, BOB)
    report = await failed.take()
    assert isinstance(report.error, kind)
    assert explains(report)
    assert words in str(report)
    await refused(answer)
    await world.settle(alice, bob)
    assert world.in_clear(SECRET) == []
    assert len(heard) == 0


async def test_a_peer_who_is_asked_and_does_not_answer_counts_as_offline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that swallows the question gains a failure, and no plaintext."""
    monkeypatch.setattr(discovery, "_TIMEOUT", 0.05)
    swallow = hostile.drop(lambda stanza, sender: stanza.find("{http://jabber.org/protocol/disco#info}query") is not None)
    world.server.interfere += [hostile.strip_feature(NS_SECURITY), swallow]
    alice, _ = await world.pair(policy="require")
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody=SECRET)
    assert isinstance((await failed.take()).error, PeerOffline)
    assert world.in_clear(SECRET) == []


async def test_a_stranger_whose_feature_is_stripped_is_written_to_in_clear_under_prefer(world: World) -> None:
    """The limit of `prefer`, as the table says it: a first contact cannot be told from one without encryption."""
    world.server.interfere.append(hostile.strip_feature(NS_SECURITY))
    alice, bob = await world.pair()
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET)
    assert str((await heard.take())["e2e"]["assurance"]) == "none"


# --- the way in ------------------------------------------------------------------------------------------------------


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
async def test_plaintext_that_comes_follows_the_policy(
    world: World, policy: str, seen: bool, delivered: bool, told: str
) -> None:
    """Delivered as `none`, delivered and told, or refused and told; a refused request is answered by an error."""
    alice = await world.client(ALICE, policy=policy)
    if seen:
        e2e(alice).memory.mark_seen("bob@localhost", 1.0)
    bob = await world.client(BOB, load=False)
    messages, names = Heard(alice, "message"), ("e2e_plaintext_received", "e2e_plaintext_refused")
    reports = {name: Heard(alice, name) for name in names}
    bob.send_message(mto=ALICE, mbody="in clear")
    await world.settle(bob, alice)
    assert [len(reports[name]) for name in names] == [int(name == told) for name in names]
    if told:
        report = await reports[told].take()
        assert isinstance(report.error, PlaintextRefused)
        assert report.stanza["body"] == "in clear"
        assert "in clear" in str(report)
    assert len(messages) == int(delivered)
    if delivered:
        assert str((await messages.take())["e2e"]["assurance"]) == "none"
    if policy != "prefer" or not seen:
        with pytest.raises(IqError) as caught:
            await until(ask(bob, ALICE))
        assert caught.value.iq["error"]["condition"] == ("feature-not-implemented" if delivered else "service-unavailable")


# --- whom it reaches -------------------------------------------------------------------------------------------------


async def test_a_message_to_a_bare_jid_goes_to_every_resource_with_encryption(world: World) -> None:
    """Three resources, two of them with it: one session each, and nothing in clear for the third."""
    alice = await world.client(ALICE)
    bobs = [await world.client(f"bob@localhost/{name}", load=name != "plain") for name in ("one", "two", "plain")]
    await world.settle(alice, *bobs)
    heard = [Heard(bob, "message") for bob in bobs]
    for number in range(3):
        alice.send_message(mto="bob@localhost", mbody=f"{SECRET} {number}")
    for each in heard[:2]:
        assert await each.bodies(3) == [f"{SECRET} {number}" for number in range(3)]
    await world.settle(alice, *bobs)
    assert [len(each) for each in heard] == [0, 0, 0]
    assert {link.peer for link in e2e(alice).sessions()} == {"bob@localhost/one", "bob@localhost/two"}
    assert world.in_clear(SECRET) == []


async def test_a_message_to_a_bare_jid_goes_to_a_bounded_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resource costs a session: those of the best priority have it."""
    monkeypatch.setattr(switchboard, "FAN_OUT", 1)
    alice, low, high = [await world.client(jid) for jid in (ALICE, "bob@localhost/low", "bob@localhost/high")]
    high.send_presence(ppriority=5)
    await world.settle(high, low, alice)
    heard, missed = Heard(high, "message"), Heard(low, "message")
    alice.send_message(mto="bob@localhost", mbody=SECRET)
    assert await heard.bodies(1) == [SECRET]
    await world.settle(alice, low)
    assert len(missed) == 0


async def test_a_message_to_a_bare_jid_fails_only_if_no_session_opens(world: World) -> None:
    """One of two devices refuses: the other one has it, and nothing is reported."""
    alice = await world.client(ALICE)
    one = await world.client("bob@localhost/one")
    two = await world.client("bob@localhost/two", accept_from=[])
    await world.settle(alice, one, two)
    heard, failed, ended = Heard(one, "message"), Heard(alice, "e2e_send_failed"), Heard(alice, "e2e_session_failed")
    alice.send_message(mto="bob@localhost", mbody=SECRET)
    assert await heard.bodies(1) == [SECRET]
    await ended.take()
    assert len(failed) == 0
    await offline(one)
    await world.settle(alice)
    alice.send_message(mto="bob@localhost", mbody=SECRET)
    assert isinstance((await failed.take()).error, PeerRefused)
    assert world.in_clear(SECRET) == []


async def test_first_stanzas_to_the_bare_and_to_the_full_jid_share_one_session(world: World) -> None:
    """Sent in the same turn, to two addresses of one resource: one handshake."""
    alice, bob = await world.pair()
    heard, started = Heard(bob, "message"), Heard(bob, "e2e_session_start")
    alice.send_message(mto="bob@localhost", mbody="bare")
    alice.send_message(mto=BOB, mbody="full")
    assert sorted(await heard.bodies(2)) == ["bare", "full"]
    await world.settle(alice, bob)
    assert len(started) == 1


async def test_a_session_that_the_peer_opens_changes_the_way_to_him(world: World) -> None:
    """Written to in clear before, and never seen online: his session is the news that he has it now."""
    world.server.set_subscription("alice@localhost", "bob@localhost", "none")
    alice = await world.client(ALICE, accept_from="anyone")
    bob = await world.client(BOB, "xep_0030", load=False)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="in clear")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    e2e(alice).allow_plaintext(BOB)
    alice.send_message(mto=BOB, mbody="in clear")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    world.load(bob)
    await world.session(bob, alice)
    alice.send_message(mto=BOB, mbody=SECRET)
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert world.in_clear(SECRET) == []


async def test_who_has_advertised_is_never_a_stranger_again(world: World) -> None:
    """A server that breaks the first handshake and then strips the feature gets nothing in clear."""
    alice, bob = await world.client(ALICE), await world.client(BOB, accept_from=["nobody@nowhere.test"])
    await world.settle(alice, bob)
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="before it was stripped")
    assert isinstance((await failed.take()).error, PeerRefused)
    adapter.unload(bob, "e2e")
    await world.settle(bob)
    alice.send_message(mto=BOB, mbody="after it was stripped")
    assert isinstance((await failed.take()).error, PeerWithoutE2E)
    assert world.in_clear("stripped") == []

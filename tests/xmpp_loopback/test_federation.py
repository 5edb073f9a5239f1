"""Two domains, and the path between their servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from xmpp_loopback import Federation, LoopbackServer, Subscription, hostile, no_tls, offline, online, parse, to_text

ALICE, BOB = "alice@a.test/x", "bob@b.test/y"


class Two:
    """a.test with Alice, b.test with Bob, and the path between them."""

    def __init__(self, near: LoopbackServer, far: LoopbackServer) -> None:
        self.near, self.far = near, far
        self.path = Federation(near, far)
        self.alice, self.bob = (ClientXMPP(jid, "secret", ssl_context=no_tls()) for jid in (ALICE, BOB))
        self.alice.auto_authorize = self.bob.auto_authorize = None

    def befriend(self, state: str = "both") -> None:
        self.near.set_subscription(ALICE, BOB, state)
        self.far.set_subscription(BOB, ALICE, {"to": "from", "from": "to"}.get(state, state))

    async def online(self) -> None:
        await online(self.alice, self.near)
        await online(self.bob, self.far)

    async def settle(self) -> None:
        for client in (self.alice, self.bob) * 2:
            await client.get_roster(timeout=10)


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with (
        LoopbackServer("a.test", {"alice": "secret", "carol": "secret"}) as near,
        LoopbackServer("b.test", {"bob": "secret"}) as far,
    ):
        running = Two(near, far)
        yield running
        for client in (running.alice, running.bob):
            await offline(client)


async def test_messages_and_iqs_cross_both_ways(two: Two, events: Any) -> None:
    await two.online()
    to_bob, to_alice, errors = events(two.bob, "message"), events(two.alice, "message"), events(two.alice, "message_error")
    two.alice.send_message(BOB, "there")
    two.bob.send_message("alice@a.test", "and back")
    assert [(await box.take())["from"].full for box in (to_bob, to_alice)] == [ALICE, BOB]
    with pytest.raises(IqError, match="No handlers registered"):
        await two.alice.make_iq_get(ito=BOB, queryxmlns="urn:unheard-of").send(timeout=10)
    two.alice.send_message("nobody@b.test", "hello", mtype="chat")
    assert (await errors.take())["error"]["condition"] == "service-unavailable"
    ping = two.alice.make_iq_get(ito="b.test")
    ping.xml.append(parse("<ping xmlns='urn:xmpp:ping'/>"))
    assert (await ping.send(timeout=10))["from"] == "b.test"
    with pytest.raises(IqError):
        await two.alice.make_iq_get(ito="bob@b.test", queryxmlns="urn:unheard-of").send(timeout=10)


@pytest.mark.parametrize("first", ["alice", "bob"])
async def test_presence_crosses_where_subscribed(two: Two, events: Any, first: str) -> None:
    two.befriend()
    boxes = {name: events(client, "presence_available") for name, client in (("alice", two.alice), ("bob", two.bob))}
    gone = events(two.alice, "presence_unavailable")
    order = [(two.alice, two.near), (two.bob, two.far)]
    for client, server in order if first == "alice" else order[::-1]:
        await online(client, server)
    assert two.alice.client_roster["bob@b.test"]["subscription"] == "both"
    for name, expected in (("alice", BOB), ("bob", ALICE)):
        while (await boxes[name].take())["from"].full != expected:
            pass
    two.far.disconnect(BOB, abruptly=False)
    assert (await gone.take())["from"].full == BOB


async def test_presence_does_not_cross_elsewhere(two: Two, events: Any) -> None:
    """Strangers get nothing, not even by a probe; a one-way subscription works one way."""
    two.befriend("from")
    seen = events(two.alice, "presence_available")
    await two.online()
    two.alice.send_presence(pto="bob@b.test", ptype="probe")
    await two.settle()
    assert {(await seen.take())["from"].full for _ in range(seen.queue.qsize())} <= {ALICE}
    crossed = [handled.element for handled in two.near.handled if handled.client == "b.test" and "<presence" in handled.text]
    assert [stanza.get("type") for stanza in crossed if stanza.get("from") == BOB] == ["probe"]
    assert any(ALICE in handled.text and "<presence" in handled.text for handled in two.far.handled if handled.client == BOB)


async def test_a_subscription_crosses(two: Two, events: Any) -> None:
    await two.online()
    asked, granted = events(two.bob, "presence_subscribe"), events(two.alice, "presence_subscribed")
    here, gone = events(two.alice, "presence_available"), events(two.alice, "presence_unavailable")
    two.alice.send_presence(pto="bob@b.test", ptype="subscribe")
    assert (await asked.take())["from"] == "alice@a.test"
    two.bob.send_presence(pto="alice@a.test", ptype="subscribed")
    await granted.take()
    while (await here.take())["from"].full != BOB:
        pass
    two.bob.send_presence(pto="alice@a.test", ptype="unsubscribed")
    assert (await gone.take())["from"].full == BOB


async def test_directed_presence_crosses_and_its_end(two: Two, events: Any) -> None:
    """Recipients of directed presence learn of the end without a subscription (RFC 6121 §4.6.3)."""
    await two.online()
    here, gone = events(two.bob, "presence_available"), events(two.bob, "presence_unavailable")
    two.alice.send_presence(pto=BOB)
    while (await here.take())["from"].full != ALICE:
        pass
    two.near.disconnect(ALICE, abruptly=False)
    assert (await gone.take())["from"].full == ALICE


@pytest.mark.parametrize("claimed", ["bob@b.test/y", "carol@c.test/z", "b.test", "", "@@"])
async def test_an_honest_server_refuses_the_name_of_another_domain(two: Two, events: Any, claimed: str) -> None:
    await two.online()
    two.near.hooks.append(hostile.impersonate(claimed))
    got = events(two.bob, "message")
    two.alice.send_message(BOB, "trust me")
    await two.settle()
    assert got.empty
    assert [refused.get("from") for refused in two.path.refused if refused.tag.endswith("message")] == [claimed]


async def test_a_hostile_server_can_forge_its_own_people(two: Two, events: Any) -> None:
    """Only end-to-end encryption can detect this."""
    await two.online()
    two.near.hooks.append(hostile.impersonate("carol@a.test/z"))
    got = events(two.bob, "message")
    two.alice.send_message(BOB, "trust me")
    assert (await got.take())["from"] == "carol@a.test/z"


async def test_a_hostile_path_changes_what_passes(two: Two, events: Any) -> None:
    await two.online()
    two.path.hooks.append(hostile.strip_element("{jabber:client}subject"))
    two.path.hooks.append(hostile.duplicate(lambda stanza, sender: sender == ALICE))
    got = events(two.bob, "message")
    two.alice.send_message(BOB, "kept", msubject="stripped")
    for _ in range(2):
        message = await got.take()
        assert (message["body"], message["subject"]) == ("kept", None)
    assert two.near.find_text("stripped")
    assert not two.far.find_text("stripped")


async def test_a_server_interferes_with_what_comes_to_it_too(two: Two, events: Any) -> None:
    await two.online()
    two.far.hooks.append(hostile.only("alice@a.test", hostile.strip_element("{jabber:client}subject")))
    got = events(two.bob, "message")
    two.alice.send_message(BOB, "kept", msubject="stripped")
    assert (await got.take())["subject"] is None
    assert two.far.find_text("stripped")


async def test_the_other_server_answers_for_its_own(two: Two, events: Any) -> None:
    """It answers a second subscription request itself (RFC 6121 §3.1.3)."""
    two.befriend()
    await two.online()
    granted = events(two.alice, "presence_subscribed")
    two.alice.send_presence(pto="bob@b.test", ptype="subscribe")
    assert (await granted.take())["from"] == "bob@b.test"
    answers = [handled for handled in two.near.handled if handled.client == "b.test" and 'type="subscribed"' in handled.text]
    assert [handled.direction.value for handled in answers] == ["received"]


async def test_without_a_path_the_other_domain_is_not_found(two: Two, events: Any) -> None:
    await two.online()
    del two.near.neighbours["b.test"]
    errors = events(two.alice, "message_error")
    two.alice.send_message(BOB, "hello", mtype="chat")
    assert (await errors.take())["error"]["condition"] == "remote-server-not-found"


def test_refusals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmpp_loopback.federation.REFUSED_LIMIT", 1)
    near, far = LoopbackServer("a.test"), LoopbackServer("b.test")
    path = Federation(near, far)
    forged = parse("<message from='x@c.test' to='bob@b.test'/>")
    near.neighbours["b.test"](forged)
    with pytest.raises(OverflowError):
        near.neighbours["b.test"](forged)
    assert [to_text(refused) for refused in path.refused] == [to_text(forged)]
    assert Subscription.NONE is near._directory.subscription("alice@a.test", "bob@b.test")

"""What waits for a session: bounded, in order, as it was when it was sent, and never for ever."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Message
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import HeldTooLong, HoldQueueFull, PeerWithoutE2E, RouteUnknown
from slixmpp_e2e.messages import queue as outbox
from slixmpp_e2e.messages.queue import Outbox, Route, Target
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.test_switchboard import ask, refused
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, block, e2e, jingle, turns, until
from xmpp_e2e.errors import E2EError, NoRoom, PeerRefused, UnsendableStanza
from xmpp_loopback import hostile


def held(world: World, action: str = "session-initiate") -> hostile.Hold:
    """A server that keeps the handshake back until the test says otherwise."""
    hold = hostile.Hold(world.server, jingle(action))
    world.server.interfere.append(hold)
    return hold


def without_hello(world: World) -> hostile.Hold:
    """A server that lets Bob's half of the TLS handshake pass, in his accept, and keeps back his hello and done."""
    hold = hostile.Hold(world.server, lambda stanza, sender: sender == BOB and block(stanza, sender))
    world.server.interfere.append(hold)
    return hold


@pytest.mark.parametrize(("name", "bound", "body"), [("HOLD_STANZAS", 3, "x"), ("HOLD_BYTES", 3_500, "x" * 1000)])
async def test_what_is_held_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, bound: int, body: str
) -> None:
    """By number and by size; what does not fit is reported, the rest arrives, and then there is room again."""
    if name == "HOLD_STANZAS":
        monkeypatch.setattr(outbox, name, bound)
        alice, bob = await world.pair()
    else:
        alice, bob = await world.pair(hold_bytes=bound)
    hold, heard, failed = held(world), Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    for number in range(5):
        alice.send_message(mto=BOB, mbody=f"{number} {body}")
    await until(hold.caught())
    for number in (3, 4):
        report = await failed.take()
        assert isinstance(report.error, HoldQueueFull)
        assert report.stanza["body"].startswith(str(number))
        assert str(bound) in str(report)
    if name == "HOLD_STANZAS":
        assert str(bound) in await refused(ask(alice, BOB))
    hold.release()
    assert await heard.bodies(3) == [f"{number} {body}" for number in range(3)]
    for number in range(5):
        alice.send_message(mto=BOB, mbody=f"{number} {body}")
    assert len(await heard.bodies(5)) == 5
    assert not e2e(alice).switchboard.outbox._held


@pytest.mark.parametrize(("stanzas", "size", "fits"), [(2, outbox.HOLD_BYTES, 16), (outbox.HOLD_STANZAS, 2380, 16)])
async def test_what_is_held_in_all_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch, stanzas: int, size: int, fits: int
) -> None:
    """Whoever answers many strangers keeps eight times as much as for one of them, by number and by size, and no more."""
    monkeypatch.setattr(outbox, "HOLD_STANZAS", stanzas)
    alice = await world.client(ALICE, hold_bytes=size)
    failed = Heard(alice, "e2e_send_failed")
    hold = hostile.Hold(world.server, lambda stanza, sender: "stranger" in stanza.get("to", ""))
    world.server.interfere.append(hold)
    for number in range(fits + 3):
        alice.send_message(mto=f"stranger{number}@localhost/x", mbody="x" * 1000, mtype="chat")
    for number in range(fits, fits + 3):
        report = await failed.take()
        assert isinstance(report.error, HoldQueueFull)
        assert report.stanza["to"].user == f"stranger{number}"
    assert f"wait for {fits} addresses already" in str(report)
    assert len(failed) == 0
    assert e2e(alice).switchboard.outbox._held_in_all[0] == fits


async def test_nothing_waits_longer_than_hold_seconds(world: World) -> None:
    """Messages and iqs are reported when their time is over, whatever becomes of the session later."""
    alice, bob = await world.pair(hold_seconds=0.2)
    hold, heard, failed = held(world), Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="too late")
    assert "0.2 seconds" in await refused(ask(alice, BOB))
    report = await failed.take()
    assert isinstance(report.error, HeldTooLong)
    assert report.stanza["body"] == "too late"
    hold.release()
    e2e(alice).switchboard.hold_seconds = 300.0
    alice.send_message(mto=BOB, mbody="in time")
    assert await heard.bodies(1) == ["in time"]
    assert world.in_clear("too late", "in time") == []
    await world.settle(alice, bob)
    assert not e2e(alice).switchboard.outbox._held


async def test_what_went_out_early_is_not_reported_by_its_deadline(world: World) -> None:
    """It may arrive yet, and is reported only if the session fails; then it was delivered to nobody."""
    alice, bob = await world.pair()
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    hold = without_hello(world)
    alice.send_message(mto=BOB, mbody="early")
    assert await heard.bodies(1) == ["early"]
    alice.send_message(mto=BOB, mbody="early too")
    await until(hold.caught())
    box = e2e(alice).switchboard.outbox
    [early] = box._early.values()
    for item in early:
        box._expire(item)
    assert len(failed) == 0
    hold.release()
    assert await heard.bodies(1) == ["early too"]
    assert len(failed) == 0


async def test_what_went_out_early_is_reported_if_the_session_fails(world: World) -> None:
    """The peer's done never came: nobody can say whether it arrived, so the sender must know."""
    alice, bob = await world.pair()
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
    hold = without_hello(world)
    alice.send_message(mto=BOB, mbody="early")
    assert await heard.bodies(1) == ["early"]
    await until(hold.caught())
    [link] = e2e(alice).switchboard.sessions
    assert not link.is_open
    link.fail(PeerRefused("the end of the test"))
    assert (await failed.take()).stanza["body"] == "early"
    hold.discard()


async def test_held_stanzas_are_sent_as_they_were(world: World) -> None:
    """A caller who goes on working with a stanza that he has sent changes nothing of what arrives."""
    alice, bob = await world.pair()
    hold, heard = held(world), Heard(bob, "message")
    message = alice.make_message(mto=BOB, mbody="original")
    message.send()
    await until(hold.caught())
    message["body"] = "changed"
    message["to"] = "carol@localhost/c"
    message.send()
    message["body"] = "once more"
    hold.release()
    assert await heard.bodies(1) == ["original"]


async def test_order_is_kept_between_what_waited_and_what_follows(world: World) -> None:
    """From the first stanza, which finds the way, to those that are sent while and after the session opens."""
    alice, bob = await world.pair()
    heard, started = Heard(bob, "message"), Heard(alice, "e2e_session_start")
    number = 0
    while not len(started) or number < 300:
        alice.send_message(mto=BOB, mbody=str(number))
        number += 1
        await turns(1)
        if number % 50 == 7:
            bob.send_presence()  # forgets the way
    assert await heard.bodies(number) == [str(each) for each in range(number)]


async def test_what_xml_cannot_carry_fails_at_once(world: World) -> None:
    """Before any handshake, and with a word on which character it is."""
    alice, bob = await world.pair()
    failed, offered = Heard(alice, "e2e_send_failed"), Heard(bob, "e2e_session_start")
    alice.send_message(mto=BOB, mbody="a\x00b")
    report = await failed.take()
    assert isinstance(report.error, UnsendableStanza)
    assert "U+0000" in str(report)
    await world.settle(alice, bob)
    assert len(offered) == 0


async def test_a_way_that_cannot_be_found_out_is_a_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks in discovery, stanzas that wait for it are reported and the next ones tried anew."""
    alice, bob = await world.pair()
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")

    async def broken(*ignored: Any) -> dict[str, bool | None]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("slixmpp_e2e.xmpp.discovery.supporting", broken)
        alice.loop.set_exception_handler(lambda loop, context: None)
        alice.send_message(mto=BOB, mbody="one")
        assert isinstance((await failed.take()).error, RouteUnknown)
    alice.send_message(mto=BOB, mbody="two")
    assert await heard.bodies(1) == ["two"]


async def test_a_peer_who_appears_while_he_is_asked_about_is_not_missed(world: World) -> None:
    """His presence comes while the answer of an older question is on its way: he is asked again."""
    alice = await world.client(ALICE)
    plain = await world.client(BOB, "xep_0030", load=False)
    await world.settle(alice, plain)

    def is_answer(stanza: Element, sender: str) -> bool:
        query = stanza.find("{http://jabber.org/protocol/disco#info}query")
        return sender == BOB and query is not None and stanza.get("type") == "result"

    hold = hostile.Hold(world.server, is_answer)
    world.server.interfere.append(hold)
    alice.send_message(mto=BOB, mbody="attack at dawn")
    await until(hold.caught())
    world.load(plain)
    await until(world.server.saw(lambda handled: all(word in handled.text for word in ("<presence", "ver=", f'from="{BOB}"'))))
    heard = Heard(plain, "message")
    hold.release()
    message = await heard.take()
    assert str(message["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("attack at dawn") == []


async def test_a_request_is_answered_when_the_handshake_fails(world: World) -> None:
    """Its sender gets an error that says so."""
    alice, _ = await world.pair()
    hold = held(world)
    answer = ask(alice, BOB)
    await until(hold.caught())
    [link] = e2e(alice).switchboard.sessions
    link.fail(PeerRefused("the end of the test"))
    with pytest.raises(IqError, match="end of the test"):
        await until(answer)


async def test_the_way_is_found_anew_after_a_session(world: World) -> None:
    """Whose presence we do not see, he may have lost encryption with his session: he is asked again."""
    world.server.set_subscription("alice@localhost", "bob@localhost", "none")
    alice, bob = await world.client(ALICE), await world.client(BOB, "xep_0030", accept_from="anyone")
    heard, failed, ended = Heard(bob, "message"), Heard(alice, "e2e_send_failed"), Heard(alice, "e2e_session_end")
    for body in ("one", "two"):
        alice.send_message(mto=BOB, mbody=body)
        assert await heard.bodies(1) == [body]
    await e2e(bob).close()
    await ended.take()
    world.unload(bob)
    alice.send_message(mto=BOB, mbody="three")
    assert isinstance((await failed.take()).error, PeerWithoutE2E)


# --- with sessions that do what the test says ------------------------------------------------------------------------


class FakeLink(Link):
    """A session of which the outbox sees no more than this."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.now_open = False
        self.room = 10
        self.took: list[str] = []

    ours = ALICE

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def is_open(self) -> bool:
        return self.now_open

    @property
    def is_writable(self) -> bool:
        return True

    def send(self, stanza: Element) -> None:
        if not self.room:
            raise NoRoom("full")
        self.room -= 1
        self.took.append(stanza.findtext("{jabber:client}body", ""))


class FakeHost:
    """Says which sessions there are, and notes what failed."""

    hold_seconds, hold_bytes = 300.0, outbox.HOLD_BYTES

    def __init__(self, *links: FakeLink) -> None:
        self.loop = asyncio.get_running_loop()
        self.links = {link.peer: link for link in links}
        self.failed: list[str] = []
        self.asked: list[str] = []

    async def find_route(self, ours: str, to: str) -> Route:
        self.asked.append(to)
        return Route(clear=False, targets=tuple((ALICE, peer) for peer in self.links))

    def link_to(self, target: Target) -> Link:
        return self.links[target[1]]

    def went(self, stanza: StanzaBase, link: Link) -> None:
        pass

    def send_clear(self, stanza: StanzaBase) -> None:
        raise AssertionError("in clear")

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        self.failed.append(f"{stanza['body']}: {error}")


def say(body: str) -> Message:
    message = Message()
    message["to"], message["body"] = "bob@localhost", body
    return message


async def test_an_answer_does_not_move_to_a_newer_session() -> None:
    """What waited for room beside it does."""
    old, new = FakeLink(BOB), FakeLink(BOB)
    old.now_open, old.room, new.now_open = True, 0, True
    host = FakeHost(old)
    box = Outbox(host)
    box.reply(say("answer"), old)
    box.send(say("message"), ALICE, "bob@localhost")
    await turns()
    host.links[BOB] = new
    box.flush(new)
    assert new.took == ["message"]
    assert [failure.partition(":")[0] for failure in host.failed] == ["answer"]


@pytest.mark.parametrize("first", [True, False], ids=["sent, then failed", "early, then failed"])
async def test_one_session_of_several_is_enough(first: bool) -> None:
    """A stanza that has gone, or may yet have gone, to one resource is not reported when another one fails."""
    one, two = FakeLink("bob@localhost/1"), FakeLink("bob@localhost/2")
    one.now_open, two.room = first, 0
    host = FakeHost(one, two)
    box = Outbox(host)
    box.send(say("hello"), ALICE, "bob@localhost")
    await turns()
    assert (one.took, two.took) == (["hello"], [])
    box.fail((ALICE, two.peer), PeerRefused("no"))
    assert host.failed == []
    one.now_open = True
    box.flush(one)
    box.lost(one, PeerRefused("no"))
    assert host.failed == []
    assert not box._held


async def test_a_stanza_that_went_early_to_one_and_nowhere_else_is_reported_once() -> None:
    """After the last of its sessions has failed, whichever that is."""
    one, two = FakeLink("bob@localhost/1"), FakeLink("bob@localhost/2")
    two.room = 0
    host = FakeHost(one, two)
    box = Outbox(host)
    box.send(say("hello"), ALICE, "bob@localhost")
    await turns()
    box.lost(one, PeerRefused("no"))
    assert host.failed == []
    box.fail((ALICE, two.peer), PeerRefused("neither"))
    assert host.failed == ["hello: neither"]
    assert not box._held


async def test_what_is_for_one_resource_is_not_sought_elsewhere() -> None:
    """Its failure is told at once; nobody is asked again where it might be."""
    for address, asked in ((BOB, 1), ("bob@localhost", 2)):
        link = FakeLink(BOB)
        link.room = 0
        host = FakeHost(link)
        box = Outbox(host)
        box.send(say("hello"), ALICE, address)
        await turns()
        box.fail((ALICE, BOB), PeerRefused("no"))
        await turns()
        assert host.failed == ["hello: no"]
        assert host.asked == [address] * asked


async def test_what_breaks_with_one_stanza_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the one with which sending in clear breaks, each is reported: none waits, and none is forgotten."""
    host = FakeHost()
    host.loop.set_exception_handler(lambda loop, context: None)

    async def clear(ours: str, to: str) -> Route:
        return Route(clear=True)

    monkeypatch.setattr(host, "find_route", clear)
    box = Outbox(host)
    for body in ("one", "two", "three"):
        box.send(say(body), ALICE, "bob@localhost")
    await turns()
    assert [failure.partition(":")[0] for failure in host.failed] == ["two", "three"]
    assert not box._held

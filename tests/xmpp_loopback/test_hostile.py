"""The ready-made attacks work on real clients."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from xmpp_loopback import LoopbackServer, hostile, parse, to_text

LogIn = Callable[..., Awaitable[ClientXMPP]]
Settle = Callable[..., Awaitable[None]]

INITIATE = (
    "<iq type='set' id='1'><jingle xmlns='urn:xmpp:jingle:1' action='{}' sid='s'><content creator='initiator' name='c'>"
    "<security xmlns='urn:x'><fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256'>AA:BB</fingerprint>"
    "</security></content></jingle></iq>"
)


def is_chat(stanza: Element, sender: str) -> bool:
    return stanza.tag.endswith("}message")


async def bodies(box: Any, count: int) -> list[str]:
    return [(await box.take())["body"] for _ in range(count)]


async def test_a_stripped_feature_is_gone_for_who_asks_and_for_who_caches(
    server: LoopbackServer, log_in: LogIn, settle: Settle
) -> None:
    """The disco#info answer lacks it, and no caps hash contradicts; other features stay."""
    server.hooks.append(hostile.strip_feature("urn:test:e2e"))
    alice = await log_in("alice@localhost/x", "xep_0030", "xep_0115")
    bob = await log_in("bob@localhost/y", "xep_0030", "xep_0115")
    for feature in ("urn:test:e2e", "urn:test:other"):
        bob.plugin["xep_0030"].add_feature(feature)
    await bob.plugin["xep_0115"].update_caps()
    await settle(bob, alice)
    answer = await alice.plugin["xep_0030"].get_info(jid="bob@localhost/y", timeout=10)
    assert "urn:test:e2e" not in answer["disco_info"]["features"]
    assert "urn:test:other" in answer["disco_info"]["features"]
    caps = [handled for handled in server.find_text(hostile.CAPS) if "<c " in handled.text]
    assert caps
    assert {handled.client for handled in caps if handled.direction.value == "sent"} == set()


def test_a_stripped_element_is_gone_at_any_depth() -> None:
    stanza = parse("<message><a xmlns='urn:a'/><b xmlns='urn:b'><a xmlns='urn:a'>x</a><c/></b><a xmlns='urn:other'/></message>")
    passed = hostile.strip_element("{urn:a}a")(stanza, "")
    assert isinstance(passed, Element)
    assert to_text(passed) == '<message><b xmlns="urn:b"><c/></b><a xmlns="urn:other"/></message>'


@pytest.mark.parametrize(("action", "swapped"), [("session-initiate", True), ("session-accept", False)])
def test_a_fingerprint_is_swapped_in_the_chosen_actions(action: str, swapped: bool) -> None:
    """One direction may be left as it is."""
    passed = hostile.swap_fingerprint("CC:DD", actions=("session-initiate",))(parse(INITIATE.format(action)), "")
    assert isinstance(passed, Element)
    assert ("CC:DD" in to_text(passed)) is swapped
    assert ("AA:BB" in to_text(passed)) is not swapped


async def test_drop_and_duplicate(server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    server.hooks.append(hostile.drop(lambda stanza, sender: "lost" in to_text(stanza)))
    server.hooks.append(hostile.duplicate(lambda stanza, sender: "twice" in to_text(stanza)))
    got = events(bob, "message")
    for body in ("lost", "twice", "once"):
        alice.send_message("bob@localhost/y", body)
    assert await bodies(got, 3) == ["twice", "twice", "once"]
    await settle(bob)
    assert got.empty


async def test_a_hook_for_one_sender_only(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    phone, desk, bob = [await log_in(jid) for jid in ("alice@localhost/p", "alice@localhost/d", "bob@localhost/y")]
    got = events(bob, "message")
    for sender, expected in (("alice@localhost/p", ["desk", "bob"]), ("alice@localhost", ["bob"])):
        server.hooks[:] = [hostile.only(sender, hostile.drop(is_chat))]
        phone.send_message("bob@localhost/y", "phone")
        desk.send_message("bob@localhost/y", "desk")
        await phone.get_roster(timeout=10)
        await desk.get_roster(timeout=10)
        bob.send_message("bob@localhost/y", "bob")
        assert await bodies(got, len(expected)) == expected


async def test_stanzas_are_held_until_released(server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    hold = hostile.Hold(server, is_chat)
    server.hooks.append(hold)
    got = events(bob, "message")
    for number in range(6):
        alice.send_message("bob@localhost/y", str(number))
    await hold.caught(6)
    await settle(alice, bob)
    assert got.empty
    hold.release(2)
    assert await bodies(got, 2) == ["0", "1"]
    hold.release(1)
    hold.release_reversed()
    assert await bodies(got, 4) == ["2", "5", "4", "3"]
    alice.send_message("bob@localhost/y", "open now")
    assert await bodies(got, 1) == ["open now"]
    hold.open = False
    alice.send_message("bob@localhost/y", "never")
    await hold.caught()
    hold.discard()
    assert len(hold) == 0


async def test_a_recorded_stanza_is_replayed_as_it_was(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    recorder = hostile.Recorder(server, is_chat)

    def censor(stanza: Element, sender: str) -> Element:
        for body in stanza.findall("{jabber:client}body"):
            body.text = "censored"
        return stanza

    server.hooks += [recorder, censor]
    got = events(bob, "message")
    for body in ("one", "two"):
        alice.send_message("bob@localhost/y", body)
    assert await bodies(got, 2) == ["censored", "censored"]
    recorder.replay()
    recorder.replay(1)
    messages = [await got.take() for _ in range(3)]
    assert [message["body"] for message in messages] == ["one", "two", "two"]
    assert {message["from"].full for message in messages} == {"alice@localhost/x"}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "HELD_LIMIT", 1)
    server = LoopbackServer()
    for hook in (hostile.Hold(server, is_chat), hostile.Recorder(server, is_chat), hostile.Delay(server)):
        hook(parse("<message to='b@x'/>"), "a@x")
        with pytest.raises(OverflowError):
            hook(parse("<message to='b@x'/>"), "a@x")


def test_one_block_of_in_band_data_is_flipped() -> None:
    flip = hostile.flip_ibb_block(1, byte=2)
    for number in range(3):
        data = base64.b64encode(b"block").decode()
        stanza = parse(f"<iq type='set' id='1'><data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='0'>{data}</data></iq>")
        passed = flip(stanza, "")
        assert isinstance(passed, Element)
        block = base64.b64decode(passed[0].text or "")
        assert block == (b"block" if number != 1 else b"blnck")


async def test_stanzas_come_in_another_order(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    server.hooks.append(hostile.reorder(lambda stanza, sender: "told" in to_text(stanza), count=3))
    got = events(bob, "message")
    for body in ("told 1", "told 2", "express", "told 3", "told 4"):
        alice.send_message("bob@localhost/y", body)
    assert await bodies(got, 4) == ["express", "told 3", "told 2", "told 1"]


async def test_any_sender_can_be_stamped(server: LoopbackServer, log_in: LogIn, events: Any) -> None:
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    server.hooks.append(hostile.where(is_chat, hostile.impersonate("carol@elsewhere.test/z")))
    got, errors = events(bob, "message"), events(alice, "message_error")
    alice.send_message("bob@localhost/y", "believe me")
    assert (await got.take())["from"].full == "carol@elsewhere.test/z"
    alice.send_message("nobody@localhost", "hello", mtype="chat")
    assert (await errors.take())["error"]["condition"] == "service-unavailable"


def test_a_stripped_attribute_is_gone() -> None:
    stanza = parse("<message id='1'><a xmlns='urn:a' x='1' y='2'><a x='3'/></a><b xmlns='urn:a' x='4'/></message>")
    hostile.strip_attribute("{urn:a}a", "x")(stanza, "")
    hostile.strip_attribute("{jabber:client}message", "id")(stanza, "")
    assert to_text(stanza) == '<message><a xmlns="urn:a" y="2"><a/></a><b xmlns="urn:a" x="4"/></message>'


async def test_delayed_stanzas_arrive_when_the_clock_says_so(
    server: LoopbackServer, log_in: LogIn, events: Any, settle: Settle
) -> None:
    """Each direction of each link has its own delay and keeps its order; servers answer at once; no real time passes."""
    alice, bob = await log_in("alice@localhost/x"), await log_in("bob@localhost/y")
    delay = hostile.Delay(server, lambda sender, to: 1.0 if sender.startswith("alice") else 2.5)
    server.hooks.append(delay)
    to_alice, to_bob = events(alice, "message"), events(bob, "message")
    bob.send_message("alice@localhost/x", "from afar")
    for body in ("one", "two"):
        alice.send_message("bob@localhost/y", body)
    await settle(alice, bob)
    assert to_alice.empty
    assert to_bob.empty
    assert len(delay) == 3
    delay.advance()
    assert await bodies(to_bob, 2) == ["one", "two"]
    assert (delay.now, len(delay), to_alice.empty) == (1.0, 1, True)
    delay.advance()
    assert await bodies(to_alice, 1) == ["from afar"]
    assert delay.now == 2.5
    with pytest.raises(IndexError):
        delay.advance()

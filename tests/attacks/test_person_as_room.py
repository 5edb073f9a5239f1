"""A person who is made to look like a room: groups are never diverted, so whoever passes for one is written to in clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError

from slixmpp_e2e.errors import PeerWithoutE2E
from tests.pair import message as core_message
from tests.slixmpp_e2e.env import ALICE, BOB, SID, Env, Events, an_offer, e2e, until
from xmpp_loopback import reconnect

SECRET = "the treasure is under the oak"
MUC = "{http://jabber.org/protocol/muc}x"


def enter(client: ClientXMPP, room: str) -> None:
    """What enters a room (XEP-0045 §7.2.2)."""
    entrance = client.make_presence(pto=room)
    entrance.xml.append(Element(MUC))
    entrance.send()


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("joined", ["directed presence", "muc plugin"])
async def test_who_accepts_an_invitation_to_a_person_keeps_him_a_person(env: Env, policy: str, joined: str) -> None:
    """A bot joins whatever room it is invited to, and the "room" is the address of a peer with whom it has sessions: what it
    writes to them still goes inside."""
    alice, bob = await env.pair(policy=policy)
    await env.session(alice, bob)
    if joined == "muc plugin":
        alice.register_plugin("xep_0045")
        alice.plugin["xep_0045"].rooms[None][JID("bob@localhost")] = {}
    else:
        enter(alice, "bob@localhost/bot")
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear(SECRET) == []
    if joined == "muc plugin":
        alice.plugin["xep_0045"].rooms.clear()


@pytest.mark.parametrize("where", ["everybody", "the domain", "the account"])
@pytest.mark.parametrize("joined", ["directed presence", "muc plugin"])
async def test_who_was_never_met_is_no_room_either(env: Env, tmp_path: Path, where: str, joined: str) -> None:
    """Where encryption is required, by whatever rule: to be invited to them, and to ask to enter, makes no room of them."""
    rules = tmp_path / "trust.toml"
    table = {"everybody": "", "the domain": '["localhost"]\npolicy = "require"\n'}
    rules.write_text(table.get(where, '["bob@localhost"]\npolicy = "require"\n'))
    policy = "require" if where == "everybody" else "prefer"
    alice = await env.client(ALICE, "xep_0045", policy=policy, trust_file=str(rules))
    bob = await env.client(BOB, load=False)
    await env.settle(alice, bob)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    if joined == "muc plugin":
        alice.plugin["xep_0045"].join_muc(JID("bob@localhost"), "bot")
    else:
        enter(alice, "bob@localhost/bot")
    await env.settle(alice, bob)
    for to in (BOB, "bob@localhost"):
        alice.send_message(mto=to, mbody=SECRET, mtype="chat")
        await failed.take()
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_control_where_asking_to_enter_is_enough(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if whoever we ask to let us in counts as a room, as once they did, a person is written to in plaintext."""
    alice, bob = await env.client(ALICE, policy="require"), await env.client(BOB, load=False)
    for evidence in ("is_required", "is_person"):
        monkeypatch.setattr(e2e(alice)._client._rooms, evidence, lambda account: False)
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    enter(alice, "bob@localhost/bot")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]


async def test_nor_does_the_room_let_his_plaintext_in(env: Env) -> None:
    """The same in the other direction: a forged message in their name is still refused."""
    alice, bob = await env.pair(policy="require")
    await env.session(alice, bob)
    enter(alice, "bob@localhost/bot")
    await env.settle(alice, bob)
    heard, refused = Events(alice, "message"), Events(alice, "e2e_plaintext_refused")
    env.server.inject(ALICE, f"<message from='{BOB}' to='{ALICE}' type='chat'><body>forged</body></message>")
    await refused.take()
    assert len(heard) == 0


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_the_answer_to_a_groupchat_message_of_a_person(env: Env, policy: str) -> None:
    """A person sends a message of type groupchat inside a session; slixmpp's reply has that type, too, and no resource. It is
    no room's: it goes inside or nowhere."""
    alice, bob = await env.pair(policy=policy)
    ours, _ = await env.session(alice, bob)
    bob.add_event_handler("message", lambda got: got.reply(SECRET).send())
    failed, heard = Events(bob, "e2e_send_failed"), Events(alice, "message")
    ours._driver.send(core_message("psst", type="groupchat"))
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert len(failed) == 0
    assert env.in_clear(SECRET) == []


async def test_a_forged_groupchat_message_gets_no_answer_in_clear(env: Env) -> None:
    """Under ``prefer`` the server forges one in the name of a peer with whom we have had a session: a bot's answer to it does
    not go in clear."""
    alice, bob = await env.pair(policy="prefer")
    await env.session(alice, bob)
    alice.add_event_handler("message", lambda got: got.reply(SECRET).send())
    env.server.inject(ALICE, f"<message from='{BOB}' to='{ALICE}' type='groupchat'><body>hi</body></message>")
    await env.settle(alice, bob)
    assert env.in_clear(SECRET) == []


async def test_a_pin_makes_a_person(env: Env) -> None:
    """Whose key was pinned is one, though there was no session yet."""
    alice, bob = await env.pair(policy="require")
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    enter(alice, "bob@localhost/bot")
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear(SECRET) == []


async def test_no_occupant_makes_a_person_of_a_room(env: Env) -> None:
    """An occupant of a room who offers a session through it gets none: it would divert the room's own messages."""
    alice = await env.client(ALICE, accept_from="anyone")
    enter(alice, "room@localhost/alice")
    jingle = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'/>"
    await env.settle(alice)
    env.server.inject(ALICE, f"<iq from='room@localhost/eve' to='{ALICE}' type='set' id='occupant'>{jingle}</iq>")
    answer = await until(env.server.wait_for(lambda stanza: stanza.direction.value == "received" and "occupant" in stanza.text))
    assert "service-unavailable" in answer.text


# --- an account that says itself that it is a room ------------------------------------------------------------------

INFO = "http://jabber.org/protocol/disco#info"
ROOM, OCCUPANT = "carol@localhost", "carol@localhost/c"
"""No contact of Alice's. In her eyes, `c` may be somebody in a room, or a device of Carol's."""


@pytest.fixture
def strangers(env: Env) -> Env:
    """Where Alice and Carol are no contacts."""
    env.server.set_subscription("alice@localhost", ROOM, "none")
    env.server.set_subscription(ROOM, "alice@localhost", "none")
    return env


def say_room(env: Env, *accounts: str) -> list[str]:
    """Let these accounts say that they are rooms; return the list of those that were asked."""
    asked: list[str] = []

    def answer(stanza: Element, sender: str) -> Element | None:
        to = stanza.get("to", "")
        if to not in accounts or stanza.get("type") != "get" or stanza.find(f"{{{INFO}}}query") is None:
            return stanza
        asked.append(to)
        info = f"<query xmlns='{INFO}'><identity category='conference' type='text'/></query>"
        env.server.inject(sender, f"<iq type='result' id='{stanza.get('id')}' from='{to}' to='{sender}'>{info}</iq>")
        return None

    env.server.hooks.append(answer)
    return asked


@pytest.mark.parametrize("known", [False, True])
async def test_a_room_that_was_entered_before_says_so_itself_and_a_known_person_cannot(strangers: Env, known: bool) -> None:
    """Without the plugin for rooms. It is the bare JID that is asked."""
    env = strangers
    alice = await env.client(ALICE, policy="require")
    if known:
        e2e(alice).set_policy(ROOM, "require")
    failed, asked = Events(alice, "e2e_send_failed"), say_room(env, ROOM)
    alice.send_message(mto=ROOM, mbody="hello, all", mtype="groupchat")
    if known:
        await failed.take()
        assert (asked, env.in_clear("hello, all")) == ([], [])
        return
    await until(env.server.wait_for(lambda handled: "hello, all" in handled.text))
    assert asked == [ROOM]
    assert e2e(alice)._client._rooms.may_be(ROOM)
    assert not e2e(alice)._client.peers.is_known_account(ROOM)
    assert len(failed) == 0


@pytest.mark.parametrize("is_room", [True, False])
async def test_a_room_that_was_entered_before_is_governed_as_ever(strangers: Env, is_room: bool) -> None:
    """To a person, the same goes nowhere that their server could read."""
    env = strangers
    alice = await env.client(ALICE, policy="require")
    say_room(env, *([ROOM] if is_room else []))
    iq = alice.make_iq_set(ito=ROOM)
    query = SubElement(iq.xml, "{http://jabber.org/protocol/muc#admin}query")
    SubElement(SubElement(query, f"{query.tag[:-5]}item", nick="eve", role="none"), f"{query.tag[:-5]}reason").text = SECRET
    answer = iq.send(timeout=20)
    if is_room:
        await until(env.server.wait_for(lambda handled: SECRET in handled.text))
        answer.cancel()
    else:
        with pytest.raises(IqError):
            await until(answer)
        assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("mtype", ["chat", "normal", "headline"])
@pytest.mark.parametrize("to", [ROOM, OCCUPANT])
async def test_a_server_that_calls_a_person_a_room_reads_nothing_that_is_for_them(strangers: Env, to: str, mtype: str) -> None:
    """Carol's server lies about her. What is not for a room fails, before and after something that is; and you are told why."""
    env = strangers
    alice = await env.client(ALICE, policy="require")
    await env.client(OCCUPANT, load=False)
    failed = Events(alice, "e2e_send_failed")
    say_room(env, ROOM)
    for _ in range(2):
        alice.send_message(mto=to, mbody=SECRET, mtype=mtype)
        alice.send_message(mto=ROOM, mbody="hello, all", mtype="groupchat")
        told = await failed.take()
        assert (told.error.reason, "says that it is a room" in str(told.error)) == ("room-not-entered", True)
        await env.settle(alice)
    assert len(env.in_clear("hello, all")) == 2
    assert env.in_clear(SECRET) == []


async def test_control_where_what_says_to_be_a_room_takes_everything(strangers: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if it is a room for everything, as once it was, a lying server reads what is for a person."""
    env = strangers
    alice, carol = await env.client(ALICE, policy="require"), await env.client(OCCUPANT, load=False)
    say_room(env, ROOM)
    rooms = e2e(alice)._client._rooms
    monkeypatch.setattr(rooms, "takes", lambda stanza, peer: rooms.may_be(peer.bare))
    heard = Events(carol, "message")
    alice.send_message(mto=OCCUPANT, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]


async def test_a_contact_is_a_person_whatever_their_server_calls_them(env: Env) -> None:
    """Though there was no session yet."""
    alice, bob = await env.pair(policy="require")
    asked, heard = say_room(env, "bob@localhost"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert (asked, env.in_clear(SECRET)) == ([], [])


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_who_is_in_a_room_that_we_did_not_see_ourselves_enter_makes_no_person_of_it(strangers: Env, policy: str) -> None:
    """Whatever they advertise: no session is opened, and nothing is stored. Under `prefer` a private message goes to them as to
    anybody in a room."""
    env = strangers
    alice = await env.client(ALICE, policy=policy)
    carol = await env.client(OCCUPANT, accept_from="anyone")
    failed, heard = Events(alice, "e2e_send_failed"), Events(carol, "message")
    say_room(env, ROOM)
    alice.send_message(mto=OCCUPANT, mbody="a word in private", mtype="chat")
    if policy == "prefer":
        assert str((await heard.take())["e2e"]["assurance"]) == "none"
    else:
        await failed.take()
    for to in (OCCUPANT, ROOM):
        with pytest.raises(PeerWithoutE2E, match=f"{ROOM} is a room"):
            await until(e2e(alice).connect(to))
    assert env.in_clear("session-initiate") == []
    assert not e2e(alice)._client.peers.is_known_account(ROOM)
    assert not list(e2e(alice)._client.registry)


def say(env: Env, sender: str, body: str, kind: str) -> None:
    env.server.inject(ALICE, f"<message from='{sender}' to='{ALICE}' type='{kind}'><body>{body}</body></message>")


async def test_what_comes_from_a_room_that_was_entered_before_is_delivered(strangers: Env) -> None:
    """Before the program has written to it. In order; private messages are refused, as the server could forge them."""
    env = strangers
    alice = await env.client(ALICE, policy="require")
    asked, heard, refused = say_room(env, ROOM), Events(alice, "message"), Events(alice, "e2e_plaintext_refused")
    for body in ("one", "two"):
        say(env, OCCUPANT, body, "groupchat")
    say(env, OCCUPANT, "forged", "chat")
    assert (await refused.take()).stanza["body"] == "forged"
    say(env, ROOM, "three", "groupchat")
    messages = [await heard.take() for _ in range(3)]
    assert [(each["body"], str(each["e2e"]["assurance"])) for each in messages] == [
        (body, "none") for body in ("one", "two", "three")
    ]
    assert asked == [ROOM]
    assert (len(refused), len(heard)) == (0, 0)
    assert not e2e(alice)._client.peers.is_known_account(ROOM)


@pytest.mark.parametrize("who", ["no room", "a contact", "a server that is trusted with nothing"])
async def test_what_comes_from_anybody_else_is_refused_and_told(strangers: Env, who: str) -> None:
    env = strangers
    trusted = {} if who != "a server that is trusted with nothing" else {"trust_model": "server-untrusted"}
    alice = await env.client(ALICE, policy="require", **trusted)
    account = "bob@localhost" if who == "a contact" else ROOM
    asked = say_room(env, *(() if who == "no room" else (account,)))
    heard, refused = Events(alice, "message"), Events(alice, "e2e_plaintext_refused")
    say(env, f"{account}/x", "forged", "groupchat")
    assert (await refused.take()).stanza["body"] == "forged"
    assert (asked, len(heard)) == ([], 0)


async def test_strangers_cannot_make_us_ask_without_end(env: Env) -> None:
    """A server makes up as many accounts as it likes. What is not held is refused, and told."""
    alice = await env.client(ALICE, policy="require")
    refused = Events(alice, "e2e_plaintext_refused")
    for number in range(200):
        say(env, f"{number}@evil.test/x", "hello", "groupchat")
    for _ in range(200):
        await refused.take()
    asked = [text for text in env.in_clear(INFO) if "@evil.test" in text and 'type="get"' in text]
    assert 0 < len(asked) <= 64 + 10  # a burst, and what the time that has passed allows


async def test_what_waits_for_the_word_of_a_room_is_refused_and_told_when_the_plugin_goes(strangers: Env) -> None:
    env = strangers
    alice = await env.client(ALICE, policy="require")
    heard, refused = Events(alice, "message"), Events(alice, "e2e_plaintext_refused")
    asked = env.hold(lambda stanza, sender: stanza.get("to") == ROOM)
    say(env, OCCUPANT, "hello, all", "groupchat")
    await until(asked.caught())
    assert len(refused) == 0
    env.unload(alice)
    assert (await refused.take()).stanza["body"] == "hello, all"
    assert len(heard) == 0


async def entered_before(env: Env, **config: Any) -> ClientXMPP:
    """Alice, to whom a room has said that it is one."""
    alice = await env.client(ALICE, policy="require", **config)
    say_room(env, ROOM)
    heard = Events(alice, "message")
    say(env, OCCUPANT, "hello, all", "groupchat")
    assert await heard.bodies(1) == ["hello, all"]
    return alice


async def test_nobody_in_such_a_room_opens_a_session_or_is_kept(strangers: Env) -> None:
    env = strangers
    alice = await entered_before(env, accept_from="anyone")
    offer = await an_offer(env)
    online = Events(alice, "presence_available")
    env.server.inject(ALICE, f"<presence from='{OCCUPANT}' to='{ALICE}'/>")
    while (await online.take())["from"].full != OCCUPANT:
        pass
    assert not await e2e(alice)._client._presence.online("alice@localhost", ROOM)
    env.server.inject(ALICE, f"<iq from='{OCCUPANT}' to='{ALICE}' type='set' id='occupant'>{offer.replace(SID, 'new')}</iq>")
    answer = await until(env.server.wait_for(lambda stanza: stanza.direction.value == "received" and "occupant" in stanza.text))
    assert "service-unavailable" in answer.text


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("is_room", [True, False])
async def test_whoever_offers_a_session_from_a_room_unseen_until_then_makes_no_person_of_it(
    strangers: Env, policy: str, is_room: bool
) -> None:
    """The room is asked before the offer is accepted."""
    env = strangers
    alice = await env.client(ALICE, policy=policy, accept_from="anyone")
    carol = await env.client(OCCUPANT)
    say_room(env, *([ROOM] if is_room else []))
    failed, heard = Events(carol, "e2e_send_failed"), Events(alice, "message")
    carol.send_message(mto=ALICE, mbody="a word in private", mtype="chat")
    if is_room:
        assert "decline" in str((await failed.take()).error)
    else:
        assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert e2e(alice)._client.peers.is_known_account(ROOM) is not is_room


async def test_in_the_next_stream_it_is_asked_again(strangers: Env) -> None:
    env = strangers
    alice = await entered_before(env)
    ended = Events(alice, "disconnected")
    env.server.disconnect(ALICE)
    await ended.take()
    await reconnect(alice, env.server)
    assert not e2e(alice)._client._rooms.may_be(ROOM)

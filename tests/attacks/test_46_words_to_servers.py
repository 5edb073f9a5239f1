"""Words that are for a person, sent to where a server or a room must read them: under ``require`` they do not leave."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.messages import outgoing
from slixmpp_e2e.messages.clear import IN_PRESENCE, SERVER_ANSWERS
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from tests.slixmpp_e2e.messages.stanzas import BODY, DISCO, MUC, VERSION, stanza

BARE, ROOM = "bob@localhost", "room@rooms.example"
WORD = "oak"
OOB = "<query xmlns='jabber:iq:oob'><url>https://oak.example/</url></query>"
FORM = "<x xmlns='jabber:x:data' type='submit'><field var='a'><value>oak</value></field></x>"
COMMAND = f"<command xmlns='http://jabber.org/protocol/commands' node='n' action='execute'>{FORM}</command>"
PUBLISH = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item><a>oak</a></item></publish></pubsub>"
STATUS = "<status>oak</status>"
NICK = "<nick xmlns='http://jabber.org/protocol/nick'>oak</nick>"
DISCO_AND = "<query xmlns='http://jabber.org/protocol/disco#info'><a>oak</a></query>"
SUBSCRIPTIONS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe")


def invite(name: str = "invite", way: str = "to", who: str = BARE) -> str:
    extension = f"<{name} {way}='{who}'><reason>oak</reason></{name}>"
    return f"<x xmlns='http://jabber.org/protocol/muc#user'>{extension}</x>"


DIRECT = f"<x xmlns='jabber:x:conference' jid='{ROOM}' reason='oak'/>"
MULTICAST = f"<addresses xmlns='http://jabber.org/protocol/address'><address type='bcc' jid='{BOB}'/></addresses>"
QUERIES = (OOB, COMMAND, PUBLISH, VERSION, DISCO_AND)
WORDS = [
    *((stanza("iq", kind, payload), BARE) for kind in ("get", "set") for payload in QUERIES),
    (stanza("iq", "get", DISCO, OOB), BARE),
    *((stanza("iq", kind, OOB, id="x"), BARE) for kind in ("result", "error")),
    *((stanza("presence", kind, words), to) for kind in SUBSCRIPTIONS for words in (STATUS, NICK) for to in (BARE, BOB)),
    *((stanza("presence", "", MUC, STATUS), to) for to in (BARE, BOB)),
    *((stanza("message", "", invite(name)), ROOM) for name in ("invite", "decline")),
    (stanza("message", "", invite(who="no@@jid")), ROOM),
    (stanza("message", "", MULTICAST, "<body>oak</body>"), "multicast.example"),
]


def addressed(client: ClientXMPP, sent: Any, to: str) -> Any:
    written = type(sent)(client, xml=fromstring(str(sent)))
    written["to"] = to
    return written


async def alice_in_a_room(env: Env, **settings: Any) -> ClientXMPP:
    alice = await env.client(ALICE, "xep_0030", **settings)
    stanza_to_room = alice.make_presence(pto=f"{ROOM}/alice")
    stanza_to_room.xml.append(fromstring(MUC))
    stanza_to_room.send()
    await env.settle(alice)
    own = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>"
    env.server.inject(ALICE, f"<presence from='{ROOM}/alice' to='{ALICE}'>{own}</presence>")
    await env.settle(alice)
    return alice


@pytest.mark.parametrize(("sent", "to"), WORDS)
async def test_words_for_a_person_do_not_leave_by_way_of_a_server(env: Env, sent: Any, to: str) -> None:
    alice = await alice_in_a_room(env, policy="require")
    failed = Events(alice, "e2e_send_failed")
    alice.send(addressed(alice, sent, to))
    report = await failed.take()
    assert report.stanza["to"].full == to
    if to in (BARE, ROOM) and sent["type"] in (*SUBSCRIPTIONS, "get", "set"):
        assert isinstance(report.error, NotSent)
        assert report.error.reason is NotSentReason.SERVER_WOULD_READ
    await env.settle(alice)
    assert env.in_clear(WORD, "jabber:iq:version") == []


async def test_who_asks_so_gets_an_error(env: Env) -> None:
    alice = await env.client(ALICE, policy="require")
    asked = alice.make_iq_get(ito=BARE)
    asked.xml.append(fromstring(VERSION))
    with pytest.raises(Exception, match="service-unavailable"):
        await until(asked.send())


async def test_control_without_the_rule_they_leave(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await alice_in_a_room(env, policy="require")
    monkeypatch.setattr(outgoing.OutgoingFilter, "_may_stay_outside", lambda *args: True)
    alice.send(addressed(alice, stanza("presence", "subscribe", STATUS), BARE))
    await env.settle(alice)
    assert env.in_clear(WORD) != []


def documented(first_column: str) -> list[str]:
    table = Path("docs/threats.md").read_text().partition("### To a bare JID under `require`")[2].partition("###")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines() if row.startswith("| ")]
    found, kind = [], ""
    for what, holds in rows:
        kind = what or kind
        if kind.startswith(first_column):
            found += re.findall(r"^`([^`]+)`", holds)
    return found


QUESTIONS, IN_PRESENCES = documented("a question"), documented("presence")


def element(tag: str, text: str = "") -> str:
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    return f"<{name} xmlns='{namespace or 'jabber:client'}'>{text}</{name}>"


def test_the_documents_name_what_may_go() -> None:
    assert (frozenset(QUESTIONS), frozenset(IN_PRESENCES)) == (SERVER_ANSWERS, IN_PRESENCE)


@pytest.mark.parametrize("tag", QUESTIONS)
async def test_each_question_on_the_list_goes_to_the_server_as_a_question_without_words(env: Env, tag: str) -> None:
    alice = await env.client(ALICE, policy="require")
    failed = Events(alice, "e2e_send_failed")
    cases = [("get", ""), ("set", ""), ("get", WORD), ("get", element("{urn:x}y", WORD))]
    for number, (kind, text) in enumerate(cases):
        alice.send(addressed(alice, stanza("iq", kind, element(tag, text), id=f"case{number}"), BARE))
    alice.send(addressed(alice, stanza("iq", "get", element(tag), BODY, id="case4"), BARE))
    await env.settle(alice)
    assert [report.stanza["id"] for report in [await failed.take() for _ in range(4)]] == ["case1", "case2", "case3", "case4"]
    assert [env.in_clear(f'"case{number}"') != [] for number in range(5)] == [True, False, False, False, False]


@pytest.mark.parametrize("kind", SUBSCRIPTIONS)
async def test_presence_holds_what_is_on_the_list(env: Env, kind: str) -> None:
    alice = await env.client(ALICE, policy="require")
    failed = Events(alice, "e2e_send_failed")
    alice.send(addressed(alice, stanza("presence", kind, *map(element, IN_PRESENCES), id="case0"), BARE))
    await env.settle(alice)
    assert len(failed) == 0
    assert env.in_clear('"case0"') != []


async def test_what_is_for_our_own_server_goes_there(env: Env) -> None:
    alice = await env.client(ALICE, policy="require")
    failed = Events(alice, "e2e_send_failed")
    for number, to in enumerate(("", ALICE.partition("/")[0])):
        alice.send(addressed(alice, stanza("iq", "set", PUBLISH, id=f"case{number}"), to))
    await env.settle(alice)
    assert len(failed) == 0
    assert [env.in_clear(f'"case{number}"') != [] for number in range(2)] == [True, True]


@pytest.mark.parametrize("policy", ["prefer", "off"])
@pytest.mark.parametrize("to", [ROOM, "carol@localhost/c"])
async def test_nobody_passes_on_in_plaintext_what_is_for_a_person(env: Env, policy: str, to: str) -> None:
    """Whoever they are, whether or not we are in that room, and however the way to them is found."""
    alice = await env.client(ALICE, policy=policy)
    e2e(alice).set_policy(BARE, "require")
    failed = Events(alice, "e2e_send_failed")
    await env.client("carol@localhost/c", load=False)
    for _ in range(2):  # the second time the way is known
        alice.send(addressed(alice, stanza("message", "", BODY), to))
        alice.send(addressed(alice, stanza("message", "", invite()), to))
        error = (await failed.take()).error
        assert isinstance(error, NotSent)
        assert error.reason is NotSentReason.SERVER_WOULD_READ
    await env.settle(alice)
    assert (len(failed), env.in_clear(WORD)) == (0, [])


async def test_a_refused_invitation_is_told_as_one(env: Env) -> None:
    alice = await alice_in_a_room(env)
    e2e(alice).set_policy(BARE, "require")
    refused = Events(alice, "e2e_plaintext_refused")
    env.server.inject(ALICE, f"<message from='{ROOM}' to='{ALICE}'>{invite(way='from', who=BOB)}</message>")
    assert f"{ROOM} passed on in plaintext what {BOB} is said to write" in str((await refused.take()).error)


# --- invitations -------------------------------------------------------------------------------------------------------


async def test_a_direct_invitation_goes_and_comes_through_the_session_alone(env: Env) -> None:
    alice, bob = await env.pair(policy="require")
    await env.session(alice, bob)
    heard, refused = Events(bob, "message"), Events(bob, "e2e_plaintext_refused")
    alice.send(addressed(alice, stanza("message", "", DIRECT, BODY), BOB))
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("jabber:x:conference") == []
    env.server.inject(BOB, f"<message from='{ALICE}' to='{BOB}'>{DIRECT}</message>")
    assert (await refused.take()).stanza["from"].full == ALICE


INVITED = [
    # policy for everybody, for Bob, whether the room has let us in
    ("require", "", False, False),
    ("require", "", True, False),
    ("prefer", "require", True, False),
    ("prefer", "require", False, False),
    ("prefer", "", True, True),
    ("prefer", "", False, True),
    ("require", "prefer", True, True),
    ("require", "prefer", False, False),
]


@pytest.mark.parametrize(("everybody", "bob", "entered", "delivered"), INVITED)
async def test_a_mediated_invitation_is_judged_by_the_room_and_by_who_invites(
    env: Env, everybody: str, bob: str, entered: bool, delivered: bool
) -> None:
    alice = await (alice_in_a_room(env, policy=everybody) if entered else env.client(ALICE, policy=everybody))
    if bob:
        e2e(alice).set_policy(BARE, bob)
    refused, taken = Events(alice, "e2e_plaintext_refused"), set()

    def tap(came: Any) -> Any:
        taken.add(came["id"])
        return came

    alice.add_filter("in", tap)
    env.server.inject(ALICE, f"<message id='invited' from='{ROOM}' to='{ALICE}'>{invite(way='from', who=BOB)}</message>")
    await env.settle(alice)
    assert ("invited" in taken, len(refused)) == (delivered, 0 if delivered else 1)


async def test_nobody_brings_an_invitation_of_another_inside_a_session(env: Env) -> None:
    alice, bob = await env.pair()
    e2e(bob).set_policy("carol@localhost", "require")
    await env.session(alice, bob)
    heard = Events(bob, "message")
    alice.send(addressed(alice, stanza("message", "", invite(way="from", who="carol@localhost"), BODY), BOB))
    alice.send_message(mto=BOB, mbody="the next")
    assert await heard.bodies(1) == ["the next"]

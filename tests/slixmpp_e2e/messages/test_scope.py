"""What goes inside sessions, what always stays outside, and which plaintext is always delivered."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import SubElement, fromstring, tostring

import pytest
from slixmpp import JID, ClientXMPP

from slixmpp_e2e.messages import rooms as rooms_module
from slixmpp_e2e.messages.own_addresses import OwnAddresses
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.messages.scope import carbon_contents, is_carbon, never_encrypted, plaintext_always_allowed
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.messages.stanzas import BODY, DELAY, DISCO, EVENT, MUC, VERSION, carbon, copied, offline_client, stanza
from xmpp_loopback import HandledStanza

ME, BARE, ROOM = "alice@localhost", "bob@localhost", "room@localhost/bob"
FRIEND = "friend@localhost"
"""A person, whatever room they pretend to be."""
BESIDE = (
    DELAY,
    "<addresses xmlns='http://jabber.org/protocol/address'/>",
    "<headers xmlns='http://jabber.org/protocol/shim'/>",
)
RESULT = "<result xmlns='urn:xmpp:mam:2'/>"
RECEIVED, SENT = "<received xmlns='urn:xmpp:carbons:2'/>", "<sent xmlns='urn:xmpp:carbons:2'/>"


def rooms(*joined: str, required: bool = False) -> MucRooms:
    """``joined``: by slixmpp's plugin for rooms, whose shape a test below compares."""
    names = [JID(name) for name in joined]
    muc = SimpleNamespace(
        rooms={None: {name: {"alice": {}} for name in names}}, our_nicks={None: dict.fromkeys(names, "alice")}
    )
    client: Any = SimpleNamespace(plugin={"xep_0045": muc} if joined else {}, is_component=False)
    known = MucRooms(client, lambda account: account == FRIEND, lambda account: required, lambda account: True)
    for address in (ROOM, f"{FRIEND}/x"):
        known.note_entry(stanza("presence", "", MUC, to=address))
    return known


def test_a_room_is_what_we_have_entered_by_presence_or_by_the_plugin_for_rooms() -> None:
    known = rooms("other@localhost", FRIEND)
    known.note_entry(stanza("presence", to=BOB))
    expected = {"other@localhost": True, "room@localhost": True, BARE: False, FRIEND: False}
    assert {account: account in known for account in expected} == expected
    assert "room@localhost" in rooms()
    assert "other@localhost" not in rooms()


USER = "<x xmlns='http://jabber.org/protocol/muc#user'>{}</x>"
SELF = USER.format("<status code='110'/>")


@pytest.mark.parametrize(
    ("sender", "payload", "entered"),
    [
        (ROOM, USER.format("<item role='participant'/>"), True),
        ("room@localhost/renamed", SELF, True),
        ("room@localhost/renamed", USER.format("<item role='participant'/>"), False),
        (ROOM, "", False),
        ("person@localhost/x", SELF, False),
    ],
)
def test_where_encryption_is_required_a_room_must_have_let_us_in(sender: str, payload: str, entered: bool) -> None:
    """Our own presence comes back from it. What we have not asked to enter is no room."""
    known = rooms(required=True)
    assert "room@localhost" not in known
    known.note_presence(stanza("presence", "", payload, sender=sender))
    assert ("room@localhost" in known, "person@localhost" in known) == (entered, False)
    known.note_presence(stanza("presence", "unavailable", payload, sender=sender))
    assert "room@localhost" not in known


def test_the_rooms_that_we_have_asked_to_enter_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "ROOMS", 2)
    known = rooms()
    for name in ("a", "b", "c"):
        known.note_entry(stanza("presence", "", MUC, to=f"{name}@localhost/x"))
    assert [f"{name}@localhost" in known for name in ("a", "b", "c")] == [False, True, True]


@pytest.mark.parametrize("loaded", ["first", "last"])
async def test_the_plugin_for_rooms_knows_them(env: Env, loaded: str) -> None:
    """slixmpp's own, as it is installed: of a room that was entered before this plugin was loaded, too."""
    alice = await env.client(ALICE, "xep_0045", load=False)
    muc: Any = alice.plugin["xep_0045"]
    if loaded == "first":
        env.load(alice, policy="require")
    known_to_slixmpp = Events(alice, "muc::room@localhost::presence")
    joining = asyncio.ensure_future(muc.join_muc_wait(JID("room@localhost"), "alice"))
    await turns()
    if loaded == "first":
        assert "room@localhost" not in e2e(alice)._client._rooms
    env.server.inject(ALICE, f"<presence from='room@localhost/alice' to='{ALICE}'>{SELF}</presence>")
    await known_to_slixmpp.take()
    joining.cancel()
    if loaded == "last":
        env.load(alice, policy="require")
    known = e2e(alice)._client._rooms
    assert ("room@localhost" in known, "other@localhost" in known) == (True, False)


OUT = [
    *((stanza("message", kind, BODY), BOB, False) for kind in ("", "chat", "headline", "error")),
    *((stanza("message", kind), BARE, False) for kind in ("chat", "headline")),
    (stanza("message", "groupchat"), BOB, True),
    (stanza("message", "groupchat"), FRIEND, False),
    *((stanza("message", "chat"), to, True) for to in ("localhost", "localhost/x", ROOM)),
    *((stanza("presence", kind), to, False) for kind in ("", "unavailable") for to in (BOB, BARE)),
    *((stanza("presence", kind), BARE, True) for kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe")),
    (stanza("presence", "", MUC), BOB, True),
    *((stanza("presence"), to, True) for to in (ROOM, "")),
    *((stanza("iq", kind, VERSION), BOB, False) for kind in ("get", "set")),
    (stanza("iq", "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>"), BOB, False),
    *((stanza("iq", "get", VERSION), to, True) for to in (BARE, ME, ROOM, "localhost", "")),
    *((stanza("iq", kind, DISCO), BOB, True) for kind in ("get", "result")),
]


@pytest.mark.parametrize(("sent", "to", "outside"), OUT)
def test_what_is_for_people_goes_inside_and_what_servers_must_read_does_not(sent: Any, to: str, outside: bool) -> None:
    assert never_encrypted(sent, JID(to), rooms()) is outside


async def test_a_component_tells_each_contact_of_its_presence_in_plaintext() -> None:
    ours = rooms()
    ours.own = OwnAddresses(offline_client(component=True))
    assert never_encrypted(stanza("presence"), JID(BOB), ours)
    assert not never_encrypted(stanza("message"), JID(BOB), ours)


IN = [
    *((stanza("message", "chat", BODY), sender, True) for sender in ("localhost", ROOM)),
    *((stanza("message", kind, BODY), BOB, False) for kind in ("", "chat", "groupchat", "headline")),
    (stanza("message", "", BODY), BARE, False),
    *((stanza("iq", kind, VERSION), BOB, True) for kind in ("result", "error")),
    *((stanza("iq", kind, VERSION), BOB, False) for kind in ("get", "set")),
    (stanza("iq", "set", VERSION), ME, True),
    (stanza("iq", "set", VERSION), f"{ME}/x", False),
    (stanza("iq", "get", DISCO), BOB, True),
    (stanza("iq", "set", DISCO), BOB, False),
    (stanza("iq", "get", DISCO, VERSION), BOB, False),
    (stanza("iq", "get", EVENT), BARE, False),
    (stanza("message", "", RESULT), ME, True),
    (stanza("message", "", RESULT, BODY), ME, False),
    *((stanza("message", "", RESULT), sender, False) for sender in (BARE, f"{ME}/x")),
    (stanza("message", "", EVENT), BARE, True),
    *((stanza("message", "", EVENT, beside), BARE, True) for beside in BESIDE),
    *((stanza("message", "", beside), BARE, False) for beside in BESIDE),
    (stanza("message", "", EVENT), BOB, False),
    (stanza("message", "", EVENT, EVENT), BARE, False),
    (stanza("message", "", EVENT, BODY), BARE, False),
]


@pytest.mark.parametrize(("came", "sender", "delivered"), IN)
def test_which_plaintext_is_always_delivered(came: Any, sender: str, delivered: bool) -> None:
    assert plaintext_always_allowed(came, JID(sender), rooms(), ME) is delivered


def test_a_carbon_is_one_copy_and_nothing_else() -> None:
    children = ((RECEIVED,), (SENT,), (), (RECEIVED, SENT), (SENT, BODY))
    assert [is_carbon(stanza("message", "", *each).xml) for each in children] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("wrapper", "sender", "to", "others"),
    [
        ("received", BOB, f"{ME}/a", [BOB]),
        ("sent", f"{ME}/a", BARE, [BARE]),
        ("sent", "", BARE, [BARE]),
        ("received", BOB, "carol@localhost", [BOB, "carol@localhost"]),
        ("sent", f"{ME}/a", f"{ME}/b", [ME]),
        ("result", BOB, f"{ME}/a", []),
    ],
)
def test_a_copy_belongs_to_whoever_is_not_us(wrapper: str, sender: str, to: str, others: list[str]) -> None:
    """If all are us: to our own account. Only carbons bring copies."""
    found = list(carbon_contents(stanza("message", "", carbon(wrapper, copied(sender, to))).xml, ME))
    assert [other.full for _, other in found] == others
    assert all(copy["body"] == "x" for copy, _ in found)


WORD = "urn:example:word"


def marked(client: ClientXMPP, sent: Any, to: str, number: int) -> Any:
    copied = type(sent)(client, xml=fromstring(tostring(sent.xml)))
    if to:
        copied["to"] = to
    copied["id"] = f"case{number}"
    SubElement(copied.xml, f"{{{WORD}}}marked", n=str(number))
    return copied


def numbered(client: ClientXMPP, sent: Any, to: str, number: int) -> Any:
    """With nothing inside that it would not hold by itself."""
    copied = marked(client, sent, to, number)
    copied.xml.remove(copied.xml[-1])
    return copied


def _mentions(number: int, handled: HandledStanza) -> bool:
    return f'id="case{number}"' in handled.text


async def test_the_server_sees_nothing_of_what_is_for_a_person(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    cases = [marked(alice, sent, to, n) for n, (sent, to, outside) in enumerate(OUT) if not outside and to in (BOB, BARE)]
    taken: dict[str, Any] = {}
    all_came = asyncio.Event()

    def tap(came: Any) -> Any:
        first = taken.setdefault(came["id"], came)
        if taken.keys() >= {each["id"] for each in cases}:
            all_came.set()
        return first

    bob.add_filter("in", tap)
    for each in cases:
        alice.send(each)
    await until(all_came.wait())
    for each in cases:
        got = taken[each["id"]]
        assert (str(got["e2e"]["assurance"]), got["from"].full, got["type"]) == ("vouched", ALICE, each["type"])
        assert got.xml.find(f"{{{WORD}}}marked") is not None
    assert env.in_clear(WORD) == []


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_what_must_be_seen_by_servers_stays_outside_under_every_policy(env: Env, policy: str) -> None:
    alice, bob = await env.pair(policy=policy)
    await env.session(alice, bob)
    failed = Events(alice, "e2e_send_failed")
    numbered(alice, stanza("presence", "", MUC), ROOM, 0).send()
    await until(env.server.wait_for(partial(_mentions, 0)))
    env.server.inject(ALICE, f"<presence from='{ROOM}' to='{ALICE}'>{SELF}</presence>")
    await env.settle(alice)
    # nothing was asked that could be answered; and Bob is known as a person here, to whom a type makes no difference
    elsewhere = [(sent, to) for sent, to, outside in OUT if outside and sent["type"] not in ("result", "groupchat")]
    elsewhere = [(sent, to) for sent, to in elsewhere if sent.name != "iq" or to != BARE]  # test_46_words_to_servers.py
    for number, (sent, to) in enumerate([*elsewhere, (stanza("message", "groupchat"), "room@localhost")], 1):
        alice.send(numbered(alice, sent, to, number))
        await until(env.server.wait_for(partial(_mentions, number)))
    assert len(failed) == 0


async def test_a_headline_is_encrypted_and_goes_to_all_devices(env: Env) -> None:
    """As a server delivers headlines to all resources (RFC 6121 §8.5.2.1.1); to a full JID it goes to that device alone."""
    alice, bob = await env.pair(policy="require")
    other = await env.client("bob@localhost/other", policy="require")
    await env.settle(alice, bob, other)
    heard = [Events(client, "message") for client in (bob, other)]
    alice.send_message(mto=BARE, mbody="the castle is taken", mtype="headline")
    for each in heard:
        message = await each.take()
        assert (message["body"], message["type"]) == ("the castle is taken", "headline")
        assert str(message["e2e"]["assurance"]) == "vouched"
    alice.send_message(mto=BOB, mbody="and so is the town", mtype="headline")
    assert await heard[0].bodies(1) == ["and so is the town"]
    await env.settle(alice, bob, other)
    assert [len(each) for each in heard] == [0, 0]
    assert env.in_clear("the castle is taken", "and so is the town") == []

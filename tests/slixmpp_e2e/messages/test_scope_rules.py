"""The rules of what stays outside, each by itself: stanzas in, verdicts out, no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import JID, Iq, Message, Presence

from slixmpp_e2e.messages.scope import Rooms, copies, is_carbon, may_come_outside, stays_outside

ME, BOB, BARE, ROOM = "alice@localhost", "bob@localhost/b", "bob@localhost", "room@localhost/bob"
FRIEND = "friend@localhost"
"""A person, whatever room he pretends to be."""
KINDS: dict[str, Any] = {"message": Message, "iq": Iq, "presence": Presence}

MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
VERSION = "<query xmlns='jabber:iq:version'/>"
BODY = "<body>x</body>"
EVENT = "<event xmlns='http://jabber.org/protocol/pubsub#event'/>"
BESIDE = (
    "<delay xmlns='urn:xmpp:delay'/>",
    "<addresses xmlns='http://jabber.org/protocol/address'/>",
    "<headers xmlns='http://jabber.org/protocol/shim'/>",
)
RESULT = "<result xmlns='urn:xmpp:mam:2'/>"
RECEIVED, SENT = "<received xmlns='urn:xmpp:carbons:2'/>", "<sent xmlns='urn:xmpp:carbons:2'/>"


def stanza(name: str, kind: str = "", *children: str) -> Any:
    """A stanza of this name and type."""
    attribute = f" type='{kind}'" if kind else ""
    return KINDS[name](xml=fromstring(f"<{name} xmlns='jabber:client'{attribute}>{''.join(children)}</{name}>"))


def rooms(*joined: str) -> Rooms:
    """The rooms of somebody who has joined these by slixmpp's plugin, and has entered two by presence."""
    client: Any = SimpleNamespace(plugin={"xep_0045": SimpleNamespace(rooms=set(joined))} if joined else {})
    known = Rooms(client, lambda bare: bare == FRIEND)
    for address in (ROOM, f"{FRIEND}/x"):
        entrance = stanza("presence", "", MUC)
        entrance["to"] = address
        known.notice(entrance)
    return known


def test_only_the_presence_that_enters_makes_a_room() -> None:
    """Not another stanza with the same child, and not another presence."""
    known = rooms()
    for notice in (stanza("message", "", MUC), stanza("presence")):
        notice["to"] = BOB
        known.notice(notice)
    assert ("room@localhost" in known, BARE in known, FRIEND in known) == (True, False, False)


def test_what_the_muc_plugin_has_joined_is_a_room() -> None:
    """And nothing else is, though the plugin is there; nor is a person."""
    known = rooms("other@localhost", FRIEND)
    assert [each in known for each in ("other@localhost", "room@localhost", BARE, FRIEND)] == [True, True, False, False]


OUT = [
    *((stanza("message", kind, BODY), BOB, False) for kind in ("", "chat", "headline", "error")),
    (stanza("message", "chat"), BARE, False),
    (stanza("message", "groupchat"), BOB, True),
    (stanza("message", "groupchat"), FRIEND, False),
    *((stanza("message", "chat"), to, True) for to in ("localhost", "localhost/x", ROOM)),
    *((stanza("presence", kind), BOB, False) for kind in ("", "unavailable")),
    *((stanza("presence", kind), BARE, True) for kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe")),
    (stanza("presence", "", MUC), BOB, True),
    (stanza("iq", "get", VERSION), BOB, False),
    (stanza("iq", "get", VERSION), BARE, True),
    (stanza("iq", "get", DISCO), BOB, True),
    (stanza("iq", "result", DISCO), BOB, True),
    (stanza("iq", "get", VERSION), ROOM, True),
]


@pytest.mark.parametrize(("sent", "to", "outside"), OUT)
def test_what_we_send(sent: Any, to: str, outside: bool) -> None:
    """To people it goes inside; to servers and rooms, and what servers must read, it does not."""
    assert stays_outside(sent, JID(to), rooms()) is outside


def test_a_component_tells_each_contact_of_its_presence_itself() -> None:
    """No server would do it for it; only presence is meant."""
    assert stays_outside(stanza("presence"), JID(BOB), rooms(), component=True)
    assert not stays_outside(stanza("message"), JID(BOB), rooms(), component=True)


IN = [
    *((stanza("message", "chat", BODY), sender, True) for sender in ("localhost", ROOM)),
    *((stanza("message", kind, BODY), BOB, False) for kind in ("", "chat", "groupchat")),
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
def test_what_comes_in_clear(came: Any, sender: str, delivered: bool) -> None:
    """Of people only replies and disco#info; of services, what can only be theirs and holds nothing else."""
    assert may_come_outside(came, JID(sender), rooms(), ME) is delivered


def test_a_carbon_is_nothing_else() -> None:
    """One copy, and no child beside it."""
    children = ((RECEIVED,), (SENT,), (), (RECEIVED, SENT), (SENT, BODY))
    verdicts = [is_carbon(stanza("message", "", *each).xml) for each in children]
    assert verdicts == [True, True, False, False, False]


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
def test_a_copy_is_of_whoever_is_not_us(wrapper: str, sender: str, to: str, others: list[str]) -> None:
    """If all are: our own account. Only carbons bring copies."""
    inner = f"<message xmlns='jabber:client' from='{sender}' to='{to}'>{BODY}</message>"
    carbon = f"<{wrapper} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></{wrapper}>"
    found = list(copies(stanza("message", "", carbon).xml, ME))
    assert [other.full for _, other in found] == others
    assert all(copy["body"] == "x" for copy, _ in found)

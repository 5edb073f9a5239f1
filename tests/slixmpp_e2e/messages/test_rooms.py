"""What goes to and comes from an account that says it is a room: only what rooms alone take and send."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import JID

from slixmpp_e2e.messages import rooms as rooms_module
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.xmpp import discovery
from tests.slixmpp_e2e.env import ALICE
from tests.slixmpp_e2e.messages.stanzas import BODY, DISCO, MUC, VERSION, stanza

ROOM = "room@localhost"
OCCUPANT = f"{ROOM}/bob"
INVITE = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='carol@localhost'><reason>join us</reason></invite></x>"
STATUS = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>"


def form(of: str, kind: str = "submit") -> str:
    field = f"<field var='FORM_TYPE'><value>{of}</value></field>"
    return f"<x xmlns='jabber:x:data' type='{kind}'>{field}<field var='muc#role'><value>participant</value></field></x>"


VOICE, COMMAND = form("http://jabber.org/protocol/muc#request"), form("http://jabber.org/protocol/commands")
ADMIN = "<query xmlns='http://jabber.org/protocol/muc#admin'><item nick='eve' role='none'><reason>rude</reason></item></query>"
ARCHIVE = "<query xmlns='urn:xmpp:mam:2'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"


class Around:
    """What is known of accounts, all under one policy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.people: set[str] = set()
        self.is_required = self.believes_server = self.answer = True
        self.asked: list[tuple[str, str]] = []
        client: Any = SimpleNamespace(plugin={}, is_component=False)
        self.rooms = MucRooms(
            client, self.people.__contains__, lambda account: self.is_required, lambda account: self.believes_server
        )
        monkeypatch.setattr(discovery, "is_room", self._is_room)

    async def _is_room(self, xmpp: Any, own_jid: JID, account: JID) -> bool:
        self.asked.append((own_jid.full, account.full))
        return self.answer


@pytest.fixture
async def around(monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(monkeypatch)


TAKES = [
    (stanza("message", "groupchat", BODY), ROOM, True),
    (stanza("message", "groupchat", BODY), OCCUPANT, False),
    *((stanza("message", kind, BODY), to, False) for kind in ("", "chat", "normal", "headline") for to in (ROOM, OCCUPANT)),
    *((stanza("message", kind, INVITE), ROOM, True) for kind in ("", "normal")),
    (stanza("message", "", VOICE), ROOM, True),
    (stanza("message", "chat", VOICE), ROOM, False),
    *((stanza("message", "", each), OCCUPANT, False) for each in (INVITE, VOICE)),
    *((stanza("message", "", each), ROOM, False) for each in (INVITE + BODY, VOICE + BODY, COMMAND, VOICE + COMMAND, "")),
    (stanza("presence", "", MUC), OCCUPANT, True),
    *((stanza("presence", kind), OCCUPANT, True) for kind in ("", "unavailable")),
    (stanza("presence", "", "<status>at the dentist's</status>"), OCCUPANT, False),
    *((stanza("iq", "set", each), ROOM, True) for each in (ADMIN, ARCHIVE)),
    (stanza("iq", "set", ADMIN), OCCUPANT, False),
    *((stanza("iq", "get", each), to, True) for each in (DISCO, PING) for to in (ROOM, OCCUPANT)),
    *((stanza("iq", "get", VERSION), to, False) for to in (ROOM, OCCUPANT)),
    (stanza("iq", "set"), ROOM, False),
    (stanza("iq", "set", ADMIN, "<query xmlns='jabber:iq:oob'><desc>words</desc></query>"), ROOM, False),
]


@pytest.mark.parametrize(("sent", "to", "taken"), TAKES)
async def test_where_encryption_is_required_whoever_says_to_be_a_room_gets_what_rooms_take(
    around: Around, sent: Any, to: str, taken: bool
) -> None:
    """Where it is not, or once the room has let us in, it is a room for everything."""
    assert not around.rooms.takes(sent, JID(to))
    assert await around.rooms.ask(ALICE, ROOM)
    assert around.rooms.takes(sent, JID(to)) is taken
    assert (ROOM in around.rooms, around.rooms.may_be(ROOM)) == (False, True)
    around.is_required = False
    assert around.rooms.takes(sent, JID(to))
    assert ROOM in around.rooms


GIVES = [
    *((stanza("message", "groupchat", BODY), sender, True) for sender in (ROOM, OCCUPANT)),
    *((stanza("message", kind, BODY), sender, False) for kind in ("", "chat", "headline") for sender in (ROOM, OCCUPANT)),
    *((stanza("message", "", each), ROOM, True) for each in (STATUS, VOICE)),
    *((stanza("message", "", each), OCCUPANT, False) for each in (STATUS, VOICE)),
    *((stanza("message", "", each), ROOM, False) for each in (STATUS + BODY, COMMAND, INVITE)),
    (stanza("message", "error", BODY), ROOM, True),
    (stanza("message", "error", BODY), OCCUPANT, False),
    (stanza("iq", "get", PING), ROOM, True),
    (stanza("iq", "get", PING), OCCUPANT, False),
    *((stanza("iq", kind, VERSION), ROOM, False) for kind in ("get", "set")),
]


@pytest.mark.parametrize(("came", "sender", "given"), GIVES)
async def test_and_only_what_rooms_send_comes_from_there(around: Around, came: Any, sender: str, given: bool) -> None:
    assert not around.rooms.gives(came, JID(sender))
    await around.rooms.ask(ALICE, ROOM)
    assert around.rooms.gives(came, JID(sender)) is given
    around.is_required = False
    assert around.rooms.gives(came, JID(sender))


async def test_it_is_asked_once(around: Around) -> None:
    """Again in the next stream, or if it was no room."""
    around.answer = False
    for answer in (False, True, True):
        around.answer = answer
        assert await around.rooms.ask(ALICE, ROOM) is answer
    assert around.asked == [(ALICE, ROOM)] * 2
    around.rooms.forget_identities()
    assert not around.rooms.may_be(ROOM)
    await around.rooms.ask(ALICE, ROOM)
    assert len(around.asked) == 3


async def test_what_we_have_entered_is_not_asked(around: Around) -> None:
    around.rooms.note_entry(stanza("presence", "", MUC, to=OCCUPANT))
    around.is_required = False
    assert await around.rooms.ask(ALICE, ROOM)
    assert around.asked == []


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
@pytest.mark.parametrize("why", ["a person", "a server that is trusted with nothing"])
async def test_of_a_person_or_where_the_server_is_trusted_with_nothing_it_counts_for_nothing(
    around: Around, why: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever that becomes known."""
    sent = stanza("message", "groupchat", BODY)

    def learn() -> None:
        around.people |= {ROOM} if why == "a person" else set()
        around.believes_server = why == "a person"

    async def is_room(*words: Any) -> bool:
        learn()
        return True

    if when == "before":
        learn()
    elif when == "meanwhile":
        monkeypatch.setattr(discovery, "is_room", is_room)
    assert await around.rooms.ask(ALICE, ROOM) is (when == "after")
    learn()
    assert not around.rooms.takes(sent, JID(ROOM))
    assert not around.rooms.gives(sent, JID(OCCUPANT))
    assert not around.rooms.may_be(ROOM)
    around.is_required = False
    assert ROOM not in around.rooms
    assert len(around.asked) == (when == "after")


async def test_those_who_say_so_are_bounded(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "ROOMS", 2)
    for name in ("a", "b", "c"):
        await around.rooms.ask(ALICE, f"{name}@localhost")
    assert [around.rooms.may_be(f"{name}@localhost") for name in ("a", "b", "c")] == [False, True, True]

"""Which addresses of ours can be an end of a session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import JID, Iq
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.messages import own_addresses
from slixmpp_e2e.messages.own_addresses import OwnAddresses, no_end
from tests.slixmpp_e2e.env import ALICE, BOTS
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver
from tests.slixmpp_e2e.messages.stanzas import BODY, NS_DISCO, VERSION, offline_client, stanza
from xmpp_e2e import events
from xmpp_e2e.types import Assurance, Fingerprint

ACCOUNT, ROOM, ECHO = "alice@localhost", f"room@{BOTS}", f"echo@{BOTS}/bot"
FINGERPRINT = Fingerprint(bytes(32))
MUC_USER = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' role='participant'/></x>"


@pytest.fixture
async def own() -> OwnAddresses:
    component = offline_client(component=True)
    component.register_plugin("xep_0030")
    return OwnAddresses(component)


@pytest.mark.parametrize("address", ["", BOTS, f"{BOTS}/x", f"echo@{BOTS}", f"{ROOM}/nick"])
async def test_what_is_no_end(own: OwnAddresses, address: str) -> None:
    own.note_presence(stanza("presence", "", MUC_USER, sender=f"{ROOM}/other", to=ALICE))
    assert not own.can_end(address)
    assert own.can_end(ECHO)
    assert f"{address} can be no end" in str(no_end(address, ACCOUNT))


async def test_presence_that_is_no_rooms_makes_none(own: OwnAddresses) -> None:
    own.note_presence(stanza("presence", "", sender=f"{ROOM}/other", to=ALICE))
    assert own.can_end(f"{ROOM}/nick")


async def test_a_client_has_one_address_which_is_an_end() -> None:
    own = OwnAddresses(offline_client())
    own.note_presence(stanza("presence", "", MUC_USER, sender=ALICE, to="bob@localhost"))
    assert own.can_end(ALICE)
    assert not own.is_nobody(stanza("message", "", BODY), ALICE)
    assert not own.speaks_to_all(ALICE, "bob@localhost")


async def test_what_comes_for_no_person(own: OwnAddresses) -> None:
    """An iq to a bare JID is its server's, and a message is for whoever is behind it."""
    own.note_presence(stanza("presence", "", MUC_USER, sender=f"{ROOM}/other", to=ALICE))
    iq, message = stanza("iq", "get", VERSION), stanza("message", "", BODY)
    expected = {
        BOTS: (True, True),
        f"{ROOM}/x": (True, True),
        ROOM: (True, True),
        f"echo@{BOTS}": (True, False),
        ECHO: (False, False),
    }
    assert {to: (own.is_nobody(iq, to), own.is_nobody(message, to)) for to in expected} == expected


async def test_a_room_speaks_to_all_but_whoever_has_had_a_session_with_that_address(own: OwnAddresses) -> None:
    assert own.speaks_to_all(ECHO, ACCOUNT)
    driver: Any = FakeDriver(ALICE, own_jid=ECHO)
    own.on_session_event(driver, events.SessionClosed(clean=True, error=None))
    assert own.speaks_to_all(ECHO, ACCOUNT)
    own.on_session_event(driver, events.SessionOpened(Assurance.KNOWN, FINGERPRINT))
    assert not own.speaks_to_all(ECHO, ACCOUNT)
    assert own.speaks_to_all(f"help@{BOTS}/bot", ACCOUNT)
    assert own.speaks_to_all(ECHO, "bob@localhost")


def info(*categories: str) -> DiscoInfo:
    said = DiscoInfo()
    for category in categories:
        said.add_identity(category, "text")
    return said


@pytest.mark.parametrize(
    ("answer", "is_room"),
    [
        (info("conference"), True),
        (info("conference", "gateway"), True),
        ("iq", True),
        (info("client"), False),
        (info(), False),
        (None, False),
        (XMPPError("item-not-found"), False),
        (ZeroDivisionError(), False),
    ],
)
async def test_the_program_says_what_its_addresses_are(own: OwnAddresses, answer: Any, is_room: bool) -> None:
    """By its own handler of disco#info, which is asked once."""
    asked: list[Any] = []

    async def handler(jid: JID, node: str, asker: JID, request: Iq) -> Any:
        asked.append((jid, node, asker, request["to"], request["from"], request["type"], NS_DISCO in str(request)))
        if isinstance(answer, Exception):
            raise answer
        if answer == "iq":
            reply = own._xmpp.make_iq_result()
            reply["disco_info"].add_identity("conference", "text")
            return reply
        return answer

    own._xmpp.plugin["xep_0030"].set_node_handler("get_info", None, None, handler)
    for _ in range(2):
        assert await own.is_room(f"{ROOM}/nick", ALICE) is is_room
    assert asked == [(JID(ROOM), "", JID(ALICE), JID(ROOM), JID(ALICE), "get", True)]
    assert own.can_end(f"{ROOM}/nick") is not is_room
    own.note_presence(stanza("presence", "", MUC_USER, sender=f"{ROOM}/other", to=ALICE))
    assert await own.is_room(f"{ROOM}/nick", ALICE)


async def test_a_handler_that_never_answers_makes_no_room(own: OwnAddresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_addresses, "OWN_DISCO_SECONDS", 0.01)

    async def handler(*words: Any) -> None:
        await asyncio.Event().wait()

    own._xmpp.plugin["xep_0030"].set_node_handler("get_info", None, None, handler)
    assert not await own.is_room(f"{ROOM}/nick", ALICE)


async def test_what_is_remembered_is_bounded(own: OwnAddresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_addresses, "OWN_ROOMS", 2)
    monkeypatch.setattr(own_addresses, "OWN_PEOPLE", 2)
    driver: Any
    for number in range(3):
        own.note_presence(stanza("presence", "", MUC_USER, sender=f"{number}@{BOTS}/x", to=ALICE))
        assert not await own.is_room(f"person{number}@{BOTS}/x", ALICE)
        driver = FakeDriver(ALICE, own_jid=f"person{number}@{BOTS}/x")
        own.on_session_event(driver, events.SessionOpened(Assurance.KNOWN, FINGERPRINT))
    assert [len(table) for table in (own._rooms, own._people, own._ends)] == [2, 2, 2]

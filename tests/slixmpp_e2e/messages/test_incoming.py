"""The way in: which plaintext handlers get, and what came through a session; no server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.events import PlaintextReceived, PlaintextRefused, StoreFailed
from slixmpp_e2e.messages.incoming import IncomingFilter
from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettings
from slixmpp_e2e.xmpp import adapter, marker
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from tests.slixmpp_e2e.env import ALICE, BOB
from tests.slixmpp_e2e.messages.fake_sessions import FakeDriver
from tests.slixmpp_e2e.messages.stanzas import (
    BODY,
    DELAY,
    DISCO,
    EVENT,
    MUC,
    NS_MUC,
    VERSION,
    carbon,
    copied,
    offline_client,
    settings,
    stanza,
)
from xmpp_e2e import events
from xmpp_e2e.types import Assurance, Fingerprint

ME, BARE = "alice@localhost", "bob@localhost"


class In:
    """The filter of Alice, and what becomes of what comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.xmpp, self.iqs = offline_client(), IqTracker(lambda stamped: ALICE)
        self.channel = IqChannel(self.xmpp)
        self.rooms = MucRooms(self.xmpp, lambda account: False, lambda account: False, lambda account: True)
        self.settings = settings()
        self.by_account: dict[str, PeerSettings] = {}
        self.error: StoreError | None = None
        self.asked_about: list[str] = []
        self.emitted: list[Any] = []
        self.presences: list[Any] = []
        self.kept: list[StanzaBase] = []
        """What slixmpp would not count."""
        self.taken: list[tuple[str, Any, str, bool]] = []
        """What was offered to the sessions: Jingle and blocks."""
        self.takes = ""
        self.to_hold: list[Any] = []
        """What waits until its sender has said whether it is a room."""
        self.tokens: dict[Any, str] = {}
        monkeypatch.setattr(adapter, "count_as_handled", lambda xmpp, came, incoming: self.kept.append(came))
        emitter: Any = SimpleNamespace(emit=self.emitted.append)
        peers: Any = SimpleNamespace(of=self._settings_of)
        signalling: Any = SimpleNamespace(take_jingle=self._take_jingle, take_ibb=self._take_ibb, take_block=self._take_block)
        questions: Any = SimpleNamespace(hold=lambda message, sender: message in self.to_hold)
        self.in_plaintext: list[tuple[str, str]] = []
        self.filter = IncomingFilter(
            self.xmpp,
            self.channel,
            signalling,
            self.rooms,
            questions,
            self.iqs,
            peers,
            emitter,
            lambda driver: self.tokens.get(driver, ""),
            self._on_presence,
            self.in_plaintext.append,
        )
        self.xmpp.add_filter("in", self.filter.filter_incoming)

    def _settings_of(self, account: str, max_age: float = 0.0) -> Any:
        self.asked_about.append(account)
        if self.error is not None:
            raise self.error
        return self.by_account.get(account, self.settings)

    def _on_presence(self, came: Any) -> bool:
        self._settings_of("")
        self.presences.append(came)
        return True

    def _take_jingle(self, iq: Any, own_jid: str, *, shared: bool) -> bool:
        self.taken.append(("jingle", iq, own_jid, shared))
        return self.takes == "jingle"

    def _take_block(self, iq: Any, own_jid: str) -> bool:
        if self.error is not None:
            raise self.error
        return self.takes == "ibb"

    def _take_ibb(self, iq: Any, own_jid: str, *, shared: bool) -> bool:
        self.taken.append(("ibb", iq, own_jid, shared))
        return self.takes == "ibb"

    def delivers(self, came: Any) -> bool:
        self.kept.clear()
        passed = self.filter.filter_incoming(came)
        assert passed is None or passed is came
        assert len(self.kept) == (passed is None)
        return passed is not None

    def answers(self) -> list[tuple[str, str, str]]:
        sent = [(iq.get("id", ""), iq[0]) for iq in flushed(self.channel)]
        return [(iq_id, error[0].tag.partition("}")[2], error.get("type", "")) for iq_id, error in sent]


def flushed(channel: IqChannel) -> list[Element]:
    """Return what the channel writes now."""
    left: list[Element] = []
    channel.writer.write = left.extend
    channel.writer.flush()
    return left


@pytest.fixture
async def ways(monkeypatch: pytest.MonkeyPatch) -> In:
    return In(monkeypatch)


def request(**attributes: str) -> Any:
    return stanza("iq", "get", VERSION, **{"sender": BOB, "id": "1", **attributes})


def test_what_is_no_stanza_is_let_through(ways: In) -> None:
    ways.settings = settings(Policy.REQUIRE)
    other: Any = StanzaBase(sto=BOB, sfrom=BOB)
    assert ways.delivers(other)
    assert ways.asked_about == []


@pytest.mark.parametrize("name", ["message", "iq"])
@pytest.mark.parametrize(
    ("policy", "has_used_e2e", "told"),
    [(Policy.PREFER, False, None), (Policy.PREFER, True, PlaintextReceived), (Policy.REQUIRE, False, PlaintextRefused)],
)
def test_plaintext_is_judged_by_the_account_that_it_is_from(
    ways: In, name: str, policy: Policy, has_used_e2e: bool, told: Any
) -> None:
    """What is refused is kept from all handlers, and a request is answered; only one that is delivered may be answered in
    plaintext."""
    ways.settings = settings(policy, has_used_e2e=has_used_e2e)
    came = stanza(name, "get" if name == "iq" else "chat", VERSION, sender=BOB, id="1")
    is_refused = told is PlaintextRefused
    assert ways.delivers(came) is not is_refused
    assert set(ways.asked_about) == {BARE}
    assert [(type(event), event.stanza) for event in ways.emitted] == ([(told, came)] if told else [])
    assert ways.answers() == ([("1", "service-unavailable", "cancel")] if is_refused and name == "iq" else [])
    may_reply = ways.iqs.may_reply_plaintext(stanza("iq", "result", to=BOB, id="1"))
    assert may_reply is (name == "iq" and not is_refused)


def test_a_message_is_no_request_no_reply_and_no_signalling_whatever_its_type(ways: In) -> None:
    ways.takes = "jingle"
    for kind in ("get", "set", "result"):
        assert ways.delivers(stanza("message", kind, BODY, sender=BOB, id="1"))
    assert ways.taken == []
    assert not ways.iqs.may_reply_plaintext(stanza("iq", "result", to=BOB, id="1"))


def test_what_names_no_sender_is_from_our_own_account(ways: In) -> None:
    """RFC 6120 §8.1.2.1."""
    assert ways.delivers(stanza("message", "chat", BODY))
    assert ways.asked_about == [ME]


@pytest.mark.parametrize("addresses", [{"sender": "@localhost"}, {"sender": BOB, "to": "@localhost"}])
def test_what_is_from_or_to_no_address_is_dropped(ways: In, addresses: dict[str, str]) -> None:
    """It would end the client's stream."""
    assert not ways.delivers(stanza("message", "chat", BODY, **addresses))
    assert (ways.asked_about, ways.emitted) == ([], [])


FROM_BOB, TO_BOB, FROM_CAROL = copied(BOB), copied(f"{ME}/x", BARE), copied("carol@localhost/c")
SERVICES: list[tuple[str, str, bool, bool]] = [
    # from whom, what, delivered when `require` is for everybody, and when it is for Bob
    (BARE, EVENT, True, True),
    (BARE, EVENT + DELAY, True, True),
    (ME, EVENT, True, True),
    (BARE, EVENT + BODY, False, False),
    (BARE, EVENT + EVENT, False, False),
    (BOB, EVENT, False, False),
    (ME, carbon("result", FROM_BOB), True, True),
    (ME, carbon("result", FROM_BOB) + BODY, False, True),
    (BARE, carbon("result", FROM_BOB), False, False),
    (ME, carbon("received", FROM_BOB), False, False),
    (ME, carbon("sent", TO_BOB), False, False),
    ("", carbon("received", FROM_BOB), False, False),
    (ME, carbon("received", FROM_CAROL), False, True),
    (ME, carbon("received", FROM_CAROL, FROM_BOB), False, False),
    (ME, carbon("sent", copied(ME, ALICE, carbon("received", FROM_BOB))), False, False),
    (ME, carbon("received", copied(BARE, ALICE, EVENT)), True, True),
    (ME, carbon("received", copied("localhost")), True, True),
    (ME, carbon("received", copied("localhost")) + BODY, False, True),
    ("", BODY, False, True),
    ("alice@localhost/another", carbon("received", FROM_BOB), False, False),
    ("eve@localhost/e", carbon("received", FROM_BOB), False, True),
    ("eve@localhost", carbon("sent", TO_BOB), False, True),
]


@pytest.mark.parametrize(("sender", "payload", "if_everybody", "if_bob"), SERVICES)
def test_what_a_service_brings_is_judged_by_whose_it_is(
    ways: In, sender: str, payload: str, if_everybody: bool, if_bob: bool
) -> None:
    """Events and archives are a service's and hold nothing else; a carbon is judged as what it is a copy of."""
    for everybody, delivered in ((True, if_everybody), (False, if_bob)):
        ways.settings = settings(Policy.REQUIRE if everybody else Policy.PREFER)
        ways.by_account[BARE] = settings(Policy.REQUIRE)
        ways.emitted.clear()
        assert ways.delivers(stanza("message", "", payload, sender=sender, to=ALICE)) is delivered
        assert [type(event) for event in ways.emitted] == ([] if delivered else [PlaintextRefused])


@pytest.mark.parametrize("policy", [Policy.PREFER, Policy.REQUIRE])
def test_one_stanza_brings_one_event_at_most(ways: In, policy: Policy) -> None:
    """The worst that it holds, however many copies there are."""
    ways.settings = replace(settings(policy), has_used_e2e=True)
    ways.by_account[ME] = settings(Policy.PREFER)
    wrapper = stanza("message", "", carbon("received", FROM_BOB, FROM_CAROL, FROM_BOB), BODY, sender=ME)
    assert ways.delivers(wrapper) is (policy is Policy.PREFER)
    [event] = ways.emitted
    assert type(event) is (PlaintextReceived if policy is Policy.PREFER else PlaintextRefused)


def test_the_report_of_a_refused_carbon_says_that_it_was_a_copy(ways: In) -> None:
    ways.by_account[BARE] = settings(Policy.REQUIRE)
    assert not ways.delivers(stanza("message", "", carbon("received", FROM_BOB), sender=ME))
    [event] = ways.emitted
    assert "a copy" in str(event.error)
    assert ways.delivers(stanza("iq", "set", carbon("received", FROM_BOB), sender="carol@localhost/c"))
    assert not ways.delivers(stanza("message", "", carbon("received", copied("@localhost")), sender=ME))


def test_nothing_in_an_incoming_stanza_makes_a_person_a_room(ways: In) -> None:
    """Its type and its children are the server's to write."""
    ways.settings = settings(Policy.REQUIRE)
    user = f"<x xmlns='{NS_MUC}#user'/>"
    assert ways.delivers(stanza("presence", "", MUC, user, sender=BOB))
    for kind in ("chat", "groupchat", "headline", "error", "normal"):
        assert not ways.delivers(stanza("message", kind, BODY, user, MUC, DISCO, sender=BOB))


@pytest.mark.parametrize("kind", ["", "unavailable"])
def test_presence_is_delivered_under_every_policy(ways: In, kind: str) -> None:
    ways.settings = settings(Policy.REQUIRE)
    came = stanza("presence", kind, sender=BOB)
    assert ways.delivers(came)
    assert ways.presences == [came]


@pytest.mark.parametrize(
    ("name", "kind", "answered"),
    [("iq", "get", True), ("iq", "result", False), ("message", "get", False), ("presence", "", False)],
)
def test_without_a_store_nothing_is_delivered(ways: In, name: str, kind: str, answered: bool) -> None:
    """The user is told, and whoever asks something is asked to try again."""
    ways.error = StoreError(Path("store"), "full")
    assert not ways.delivers(stanza(name, kind, VERSION, sender=BOB, id="1"))
    assert ways.emitted == [StoreFailed(ways.error)]
    assert ways.answers() == ([("1", "internal-server-error", "wait")] if answered else [])


def test_without_a_store_a_block_is_refused_and_the_stream_goes_on(ways: In) -> None:
    ways.error = StoreError(Path("store"), "full")
    assert ways.filter.take_element(stanza("iq", "set", VERSION, sender=BOB, id="1").xml)
    assert (ways.emitted, ways.answers()) == ([StoreFailed(ways.error)], [("1", "internal-server-error", "wait")])


@pytest.mark.parametrize("kind", ["get", "set", "result"])
@pytest.mark.parametrize("takes", ["jingle", "ibb", ""])
def test_jingle_and_blocks_are_kept_from_handlers_and_not_judged(ways: In, takes: str, kind: str) -> None:
    ways.takes = takes
    assert ways.delivers(stanza("iq", kind, VERSION, sender=BOB)) is not (takes != "" and kind == "set")
    assert [each for each, *_ in ways.taken] == ([["jingle"], ["jingle", "ibb"]][takes != "jingle"] if kind == "set" else [])
    assert bool(ways.asked_about) is not (kind == "set" and takes != "")


def test_a_reply_to_a_request_of_ours_is_kept_from_handlers(ways: In) -> None:
    replies: list[str | None] = []
    ways.channel.request(ALICE, BOB, Element("{urn:x}x"), replies.append)
    [iq] = flushed(ways.channel)
    assert not ways.delivers(stanza("iq", "result", sender=BOB, id=iq.get("id", "")))
    assert (replies, ways.asked_about) == ([None], [])


@pytest.mark.parametrize("loaded", ["xep_0166", "xep_0047"])
def test_other_plugins_are_left_their_own(ways: In, loaded: str) -> None:
    plugins: Any = ways.xmpp.plugin
    plugins._plugins[loaded] = None
    plugins._enabled.add(loaded)
    came = stanza("iq", "set", VERSION, sender=BOB, to=f"{ME}/other")
    assert ways.delivers(came)
    assert ways.taken == [("jingle", came.xml, ALICE, loaded == "xep_0166"), ("ibb", came.xml, ALICE, loaded == "xep_0047")]


@pytest.mark.parametrize("name", ["message", "iq"])
def test_an_answer_in_plaintext_to_what_was_asked_inside_is_refused(ways: In, name: str) -> None:
    ways.iqs.add(stanza("iq", "get", VERSION, to=BOB, id="asked"))
    assert ways.delivers(stanza(name, "error", sender=BOB, id="asked")) is (name == "message")
    assert [type(event) for event in ways.emitted] == ([PlaintextRefused] if name == "iq" else [])


@pytest.mark.parametrize(
    ("sender", "policy", "awaited", "delivered"),
    [
        (BOB, Policy.REQUIRE, False, False),
        (BOB, Policy.REQUIRE, True, True),
        (BOB, Policy.PREFER, False, True),
        ("localhost", Policy.REQUIRE, False, True),
        ("room@localhost/bob", Policy.REQUIRE, False, True),
    ],
)
async def test_an_answer_that_nobody_waits_for_is_dropped_where_encryption_is_required(
    ways: In, sender: str, policy: Policy, awaited: bool, delivered: bool
) -> None:
    """It may be late, so nobody is alarmed."""
    ways.rooms.note_entry(stanza("presence", "", MUC, to="room@localhost/alice"))
    ways.settings = settings(policy)
    asked = ways.xmpp.make_iq_get(queryxmlns="jabber:iq:version", ito=sender)
    answer = asked.send() if awaited else None
    assert ways.delivers(stanza("iq", "result", VERSION, sender=sender, to=ALICE, id=asked["id"])) is delivered
    assert ways.emitted == []
    if answer is not None:
        answer.cancel()


class Session:
    assurance = Assurance.VERIFIED
    fingerprint = Fingerprint(bytes(32))


def test_what_comes_through_a_session_is_delivered_with_its_marker_and_nothing_else_is(ways: In) -> None:
    """Once the session was announced. A live token that a server has seen admits nothing, nor does a false one from inside."""
    ways.settings = settings(Policy.REQUIRE)
    session, driver = Session(), FakeDriver(BOB)
    heard: list[Any] = []
    ways.xmpp.add_event_handler("message", heard.append)
    came = events.StanzaReceived(stanza("message", "chat", BODY, sender=BOB).xml)
    ways.filter.on_session_event(driver, came)
    assert heard == []
    ways.tokens[driver] = token = marker.register(session)
    ways.filter.on_session_event(driver, came)
    [message] = heard
    assert message["e2e"]["assurance"] is Assurance.VERIFIED
    ways.tokens[driver] = "false"
    ways.filter.on_session_event(driver, events.StanzaReceived(stanza("message", "chat", BODY, sender=BOB).xml))
    forged = stanza("message", "chat", BODY, sender=BOB)
    marker.put(forged, token)
    assert not ways.delivers(forged)
    assert (len(forged.xml), len(heard)) == (1, 1)
    assert [type(event) for event in ways.emitted] == [PlaintextRefused] * 2
    marker.retire(token)


def test_what_is_refused_may_wait_and_nothing_tells_of_it(ways: In) -> None:
    """Only a message: whoever asks is answered at once."""
    ways.settings = settings(Policy.REQUIRE)
    message = stanza("message", "groupchat", BODY, sender=BOB)
    ways.to_hold = [message, request()]
    assert not ways.delivers(message)
    assert ways.emitted == []
    assert not ways.delivers(ways.to_hold[1])
    assert len(ways.emitted) == 1

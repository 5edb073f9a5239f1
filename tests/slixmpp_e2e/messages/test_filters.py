"""The filters by themselves: stanzas in, and what becomes of them; all that the plugin would do is only written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from slixmpp import ClientXMPP, ComponentXMPP, Iq, Message, Presence
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import SessionGone
from slixmpp_e2e.messages.filters import Filters
from slixmpp_e2e.messages.iq_tracking import InsideIqs
from slixmpp_e2e.messages.queue import Route
from slixmpp_e2e.messages.scope import Rooms
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.xmpp import adapter
from slixmpp_e2e.xmpp import marker as mark
from slixmpp_e2e.xmpp.iq_channel import OwnIq
from tests.slixmpp_e2e.world import ALICE, BOB, BOTS
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e.stream import writer
from xmpp_e2e.trust.policy import Incoming, Policy
from xmpp_loopback import no_tls

ME, BARE, ECHO = "alice@localhost", "bob@localhost", f"echo@{BOTS}/bot"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"
VERSION = "<query xmlns='jabber:iq:version'/>"
BODY = "<body>x</body>"
KINDS: dict[str, Any] = {"message": Message, "iq": Iq, "presence": Presence}


class Desk:
    """The plugin, its iqs, its sessions and its outbox, as far as the filters know them."""

    def __init__(self, component: bool = False) -> None:
        self.xmpp = ComponentXMPP(BOTS, "") if component else ClientXMPP(ALICE, "", ssl_context=no_tls())
        self.iqs = self.sessions = self.outbox = self
        self.inside = InsideIqs()
        self.rooms = Rooms(self.xmpp, lambda bare: False)
        self.injecting = False
        self.told: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {
            **dict.fromkeys(("takes", "takes_jingle", "takes_block"), False),
            "policy_with": Policy.PREFER,
            "permits_clear": True,
            "judge_plaintext": Incoming.DELIVER,
        }

    def __getattr__(self, verb: str) -> Any:
        def write_down(*words: Any, **more: Any) -> Any:
            self.told.append((verb, *words, *more.values()))
            answer = self.answers.get(verb)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return write_down

    def did(self, verb: str) -> list[tuple[Any, ...]]:
        """With what it was told to do this."""
        return [words for each, *rest in self.told if each == verb for words in [tuple(rest)]]


class Peer:
    """A session, as far as `InsideIqs` knows it."""

    peer = BOB


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(adapter, "keep", lambda xmpp, stanza, incoming: made.told.append(("keep", stanza)))
    return made


@pytest.fixture
async def bots() -> Desk:
    return Desk(component=True)


def stanza(name: str, kind: str = "", *children: str, sender: str = "", to: str = "", id: str = "1") -> Any:
    """A stanza of this name and type."""
    attributes = {"type": kind, "from": sender, "to": to, "id": id}
    written = " ".join(f"{key}='{value}'" for key, value in attributes.items() if value)
    return KINDS[name](xml=fromstring(f"<{name} xmlns='jabber:client' {written}>{''.join(children)}</{name}>"))


def question(sender: str = "", to: str = "", **attributes: str) -> Any:
    return stanza("iq", "get", VERSION, sender=sender, to=to, **attributes)


# --- out, first ------------------------------------------------------------------------------------------------------


def test_the_turns_of_our_own_iqs(desk: Desk) -> None:
    """Whatever else passes; ours leave there, the one whose turn it is, written by our own writer, which is quick."""
    first, turn, own = Filters(desk).first, OwnIq(desk.xmpp), question(to=BOB)  # type: ignore[no-untyped-call]
    passed: Any = first(own)
    assert passed is own
    assert not desk.told
    assert first(turn) is None
    assert desk.did("write") == []
    desk.answers["turn"] = own
    assert first(turn) is None
    assert desk.did("write") == [(own, writer.element(own.xml))]


def test_a_component_has_slixmpp_write_its_iqs(bots: Desk) -> None:
    """They are in the namespace of its stream."""
    bots.answers["turn"] = own = question(to=BOB)
    assert Filters(bots).first(OwnIq(bots.xmpp)) is None  # type: ignore[no-untyped-call]
    assert bots.did("write") == [(own, None)]


# --- out -------------------------------------------------------------------------------------------------------------


def test_what_is_no_stanza_is_let_through(desk: Desk) -> None:
    """Both ways, with whatever address it has."""
    other: Any = StanzaBase(sto=BOB, sfrom=BOB)
    desk.answers["judge_plaintext"] = Incoming.REFUSE
    assert Filters(desk).outgoing(other) is other
    assert Filters(desk).incoming(other) is other
    assert not desk.told


@pytest.mark.parametrize("name", KINDS)
def test_stanzas_to_people_are_taken_off_the_way(desk: Desk, name: str) -> None:
    """The outbox has them, from our full JID; only of requests it is noted that they were asked."""
    sent = stanza(name, "get" if name == "iq" else "", VERSION, to=BOB)
    assert Filters(desk).outgoing(sent) is None
    assert desk.did("send") == [(sent, ALICE, BOB)]
    assert desk.did("asks") == ([(sent,)] if name == "iq" else [])


def test_markers_are_taken_off_and_rooms_noticed(desk: Desk) -> None:
    """Of all that goes out."""
    entrance = stanza("presence", "", MUC, to="room@localhost/alice")
    mark.put(entrance, "token")
    passed: Any = Filters(desk).outgoing(entrance)
    assert passed is entrance
    assert [child.tag for child in entrance.xml] == ["{http://jabber.org/protocol/muc}x"]
    assert "room@localhost" in desk.rooms


@pytest.mark.parametrize("to", ["", "localhost", BOB])
def test_what_stays_outside_needs_no_route(desk: Desk, to: str) -> None:
    """To nobody, to a server, and by its kind to a person."""
    sent = stanza("presence", "subscribe", to=to)
    assert Filters(desk).outgoing(sent) is sent
    assert not desk.told


def test_under_off_all_is_clear(desk: Desk) -> None:
    """No route is asked for."""
    desk.answers["policy_with"] = Policy.OFF
    sent = stanza("message", "chat", BODY, to=BOB)
    assert Filters(desk).outgoing(sent) is sent
    assert desk.told == [("policy_with", BARE)]


@pytest.mark.parametrize(
    ("route", "permitted", "clear", "forgotten"),
    [
        (None, True, False, []),
        (Route(clear=False), True, False, []),
        (Route(clear=True), True, True, []),
        (Route(clear=True), False, False, [(BARE,)]),
    ],
)
def test_a_known_route(desk: Desk, route: Route | None, permitted: bool, clear: bool, forgotten: list[Any]) -> None:
    """In clear by a clear one, and only while the terms permit it: else it is forgotten."""
    desk.answers |= {"route": route, "permits_clear": permitted}
    sent = stanza("message", "chat", BODY, to=BOB)
    assert (Filters(desk).outgoing(sent) is sent) is clear
    assert desk.did("forget_routes") == forgotten
    assert len(desk.did("send")) == (0 if clear else 1)


def test_what_cannot_be_sent_is_reported(desk: Desk) -> None:
    """And does not go in clear."""
    desk.answers["send"] = error = SessionGone("no")
    sent = stanza("message", "chat", BODY, to=BOB)
    assert Filters(desk).outgoing(sent) is None
    assert desk.did("send_failed") == [(sent, error)]


def test_an_answer_goes_where_it_was_asked(desk: Desk) -> None:
    """Inside, through the same session; outside; or nowhere. A request with the same id is none, nor is a message."""
    link: Any = Peer()
    for iq_id in ("in", "ask"):
        desk.inside.came(question(BOB, id=iq_id), link)
    desk.inside.came_outside(question(BOB, id="out"))
    filters = Filters(desk)
    inside, outside, unknown = (stanza("iq", "result", to=BOB, id=iq_id) for iq_id in ("in", "out", "unknown"))
    assert filters.outgoing(inside) is None
    assert desk.did("reply") == [(inside, link)]
    assert desk.did("send") == []
    assert filters.outgoing(outside) is None
    assert filters.outgoing(unknown) is None
    assert [(failed, type(error)) for failed, error in desk.did("send_failed")] == [(unknown, SessionGone)]
    others = [outside, question(to=BOB, id="ask"), stanza("message", "chat", to=BOB, id="ask")]
    for sent in others[1:]:
        assert filters.outgoing(sent) is None
    assert [sent for sent, *_ in desk.did("send")] == others


@pytest.mark.parametrize(("sender", "ours"), [(ECHO, ECHO), ("", BOTS)])
def test_a_component_sends_from_the_address_that_is_stamped(bots: Desk, sender: str, ours: str) -> None:
    """Or from its own."""
    sent = stanza("message", "chat", sender=sender, to=BOB)
    assert Filters(bots).outgoing(sent) is None
    assert bots.did("send") == [(sent, ours, BOB)]


def test_a_client_sends_from_its_own_address(desk: Desk) -> None:
    """Whatever is stamped."""
    sent = stanza("message", "chat", sender=f"{ME}/other", to=BOB)
    assert Filters(desk).outgoing(sent) is None
    assert desk.did("send") == [(sent, ALICE, BOB)]


# --- in --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["message", "iq"])
@pytest.mark.parametrize(("verdict", "told"), [
    (Incoming.DELIVER, None), (Incoming.DELIVER_AND_TELL, "received"), (Incoming.REFUSE, "refused"),
])  # fmt: skip
def test_plaintext_is_judged(desk: Desk, name: str, verdict: Incoming, told: str | None) -> None:
    """By the account that it is from; what is refused is kept from everybody, and a request is answered."""
    desk.answers["judge_plaintext"] = verdict
    came = stanza(name, "get" if name == "iq" else "chat", VERSION, sender=BOB)
    delivered = verdict is not Incoming.REFUSE
    assert Filters(desk).incoming(came) is (came if delivered else None)
    assert desk.did("judge_plaintext") == [(BARE,)]
    said = [(kind, refused, str(error).startswith(f"{BOB} wrote in clear")) for kind, refused, error in desk.did("plaintext")]
    assert said == ([(told, came, True)] if told else [])
    assert desk.did("keep") == ([] if delivered else [(came,)])
    assert [(asked, error.condition) for asked, error in desk.did("error")] == (
        [] if delivered or name == "message" else [(came, "service-unavailable")]
    )
    answer = stanza("iq", "result", to=BOB)
    assert desk.inside.may_go_outside(answer) is (delivered and name == "iq")


def test_a_message_is_no_request(desk: Desk) -> None:
    """Whatever its type: it allows no answer, is no reply, and is neither Jingle nor a block."""
    desk.answers |= dict.fromkeys(("takes", "takes_jingle", "takes_block"), True)
    for kind in ("get", "set", "result"):
        came = stanza("message", kind, BODY, sender=BOB)
        assert Filters(desk).incoming(came) is came
    assert not desk.inside.may_go_outside(stanza("iq", "result", to=BOB))


def test_our_own_account_is_who_names_nobody(desk: Desk) -> None:
    """RFC 6120 §8.1.2.1."""
    Filters(desk).incoming(stanza("message", "chat", BODY))
    assert desk.did("judge_plaintext") == [(ME,)]


def test_what_we_inject_keeps_its_marker(desk: Desk) -> None:
    """If it has a live token, and it is we; nothing else is admitted so, nor leaves with a marker."""

    class Session:
        assurance = Assurance.VERIFIED
        fingerprint = Fingerprint(bytes(32))

    session = Session()
    token = mark.admit(session)
    desk.answers["judge_plaintext"] = Incoming.REFUSE
    outcomes = []
    for injecting, shown in ((True, token), (True, "x"), (False, token)):
        desk.injecting = injecting
        came = stanza("message", "chat", BODY, sender=BOB)
        mark.put(came, shown)
        delivered = Filters(desk).incoming(came) is came
        outcomes.append((delivered, mark.token_of(came) is not None, len(came.xml)))
    mark.retire(token)
    assert outcomes == [(True, True, 2), (False, False, 1), (False, False, 1)]


@pytest.mark.parametrize("addresses", [{"sender": "@localhost"}, {"sender": BOB, "to": "@localhost"}])
def test_what_is_no_address_is_dropped(desk: Desk, addresses: dict[str, str]) -> None:
    """It would end the client's stream."""
    came = stanza("message", "chat", BODY, **addresses)
    assert Filters(desk).incoming(came) is None
    assert desk.told == [("keep", came)]


def carbon(sender: str) -> str:
    inner = f"<message xmlns='jabber:client' from='{sender}' to='{ALICE}'>{BODY}</message>"
    return f"<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></received>"


def test_a_carbon_is_judged_by_what_it_brings(desk: Desk) -> None:
    """The report says that it was a copy; beside another child, or of another account, it is judged itself, too."""
    filters = Filters(desk)
    filters.incoming(stanza("message", "", carbon(BOB), sender=ME))
    filters.incoming(stanza("message", "", carbon(BOB), BODY, sender=ME))
    filters.incoming(stanza("message", "", carbon(BOB), sender="carol@localhost/c"))
    filters.incoming(stanza("iq", "set", carbon(BOB), sender=BOB))
    assert [bare for (bare,) in desk.did("judge_plaintext")] == [BARE, BARE, ME, BARE, "carol@localhost", BARE]
    desk.answers["judge_plaintext"] = Incoming.REFUSE
    assert filters.incoming(stanza("message", "", carbon(BOB), sender=ME)) is None
    assert [str(error).startswith("a copy came") for _, _, error in desk.did("plaintext")] == [True]
    assert filters.incoming(stanza("message", "", carbon("@localhost"), sender=ME)) is None


@pytest.mark.parametrize("kind", ["", "unavailable"])
def test_presence_is_told_and_delivered(desk: Desk, kind: str) -> None:
    """Under every policy: it cannot be told from the undirected kind."""
    desk.answers |= {"judge_plaintext": Incoming.REFUSE, "policy_with": Policy.REQUIRE}
    came = stanza("presence", kind, sender=BOB)
    assert Filters(desk).incoming(came) is came
    assert desk.told == [("presence", came)]


@pytest.mark.parametrize("taker", ["takes", "takes_jingle", "takes_block"])
@pytest.mark.parametrize("kind", ["get", "set", "result"])
def test_our_own_iqs_are_kept(desk: Desk, taker: str, kind: str) -> None:
    """Replies to ours, Jingle and blocks; the latter are of type set. They are not judged."""
    desk.answers |= {taker: True, "judge_plaintext": Incoming.REFUSE}
    came = stanza("iq", kind, VERSION, sender=BOB)
    filters, ours = Filters(desk), taker == "takes" or kind == "set"
    filters.incoming(came)
    assert bool(desk.did("plaintext")) is (not ours and kind == "get")
    assert bool(desk.did("takes_jingle")) is (taker != "takes" and kind == "set")
    assert (("keep", came) in desk.told) is (ours or kind == "get")


@pytest.mark.parametrize("loaded", ["xep_0166", "xep_0047"])
def test_other_plugins_are_left_their_own(desk: Desk, loaded: str) -> None:
    """Jingle and bytestreams of slixmpp's plugins, if they are there."""
    asked = stanza("iq", "set", VERSION, sender=BOB, to=f"{ME}/other")
    Filters(desk).incoming(asked)
    plugins: Any = desk.xmpp.plugin
    plugins._plugins[loaded] = None
    plugins._enabled.add(loaded)
    Filters(desk).incoming(asked)
    expected = [(asked, ALICE, False), (asked, ALICE, True)]
    other = [expected[0]] * 2
    assert desk.did("takes_jingle") == (expected if loaded == "xep_0166" else other)
    assert desk.did("takes_block") == (expected if loaded == "xep_0047" else other)


@pytest.mark.parametrize("name", ["message", "iq"])
def test_an_answer_to_what_was_asked_inside(desk: Desk, name: str) -> None:
    """It is forged, and told; a message with that id is no answer."""
    desk.inside.asks(question(to=BOB, id="asked"))
    came = stanza(name, "error", sender=BOB, id="asked")
    assert Filters(desk).incoming(came) is (came if name == "message" else None)
    assert [kind for kind, *_ in desk.did("plaintext")] == (["refused"] if name == "iq" else [])


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
def test_an_unasked_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, sender: str, policy: Policy, awaited: bool, delivered: bool
) -> None:
    """Of a person with whom encryption is required it is plaintext; nobody is alarmed."""
    monkeypatch.setattr(adapter, "awaits", lambda xmpp, reply: awaited)
    desk.rooms.notice(stanza("presence", "", MUC, to="room@localhost/alice"))
    desk.answers["policy_with"] = policy
    came = stanza("iq", "result", VERSION, sender=sender)
    assert (Filters(desk).incoming(came) is came) is delivered
    assert desk.did("plaintext") == []


def test_only_answers_can_be_unasked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may come in clear for another reason does, under ``require``, too."""
    monkeypatch.setattr(adapter, "awaits", lambda xmpp, reply: False)
    desk.answers |= {"policy_with": Policy.REQUIRE, "judge_plaintext": Incoming.REFUSE}
    event = Element("{http://jabber.org/protocol/pubsub#event}event")
    message, disco = stanza("message", sender=BARE), stanza("iq", "get", sender=BOB)
    message.xml.append(event)
    disco.xml.append(Element("{http://jabber.org/protocol/disco#info}query"))
    assert [Filters(desk).incoming(came) is came for came in (message, disco)] == [True, True]


@pytest.mark.parametrize(
    ("name", "kind", "answered"), [("iq", "get", 1), ("iq", "result", 0), ("message", "get", 0), ("presence", "", 0)]
)
def test_without_a_store_nothing_is_delivered(desk: Desk, name: str, kind: str, answered: int) -> None:
    """The user is told, the stanza kept, and who asks something is asked to try again."""
    desk.answers |= dict.fromkeys(("policy_with", "judge_plaintext", "presence"), error := StoreError(Path("store"), "full"))
    came = stanza(name, kind, VERSION, sender=BOB)
    assert Filters(desk).incoming(came) is None
    assert desk.did("store_failed") == [(error,)]
    assert desk.did("keep") == [(came,)]
    assert [(asked, said.condition, said.type) for asked, said in desk.did("error")] == (
        [(came, "internal-server-error", "wait")] * answered
    )

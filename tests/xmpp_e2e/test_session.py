"""A session from the offer to the farewell: what both sides see, and what each refuses."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import ALICE, BOB, Pair, config, identity, message, mute, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.errors import AuthenticationFailed, SendBufferFull, StreamError, UntrustedKey
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.states import State
from xmpp_e2e.stream import writer
from xmpp_e2e.stream.send_buffer import EARLY_STANZA_BYTES, SEND_BUFFER_BYTES
from xmpp_e2e.types import Assurance, Role, TrustModel

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}
PINNED = Assurance.VERIFIED, "pin"


# --- the main path


def test_a_session_opens_on_both_sides() -> None:
    """Offered, accepted, secured, greeted, done: both sides are open, vouched, and see the other's key."""
    pair = Pair().open()
    for side, other in ((pair.alice, "bob"), (pair.bob, "alice")):
        assert side.session.state is State.OPEN
        (start,) = side.of(events.SessionOpened)
        assert start == events.SessionOpened(Assurance.VOUCHED, identity(other).fingerprint)
        (secured,) = side.of(events.TLSEstablished)
        assert (secured.protocol, secured.group) == ("TLSv1.3", "X25519MLKEM768")
        assert secured.fingerprint == side.session.fingerprint == identity(other).fingerprint


def test_stanzas_arrive_in_order_and_byte_equal() -> None:
    """What one side sends the other gets, once, in order, with every escape and astral character intact."""
    pair = Pair().open()
    bodies = ["one", "<&>\"'", "tab\tnewline\nreturn\r"]
    bodies += ["\N{FOX FACE} \N{MATHEMATICAL FRAKTUR CAPITAL U}", "]]>", "x" * 200_000]
    for text in bodies:
        pair.alice.session.send_stanza(message(text))
        pair.bob.session.send_stanza(message(text[::-1]))
    pair.run()
    assert pair.bob.stanzas == bodies
    assert pair.alice.stanzas == [text[::-1] for text in bodies]


def test_the_session_says_who_writes() -> None:
    """from and to of a stanza are the session's, whatever the sender wrote."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("hi", **{"from": "boss@corp.test"}))
    pair.run()
    (event,) = pair.bob.of(events.StanzaReceived)
    assert (event.stanza.get("from"), event.stanza.get("to")) == (ALICE, BOB)


def test_alice_need_not_wait_for_bobs_hello() -> None:
    """The initiator may send stanzas with its first data; they are delivered when both are done."""
    pair = Pair()
    early: list[State] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        session = pair.alice.session
        if session.state is State.SENT_DONE_EARLY and not early:
            early.append(session.state)
            session.send_stanza(message("early"))
        return [data]

    pair.on_data = on_data
    pair.open()
    assert early == [State.SENT_DONE_EARLY]
    assert pair.bob.stanzas == ["early"]


def test_early_stanzas_are_bounded() -> None:
    """Until the peer's done only so much is sent; more is refused here and nothing of it leaves."""
    pair = Pair()
    tried: list[str] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        if pair.alice.session.state is State.SENT_DONE_EARLY and not tried:
            tried.append("yes")
            with pytest.raises(SendBufferFull, match="do not fit"):
                pair.alice.session.send_stanza(message("x" * EARLY_STANZA_BYTES))
        return [data]

    pair.on_data = on_data
    pair.open()
    assert tried
    assert pair.alice.session.state is State.OPEN


def test_the_outbox_is_bounded() -> None:
    """A session takes no more than SEND_BUFFER_BYTES while nothing is fetched from it."""
    pair = Pair().open()
    big = message("x" * 200_000)
    for _ in range(SEND_BUFFER_BYTES // 200_100):
        pair.alice.session.send_stanza(big)
    with pytest.raises(SendBufferFull):
        pair.alice.session.send_stanza(big)
    assert len(talk(pair.alice.session).out) <= SEND_BUFFER_BYTES


@pytest.mark.parametrize("role", Role)
def test_a_farewell_is_clean(role: Role) -> None:
    pair = Pair().open()
    pair.alice.session.send_stanza(message("last words"))
    pair.side(role).session.close(pair.now)
    pair.run()
    assert pair.bob.stanzas == ["last words"]
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert side.of(events.SessionClosed) == [events.SessionClosed(clean=True, error=None)]
    (terminate,) = [el for el in pair.side(role).jingle_sent if el.get("action") == "session-terminate"]
    assert terminate[0][0].tag.endswith("success")
    assert not any(el.get("action") == "session-terminate" for el in pair.side(role.other).jingle_sent)


def test_both_may_close_at_once() -> None:
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.bob.session.close(pair.now)
    pair.run()
    assert [side.of(events.SessionClosed)[0].clean for side in (pair.alice, pair.bob)] == [True, True]


def test_stanzas_that_cross_a_farewell_are_delivered() -> None:
    pair = Pair().open()
    pair.bob.session.send_stanza(message("crossing"))
    pair.alice.session.close(pair.now)
    pair.run()
    assert pair.alice.stanzas == ["crossing"]
    assert pair.alice.of(events.SessionClosed)[0].clean


# --- what is refused


def test_the_wire_does_not_say_why() -> None:
    """A failure inside TLS shows outside as security-error only."""
    pair = Pair(bob=config("bob", **UNTRUSTED, on_key_change=OnKeyChange.REJECT), bob_remembers=remembers("mallory")).open()
    assert isinstance(pair.bob.failure, UntrustedKey)
    (terminate,) = [el for el in pair.bob.jingle_sent if el.get("action") == "session-terminate"]
    assert [child.tag.rpartition("}")[2] for child in terminate[0]] == ["security-error"]
    assert isinstance(pair.alice.failure, AuthenticationFailed)
    assert "may have arrived" in explain(pair.alice.failure)  # Alice was done, and could not know


@pytest.mark.parametrize("changes", [{"from_": "eve@a.test/x"}, {"to": "eve@a.test/x"}])
def test_a_header_for_somebody_else(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream header with other JIDs than the session's ends it, before anything in it counts."""
    genuine = writer.header

    def header(from_: str, to: str, *, id: str | None = None) -> bytes:
        return genuine(changes.get("from_", from_), changes.get("to", to), id=id)

    monkeypatch.setattr(writer, "header", header)
    pair = Pair().open()
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == "invalid-from"


def says(pair: Pair, *elements: Element) -> Pair:
    """Open, but Alice's first words after the stream header are ``elements``."""

    def change(conversation: Conversation) -> None:
        def greet() -> None:
            conversation._send_header()
            for element in elements:
                conversation.out.element(element)

        mute(conversation, greet)

    prepare(pair.alice.session, change)
    return pair.open()


@pytest.mark.parametrize(
    ("element", "condition"),
    [
        (Element(auth.DONE), "policy-violation"),
        (message("too soon"), "policy-violation"),
        (Element("{urn:x-xmpp-e2e:auth:0}step"), "policy-violation"),
        (Element("{jabber:client}query"), "unsupported-stanza-type"),
        (Element(auth.HELLO), "bad-format"),
    ],
)
def test_nothing_before_the_hello(element: Element, condition: str) -> None:
    pair = says(Pair(), element)
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == condition
    assert not pair.bob.stanzas


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("element", [Element(auth.HELLO), Element(auth.DONE)])
def test_no_second_hello_or_done(role: Role, element: Element) -> None:
    pair = Pair().open().says(role, element)
    other = pair.side(role.other)
    assert isinstance(other.failure, StreamError)
    assert not other.of(events.SessionClosed)[0].clean

"""Rules of a session that its other tests pass by: what comes at a moment at which it must change nothing, or little."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, SubElement

import pytest

from tests.pair import NOBODY, Pair, config, message, mute, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e import session as module
from xmpp_e2e.errors import AuthenticationFailed, JingleError, LocalError, PeerRefused, StreamError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.stream_management import ACK_SECONDS
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.session import Session
from xmpp_e2e.states import State, Trigger
from xmpp_e2e.stream import send_buffer
from xmpp_e2e.types import KnownKeys, Role, TrustModel

BLOCKED = KnownKeys((replace(remembers("bob").keys[0], blocked=True),))
NONSENSE = Element("{urn:example}nonsense")


def reason_of(element: Element) -> str:
    (reason,) = [child for child in element if child.tag.endswith("}reason")]
    return reason[0].tag.rpartition("}")[2]


def heard_by(pair: Pair, role: Role) -> bytearray:
    """All that TLS will decrypt for ``role`` from now on."""
    heard = bytearray()
    channel = pair.side(role).session._tls
    assert channel is not None
    receive = channel.receive

    def listen(data: bytes) -> bytes:
        plaintext = receive(data)
        heard.extend(plaintext)
        return plaintext

    channel.receive = listen  # type: ignore[method-assign]
    return heard


# --- before it begins, and after it has ended


def test_a_fresh_session_knows_nothing() -> None:
    """Before anything happened there is no id, and without TLS no key; memory, time and bytes change nothing yet."""
    session = Session(Role.INITIATOR, config(), NOBODY)
    assert session.sid == ""
    assert session.handshake_result is None
    assert session.fingerprint is None
    session.update_known_keys(BLOCKED, 0.0)
    session.handle_timer(10.0**6)
    session.receive_data(b"x", 0.0)
    assert session.state is State.IDLE
    assert session.next_event() is None


def test_nothing_is_heard_after_the_end() -> None:
    """Bytes that come late, memory that changes late, and the timer leave a closed session as it ended."""
    pair = Pair().open()
    with pytest.raises(LocalError):
        pair.alice.session.free()
    pair.alice.session.close(pair.now)
    pair.run()
    pair.alice.session.free()
    pair.alice.session.close(pair.now)
    pair.alice.session.receive_data(b"late", pair.now)
    pair.alice.session.update_known_keys(BLOCKED, pair.now)
    pair.alice.session.handle_timer(10.0**6)
    pair.run()
    (end,) = pair.alice.of(events.SessionClosed)
    assert end.clean


@pytest.mark.parametrize("happened", Trigger)
def test_who_is_at_fault(happened: Trigger) -> None:
    """What comes at the wrong time is an error of the signalling, of the caller, or of the peer inside the stream."""
    session = Session(Role.INITIATOR, config(), NOBODY)
    signalled = {Trigger.INITIATE, Trigger.ACCEPTED}
    called = {Trigger.OFFER, Trigger.ACCEPT, Trigger.CONNECTED, Trigger.TLS_UP, Trigger.POLICY_MET}
    fault = JingleError if happened in signalled else LocalError if happened in called else StreamError
    with pytest.raises(fault):
        session._machine.reject(happened)


def test_open_takes_a_proof() -> None:
    """Were one of the doors tried without a proof, the session would not open."""
    session = Session(Role.INITIATOR, config(), NOBODY)
    session._machine.state = State.DONE_SENT
    with pytest.raises(AssertionError, match="takes a proof"):
        session._machine.transition(Trigger.DONE, 0.0)
    assert session.state is State.DONE_SENT


# --- signalling


def test_a_malformed_accept_ends_the_offer() -> None:
    def spoil(role: Role, element: Element) -> list[Element]:
        if element.get("action") == "session-accept":
            element[0].attrib.clear()
        return [element]

    pair = Pair(on_jingle=spoil).open()
    assert isinstance(pair.alice.failure, JingleError)
    assert pair.alice.errors == [pair.alice.failure]


def test_other_nonsense_leaves_the_offer() -> None:
    """Another message that cannot be read, while the accept is awaited, is answered with an error and no more."""
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.deliver(Role.INITIATOR, Element("{urn:xmpp:jingle:1}jingle", action="session-info"))
    assert len(pair.alice.errors) == 1
    assert pair.alice.session.state is State.OFFER_SENT


@pytest.mark.parametrize("given", ["busy", None])
def test_the_reason_of_a_terminate_is_told(given: str | None) -> None:
    pair = Pair(on_jingle=lambda role, element: []).open()
    terminate = Element("{urn:xmpp:jingle:1}jingle", action="session-terminate", sid=pair.alice.session.sid)
    if given:
        SubElement(SubElement(terminate, "{urn:xmpp:jingle:1}reason"), f"{{urn:xmpp:jingle:1}}{given}")
    pair.deliver(Role.INITIATOR, terminate)
    pair.run()
    assert str(pair.alice.failure).endswith(given or "no reason")


def test_what_the_path_is_told() -> None:
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.alice.session.close(pair.now, Reason.BUSY)
    pair.run()
    assert reason_of(pair.alice.jingle_sent[-1]) == "busy"
    pair = Pair(bob=config("bob", trust_model=TrustModel.SERVER_UNTRUSTED)).open()
    pair.bob.session.close(pair.now, Reason.BUSY)
    pair.run()
    assert reason_of(pair.bob.jingle_sent[-1]) == "security-error"
    pair = Pair().open()
    pair.says(Role.INITIATOR, NONSENSE)
    assert reason_of(pair.bob.jingle_sent[-1]) == pair.bob.failure.jingle_reason


def test_nothing_leaves_before_the_bytestream_is_there() -> None:
    """TLS has something to say as soon as an offer is accepted; it says it when there is a way."""
    pair = Pair(config("alice", fast_open=False))
    pair._connect = lambda: None  # type: ignore[method-assign]
    pair.open()
    assert pair.alice.session.state is State.CONNECTING
    assert pair.alice.data_sent == b""


# --- inside


def test_each_event_is_told_at_once() -> None:
    pair = Pair()

    def look(role: Role, data: bytes) -> list[bytes]:
        assert None not in (*pair.alice.session._events, *pair.bob.session._events)
        return [data]

    pair.on_data = look
    pair.open()
    pair.alice.session.send_stanza(message("x"))
    pair.run()
    assert pair.bob.stanzas == ["x"]


def test_only_the_responder_names_the_stream() -> None:
    """The responder's header has an id (RFC 6120 §4.7.3), the initiator's has none."""
    sent: dict[Role, object] = {}
    pair = Pair()
    for role in Role:

        def change(conversation: Conversation, role: Role = role) -> None:
            header = conversation.out.header

            def note(from_: str, to: str, *, id: str | None) -> None:
                sent[role] = id
                header(from_, to, id=id)

            conversation.out.header = note  # type: ignore[method-assign]

        prepare(pair.side(role).session, change)
    pair.open()
    assert sent[Role.INITIATOR] is None
    assert sent[Role.RESPONDER]


@pytest.mark.parametrize("condition", ["conflict", None])
def test_the_peers_stream_error_is_told(condition: str | None) -> None:
    error = Element(send_buffer.ERROR)
    if condition:
        SubElement(error, f"{{urn:ietf:params:xml:ns:xmpp-streams}}{condition}")
    pair = Pair().open().says(Role.INITIATOR, error)
    assert isinstance(pair.bob.failure, PeerRefused)
    assert str(pair.bob.failure).endswith(condition or "undefined-condition")


@pytest.mark.parametrize(
    ("first", "answer"), [(Element(auth.ABORT), b"<abort "), (NONSENSE, b"<unsupported-stanza-type ")], ids=["abort", "error"]
)
def test_who_fails_without_a_word_says_so_in_a_stream(first: Element, answer: bytes) -> None:
    """A responder that fails before its own hello sends its header first: else nobody could read why."""
    pair = Pair()

    def change(conversation: Conversation) -> None:
        def greet() -> None:
            conversation._send_header()
            conversation.out.element(first)

        mute(conversation, greet)

    prepare(pair.alice.session, change)
    pair.alice.session.offer(pair.now)
    heard = heard_by(pair, Role.INITIATOR)
    pair.run()
    assert heard.startswith(b"<stream:stream ")
    assert answer in heard
    assert heard.endswith(b"</stream:stream>")


def test_what_a_stranger_wrote_is_quoted() -> None:
    """A namespace may hold what a terminal obeys, and be long."""
    pair = Pair().open().says(Role.INITIATOR, Element(f"{{\x9b31m{'x' * 100}}}a"))
    assert str(pair.bob.failure).endswith(r"no place here: '{\x9b31m" + "x" * 35 + "'")


def test_who_breaks_a_rule_hears_which() -> None:
    """An element that has no place is answered with a stream error, and the stream is ended properly."""
    pair = Pair().open()
    heard = heard_by(pair, Role.INITIATOR)
    pair.says(Role.INITIATOR, NONSENSE)
    assert isinstance(pair.bob.failure, StreamError)
    assert isinstance(pair.alice.failure, PeerRefused)
    assert "unsupported-stanza-type" in str(pair.alice.failure)
    assert heard.endswith(b"</stream:stream>")


def test_why_a_key_is_refused_is_not_heard() -> None:
    """Inside TLS, too, a refusal does not say why."""
    pair = Pair().open()
    heard = heard_by(pair, Role.RESPONDER)
    pair.alice.session.update_known_keys(BLOCKED, pair.now)
    pair.run()
    assert isinstance(pair.bob.failure, AuthenticationFailed)
    assert auth.ABORT.rpartition("}")[2].encode() in heard
    assert b"error" not in heard


# --- how long, and how much


def test_a_stanza_gives_no_time() -> None:
    pair = Pair().open()
    before = pair.alice.session.timer(), pair.bob.session.timer()
    pair.now += 3600
    pair.alice.session.send_stanza(message("x"))
    pair.run().pass_time(ACK_SECONDS)
    assert (pair.alice.session.timer(), pair.bob.session.timer()) == before


def test_much_traffic_ends_a_session_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes it ends by farewells, so that a new one brings new keys; the opening itself is not cut short."""
    monkeypatch.setattr(module, "SESSION_BYTES", 1)
    pair = Pair(config("alice", fast_open=False)).open()
    assert pair.alice.of(events.SessionOpened)
    assert pair.bob.of(events.SessionOpened)
    assert [end.clean for end in pair.alice.of(events.SessionClosed) + pair.bob.of(events.SessionClosed)] == [True, True]


def test_a_session_may_use_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes up to the bound are no reason to end, and the next one is."""
    pair = Pair().open()
    channel = pair.bob.session._tls
    assert channel is not None
    used = []
    for _ in range(2):
        used.append(channel.bytes_used)
        pair.alice.session.send_stanza(message("of one size"))
        pair.run()
    monkeypatch.setattr(module, "SESSION_BYTES", channel.bytes_used + used[1] - used[0])
    pair.alice.session.send_stanza(message("of one size"))
    assert pair.run().bob.session.state is State.OPEN
    pair.alice.session.send_stanza(message(""))
    assert pair.run().bob.session.state is State.CLOSED


# --- the end


def test_memory_does_not_spoil_a_farewell() -> None:
    """When the user blocks the key of a session that is closing, it closes as it would have."""
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.alice.session.update_known_keys(BLOCKED, pair.now)
    pair.run()
    assert pair.alice.of(events.SessionClosed)[0].clean


def test_who_closes_twice_closes_once() -> None:
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.alice.session.close(pair.now)
    assert pair.alice.session.state is State.CLOSING
    pair.run()
    assert pair.alice.of(events.SessionClosed)[0].clean


def test_no_farewell_is_said_twice() -> None:
    """What the peer breaks after our farewell ends the session, and nothing more is said inside it."""
    pair = Pair().open()
    session = pair.alice.session
    session.close(pair.now)
    said = session.data_to_send()
    heard = heard_by(pair, Role.RESPONDER)
    talk(pair.bob.session).out.element(NONSENSE)
    session.receive_data(pair.bob.session.data_to_send(), pair.now)
    pair.bob.session.receive_data(said + session.data_to_send(), pair.now)
    assert heard.count(b"</stream:stream>") == 1
    assert b"error" not in heard


def test_nobody_talks_before_the_bytestream_is_open() -> None:
    """Alice's TLS is up by the signalling, the bytestream is not: what comes out of TLS ends the session."""
    pair = Pair()
    pair._connect = lambda: pair.bob.session.bytestream_ready(pair.now)  # type: ignore[method-assign]
    pair.open()
    alice, bob = pair.alice.session, pair.bob.session
    assert alice._tls is not None
    assert bob._tls is not None
    assert alice.state is State.CONNECTING
    bob.receive_data(alice._tls.data_to_send(), pair.now)
    bob._tls.send(b"<stream:stream")
    alice.receive_data(bob._tls.data_to_send(), pair.now)
    pair.collect_events(Role.INITIATOR)
    assert isinstance(pair.alice.failure, StreamError)
    assert alice._conversation is None


def test_before_tls_there_is_nobody_to_talk_to() -> None:
    """New keys wait for TLS, a request that nobody made is declined in vain, and a session without TLS can be freed."""
    pair = Pair(on_jingle=lambda role, element: [])
    alice = pair.alice.session
    alice.offer(pair.now)
    alice.update_known_keys(remembers("bob"), pair.now)
    alice.decline_verification("sas", pair.now)
    assert alice.state is State.OFFER_SENT
    alice.close(pair.now)
    alice.free()
    assert pair.alice.session.state is State.CLOSED

"""How a session ends when something is missing: cuts, refusals, and signalling out of order."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair, Side, config, message
from xmpp_e2e import events
from xmpp_e2e.errors import (
    BytestreamFailed,
    JingleError,
    LocalError,
    PeerBusy,
    PeerRefused,
    SessionCancelled,
    TLSFailed,
    UncleanClose,
)
from xmpp_e2e.negotiate.jingle import Action, Jingle, Reason, build
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.types import KnownKeys, Role, TrustModel

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def reasons(side: Side) -> list[str]:
    sent = (element.find("{urn:xmpp:jingle:1}reason") for element in side.jingle_sent)
    return [reason[0].tag.rpartition("}")[2] for reason in sent if reason is not None]


# --- cuts


def test_an_open_session_ends_after_a_day() -> None:
    """Keys do not live for ever: after 24 hours the session ends cleanly."""
    pair = Pair().open().pass_time(24 * 3600 + 1)
    assert pair.alice.of(events.SessionClosed)[0].clean
    assert pair.bob.of(events.SessionClosed)[0].clean


def test_a_forged_terminate_is_truncation() -> None:
    pair = Pair().open()
    forged = Element("{urn:xmpp:jingle:1}jingle", action="session-terminate", sid=pair.alice.session.sid)
    reason = Element("{urn:xmpp:jingle:1}reason")
    reason.append(Element("{urn:xmpp:jingle:1}success"))
    forged.append(reason)
    pair.deliver(Role.RESPONDER, forged)
    pair.run()
    assert isinstance(pair.bob.failure, UncleanClose)
    assert not pair.bob.of(events.SessionClosed)[0].clean
    assert "session-terminate" not in [element.get("action") for element in pair.bob.jingle_sent]


def test_an_altered_record_is_the_end_of_an_open_session() -> None:
    """Nothing more can be said inside once TLS has failed; outside the peer is told that it was for security."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("unaltered"))
    pair.on_data = lambda role, data: [data[:-1] + bytes([data[-1] ^ 1])] if role is Role.INITIATOR else [data]
    pair.run()
    assert isinstance(pair.bob.failure, TLSFailed)
    assert pair.bob.stanzas == []
    assert reasons(pair.bob) == ["security-error"]


def test_nothing_is_said_after_tls_has_failed() -> None:
    pair = Pair().open()
    pair.alice.session.send_stanza(message("a secret" * 100))
    pair.alice.session.receive_data(b"no record", pair.now)
    assert len(pair.alice.session.data_to_send()) < 100
    pair.collect_events(Role.INITIATOR)
    assert isinstance(pair.alice.failure, TLSFailed)


@pytest.mark.parametrize("opened", [False, True])
def test_a_broken_bytestream_is_told_outside(opened: bool) -> None:
    """The session ends with the carrier's own error, whose reason the peer hears."""
    pair = Pair(on_jingle=lambda role, element: [element] if opened else []).open()
    broken = BytestreamFailed("it broke")
    pair.alice.session.bytestream_failed(broken, pair.now)
    pair.on_jingle = lambda role, element: []
    pair.run()
    assert pair.alice.failure is broken
    assert reasons(pair.alice) == ["failed-transport"]


@pytest.mark.parametrize("closing", [False, True])
def test_close_notify_without_farewell_is_truncation(closing: bool) -> None:
    """TLS may end properly, even after our own farewell; the peer's stream inside did not: something may have been lost."""
    pair = Pair().open()
    if closing:
        pair.bob.session.close(pair.now)
    assert pair.alice.session._tls is not None
    pair.alice.session._tls.close()
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    pair.on_jingle = lambda role, element: []
    pair.run()
    assert isinstance(pair.bob.failure, UncleanClose)


def test_a_refused_offer_says_so() -> None:
    pair = Pair(on_jingle=lambda role, element: [])
    pair.open()
    pair.alice.session.receive_jingle_error("service-unavailable", pair.now)
    pair.run()
    assert isinstance(pair.alice.failure, PeerRefused)
    assert "service-unavailable" in str(pair.alice.failure)
    assert [element.get("action") for element in pair.alice.jingle_sent] == ["session-initiate"]


@pytest.mark.parametrize(
    ("reason", "kind"), [(Reason.BUSY, PeerBusy), (Reason.TIMEOUT, PeerBusy), (Reason.DECLINE, PeerRefused)]
)
def test_a_peer_that_is_busy_may_be_tried_again(reason: Reason, kind: type[PeerRefused]) -> None:
    pair = Pair(on_jingle=lambda role, element: []).open()
    ended = Jingle(Action.SESSION_TERMINATE, pair.alice.session.sid, reason=reason)
    pair.alice.session.receive_jingle(build(ended), pair.now)
    pair.run()
    assert type(pair.alice.failure) is kind


def test_an_error_that_may_pass_says_so() -> None:
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.alice.session.receive_jingle_error("resource-constraint", pair.now, try_again=True)
    pair.run()
    assert type(pair.alice.failure) is PeerBusy


def test_a_session_that_has_not_begun_can_be_given_up() -> None:
    session = Session(Role.INITIATOR, config(), KnownKeys())
    session.close(0.0)
    (event,) = iter(session.next_event, None)
    assert isinstance(event, events.SessionFailed)
    assert isinstance(event.error, SessionCancelled)
    assert (session.state, session.jingle_to_send()) == (State.CLOSED, [])


@pytest.mark.parametrize("role", Role)
def test_giving_up_before_it_is_open(role: Role) -> None:
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.side(role).session.close(pair.now)
    pair.run()
    assert isinstance(pair.side(role).failure, SessionCancelled)
    assert pair.side(role.other).of(events.SessionFailed)


@pytest.mark.parametrize(("given", "told"), [(Reason.SUCCESS, "cancel"), (Reason.BUSY, "busy")])
def test_giving_up_an_offer_says_why(given: Reason, told: str) -> None:
    """An offer that is taken back has not come to a success, whatever the host says; it may have another reason."""
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.alice.session.close(pair.now, given)
    pair.run()
    assert reasons(pair.alice) == [told]


def test_a_terminate_is_not_answered() -> None:
    """Who is told that it is over before it was open says nothing more."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.alice.session.close(pair.now)
    pair.on_data = lambda role, data: []
    pair.run()
    assert isinstance(pair.bob.failure, PeerRefused)
    assert reasons(pair.alice) == ["security-error"]
    assert reasons(pair.bob) == []


def test_an_abandoned_offer_says_nothing() -> None:
    """An offer that the peer's own takes the place of (tie-break) goes without a word."""
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.alice.session.discard(pair.now)
    pair.run()
    assert [element.get("action") for element in pair.alice.jingle_sent] == ["session-initiate"]


# --- signalling out of order


@pytest.mark.parametrize("action", ["session-initiate", "session-accept", "content-modify"])
def test_out_of_order(action: str) -> None:
    """Jingle that is not due is answered with an error, and the open session is untouched."""
    pair = Pair().open()
    (initiate,) = [el for el in pair.alice.jingle_sent if el.get("action") == "session-initiate"]
    initiate.set("action", action)
    pair.deliver(Role.RESPONDER, initiate)
    (error,) = pair.bob.errors
    assert (error.condition, error.jingle_condition, error.type) == ("unexpected-request", "out-of-order", "wait")
    assert pair.bob.session.state is State.OPEN


def test_session_info() -> None:
    pair = Pair().open()
    info = Element("{urn:xmpp:jingle:1}jingle", action="session-info", sid=pair.alice.session.sid)
    pair.deliver(Role.RESPONDER, info)
    assert pair.bob.errors == []
    info.append(Element("{urn:example}ringing"))
    pair.deliver(Role.RESPONDER, info)
    (error,) = pair.bob.errors
    assert (error.condition, error.jingle_condition) == ("feature-not-implemented", "unsupported-info")


def test_more_contents_are_declined() -> None:
    """Each content-add is answered by a content-reject that names the content and repeats nothing else of it."""
    pair = Pair().open()
    (initiate,) = [el for el in pair.alice.jingle_sent if el.get("action") == "session-initiate"]
    initiate.set("action", "content-add")
    initiate[0].set("creator", "responder")
    for name in ("another", "a third"):
        initiate[0].set("name", name)
        pair.deliver(Role.RESPONDER, initiate)
    pair.run()
    for reject, name in zip(pair.bob.jingle_sent[-2:], ("another", "a third"), strict=True):
        assert (reject.get("action"), reject.get("sid")) == ("content-reject", pair.alice.session.sid)
        content = reject.find("{urn:xmpp:jingle:1}content")
        assert content is not None
        assert (content.attrib, len(content)) == ({"creator": "responder", "name": name}, 0)
        assert reject.find("{urn:xmpp:jingle:1}reason/{urn:xmpp:jingle:1}decline") is not None
    assert pair.bob.session.state is State.OPEN


@pytest.mark.parametrize("size", [255, 8193])
def test_a_block_size_out_of_range(size: int) -> None:
    with pytest.raises(ValueError, match="256 to 8192"):
        config(block_size=size)


@pytest.mark.parametrize("size", [256, 8192])
def test_a_block_size_at_the_edge(size: int) -> None:
    (agreed,) = Pair(config("alice", block_size=size)).open().alice.of(events.TransportAgreed)
    assert agreed.block_size == min(size, config("bob").block_size)


def test_local_misuse_is_a_local_error() -> None:
    session = Session(Role.INITIATOR, config(), KnownKeys())
    with pytest.raises(LocalError):
        session.accept_offer(0.0)
    with pytest.raises(LocalError):
        session.bytestream_ready(0.0)
    with pytest.raises(LocalError):
        session.send_stanza(message("x"))
    assert session.state is State.IDLE


def test_jingle_errors_are_raised_for_the_host() -> None:
    """Nonsense is answered as bad-request."""
    session = Session(Role.RESPONDER, config("bob"), KnownKeys())
    with pytest.raises(JingleError) as caught:
        session.receive_jingle(Element("{urn:xmpp:jingle:1}jingle", action="dance", sid="x"), 0.0)
    assert caught.value.condition == "bad-request"

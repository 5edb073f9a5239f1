"""Every wait has a deadline, and nothing that trickles in moves it, but for a farewell's (docs/bounds.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.pair import Pair, config, talk
from xmpp_e2e import events
from xmpp_e2e.config import Timeouts
from xmpp_e2e.errors import E2EError, StreamError, Timeout, TLSFailed, UncleanClose
from xmpp_e2e.state_machine import StateMachine
from xmpp_e2e.states import AUTHENTICATING, FAREWELL_SECONDS, STATE_TIMEOUTS, State
from xmpp_e2e.stream.reader import GREETING, Reader
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.tls.connection import HANDSHAKE_BYTES
from xmpp_e2e.types import Role, TrustModel

OFFERS, ANSWERS = Role.INITIATOR, Role.RESPONDER
UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}
DAY = 24 * 3600
PATIENT = {"timeouts": Timeouts(step=600, user=1000, session=7)}

TABLE = [
    # who, where, after how many seconds, with what
    (OFFERS, State.OFFER_SENT, 60, Timeout),
    (ANSWERS, State.OFFER_RECEIVED, 60, Timeout),
    (OFFERS, State.CONNECTING, 30, Timeout),
    (ANSWERS, State.CONNECTING, 30, Timeout),
    (OFFERS, State.HANDSHAKING, 15, Timeout),
    (ANSWERS, State.HANDSHAKING, 15, Timeout),
    (ANSWERS, State.SECURED, 60, Timeout),
    (OFFERS, State.SENT_DONE_EARLY, 60, Timeout),
    (OFFERS, State.DONE_SENT, 60, Timeout),
    (ANSWERS, State.DONE_SENT, 60, Timeout),
    (OFFERS, State.OPEN, DAY, None),
    (ANSWERS, State.OPEN, DAY, None),
    (OFFERS, State.CLOSING, 5, UncleanClose),
    (ANSWERS, State.CLOSING, 5, UncleanClose),
    (OFFERS, State.PEER_CLOSING, 5, UncleanClose),
    (ANSWERS, State.PEER_CLOSING, 5, UncleanClose),
]
HUMAN = [
    (OFFERS, State.SECURED),
    (OFFERS, State.HELLO_CHECKED),
    (OFFERS, State.DONE_RECEIVED),
    (ANSWERS, State.HELLO_CHECKED),
    (ANSWERS, State.DONE_RECEIVED),
]


def stuck(role: Role, stage: State, **terms: Any) -> Pair:
    """Carried byte by byte until the session of ``role`` is in ``stage``; from then on nothing arrives anywhere."""
    fast = stage is not State.HANDSHAKING
    alice = config("alice", fast_open=fast, **(terms if role is OFFERS else {}))
    pair = Pair(alice, config("bob", fast_open=fast, **(terms if role is ANSWERS else {})))
    session = pair.side(role).session

    def there() -> bool:
        return session.state is stage

    def bytewise(sender: Role, data: bytes) -> Iterator[bytes]:
        return (bytes([byte]) for byte in data if not there())

    pair.on_jingle = lambda sender, element: [] if there() else [element]
    pair.on_data = bytewise  # type: ignore[assignment]
    if stage is State.CONNECTING:
        pair._connect = lambda: None  # type: ignore[method-assign]
    if stage is State.OFFER_RECEIVED:
        session.accept_offer = lambda now: None  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SendBuffer.take, "__defaults__", (5,))  # small TLS records: no two elements come together
        pair.open()
    if stage in (State.CLOSING, State.PEER_CLOSING):
        closer = pair.side(role if stage is State.CLOSING else role.other).session
        closer.close(pair.now)
        pair.run()
    assert there(), session.state
    return pair


@pytest.mark.parametrize(("role", "stage", "seconds", "error"), TABLE)
def test_every_wait_ends(role: Role, stage: State, seconds: float, error: type[E2EError] | None) -> None:
    """When the other side falls silent, the session is over after the state's deadline, and not before."""
    pair = stuck(role, stage)
    session = pair.side(role).session
    assert session.timer() == pair.now + seconds
    session.handle_timer(pair.now + seconds - 0.1)
    assert session.state is stage
    session.handle_timer(pair.now + seconds)
    if error is None:
        assert session.state is State.CLOSING
        session.handle_timer(pair.now + seconds + 5)
        error = UncleanClose
    assert session.state is State.CLOSED
    assert session.timer() is None
    pair.collect_events(role)
    assert type(pair.side(role).failure) is error


@pytest.mark.parametrize(("role", "stage"), HUMAN)
@pytest.mark.parametrize(("terms", "seconds"), [({}, 300), (PATIENT, 1000)], ids=["ours", "a patient host's"])
def test_a_person_gets_five_minutes(role: Role, stage: State, terms: dict[str, Any], seconds: float) -> None:
    """Where a person has to compare a key, here or there, the wait is longer, and ends all the same."""
    pair = stuck(role, stage, **UNTRUSTED, **terms)
    session = pair.side(role).session
    assert session.timer() == pair.now + seconds
    session.handle_timer(pair.now + seconds)
    pair.collect_events(role)
    assert isinstance(pair.side(role).failure, Timeout)


@pytest.mark.parametrize(("role", "stage", "seconds", "error"), TABLE)
def test_a_host_may_wait_longer_for_slow_links(role: Role, stage: State, seconds: float, error: type[E2EError] | None) -> None:
    pair = stuck(role, stage, **PATIENT)
    assert pair.side(role).session.timer() == pair.now + (seconds * 10 if error else 7)


def test_no_stage_is_left_out() -> None:
    assert {stage for _, stage, *_ in (*TABLE, *HUMAN)} == set(STATE_TIMEOUTS)
    assert set(State) - set(STATE_TIMEOUTS) == {State.IDLE, State.CLOSED}


# --- drops -----------------------------------------------------------------------------------------------------------


def trickle(pair: Pair, data: bytes, step: float) -> float:
    """Bob gets one byte of ``data`` each ``step`` seconds, timers in between; after how many seconds is the session over?"""
    began, session = pair.now, pair.bob.session
    for byte in data:
        pair.now += step
        session.handle_timer(pair.now)
        if session.state is State.CLOSED:
            break
        session.receive_data(bytes([byte]), pair.now)
    pair.collect_events(ANSWERS)
    return pair.now - began


@pytest.mark.parametrize("step", [0.5, 14.9])
def test_a_handshake_that_drips(step: float) -> None:
    """Each byte of a proper ClientHello comes in time, and the handshake does not: fifteen seconds are for all of it."""
    pair = stuck(ANSWERS, State.HANDSHAKING)
    assert trickle(pair, bytes(pair.alice.data_sent), step) <= 15 + step
    assert isinstance(pair.bob.failure, Timeout)


@pytest.mark.parametrize("step", [1.0, 59.0])
def test_a_greeting_that_drips(step: float) -> None:
    """TLS is up, and the hello comes at a byte a minute: sixty seconds are for all that must be said before stanzas flow."""
    pair = stuck(ANSWERS, State.SECURED)
    channel = pair.alice.session._tls
    assert channel is not None
    channel.send(b"<" * 300)
    drops = channel.data_to_send()
    assert trickle(pair, drops, step) <= 60 + step
    assert isinstance(pair.bob.failure, Timeout)
    assert not pair.bob.of(events.SessionOpened)


def test_the_stages_of_the_proof_share_one_clock() -> None:
    pair = stuck(ANSWERS, State.SECURED)
    first = pair.bob.session.timer()
    deadlines = set()
    pair = Pair()
    pair.on_data = lambda role, data: [bytes([byte]) for byte in data]
    step = StateMachine.transition

    def later(self: StateMachine, happened: Any, now: float, proof: Any = None) -> None:
        step(self, happened, now, proof)
        if self.state in AUTHENTICATING:
            deadlines.add(self.deadline)
            pair.now += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateMachine, "transition", later)
        pair.open()
    assert first is not None
    assert len(deadlines) == 2, "one for each side"


@pytest.mark.parametrize(("step", "lasts"), [(4.9, FAREWELL_SECONDS), (5.1, 0)])
def test_a_farewell_is_not_late_while_bytes_come_in(step: float, lasts: float) -> None:
    """What the peer had said before they read our farewell may take minutes on a slow line. Not for ever, though; and not after
    five seconds in which nothing came."""
    pair = stuck(ANSWERS, State.CLOSING)
    channel = pair.alice.session._tls
    assert channel is not None
    channel.send(b"<message xmlns='jabber:client'>" + b"x" * 16_000)
    lasted = trickle(pair, channel.data_to_send(), step)
    assert isinstance(pair.bob.failure, UncleanClose)
    assert lasts <= lasted < lasts + 2 * step


# --- too much --------------------------------------------------------------------------------------------------------


def endless(pair: Pair, data: bytes, piece: int = 997) -> int:
    """Bob gets ``data`` over and over; how many bytes are taken?"""
    taken = 0
    for _ in range(20_000):
        for start in range(0, len(data), piece):
            if pair.bob.session.state is State.CLOSED:
                pair.collect_events(ANSWERS)
                return taken
            pair.bob.session.receive_data(data[start : start + piece], pair.now)
            taken += len(data[start : start + piece])
    raise AssertionError("it never ends")


GIANT = bytes.fromhex("16 0301 4000 01 ffffff 0303") + bytes(16 * 1024 - 6)
"""A record full of the beginning of a ClientHello of 16 MiB; what follows it is not even looked into."""
EMPTY = bytes.fromhex("16 0301 0001 01")
"""One byte of a handshake in a record of its own."""
CHANGE = bytes.fromhex("14 0303 0001 01")
"""A ChangeCipherSpec, which TLS 1.3 has to overlook (RFC 8446 appendix D.4)."""


@pytest.mark.parametrize("data", [GIANT, EMPTY, CHANGE, bytes(1000)], ids=["giant", "crumbs", "change", "noise"])
def test_an_endless_handshake(data: bytes) -> None:
    pair = stuck(ANSWERS, State.HANDSHAKING)
    assert endless(pair, data) <= HANDSHAKE_BYTES + 997
    assert isinstance(pair.bob.failure, TLSFailed)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"<stream:stream xmlns='jabber:client' a='", b"x" * 500),
        (b"<stream:stream xmlns='jabber:client' ", b"a='1' "),
        (b"", b" " * 500),
        (b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>", b"\n" * 500),
    ],
    ids=["attribute", "attributes", "blanks", "after the header"],
)
def test_an_endless_greeting(start: bytes, more: bytes) -> None:
    """TLS is up, and the header, or white space around it, never ends: the session does, after what a greeting may take."""
    pair = stuck(ANSWERS, State.SECURED)
    bob = pair.bob.session
    assert GREETING.total_bytes is not None
    talk(bob)._reader = Reader()
    talk(bob)._reader.feed(start)
    said = 0
    while bob.state is not State.CLOSED:
        with bob._fail_on_error(pair.now):
            talk(bob).receive(more, pair.now)
        said += len(more)
        assert said <= GREETING.total_bytes + len(more)
    pair.collect_events(ANSWERS)
    assert isinstance(pair.bob.failure, StreamError)

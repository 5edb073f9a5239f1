"""Fast open: the first TLS flights travel in the signalling, and stanzas with the first data. Counted in one-way trips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.pair import Pair, config, has_code, identity, message, remembers
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded
from xmpp_e2e.errors import Code, JingleError, TLSFailed
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_e2e.states import State
from xmpp_e2e.tls import connection
from xmpp_e2e.types import Role

CHANGE_CIPHER_SPEC, APPLICATION_DATA = b"\x14", b"\x17"
"""The first byte of a record (RFC 8446 §5.1); the former is what a client says between its two flights (§D.4)."""
FLIGHT = f".//{{{NS_SECURITY}}}flight"


def actions(pair: Pair, role: Role) -> list[str | None]:
    return [element.get("action") for element in pair.side(role).jingle_sent]


def trips(pair: Pair, text: str = "first") -> int:
    """One-way trips until Bob can use Alice's first stanza, sent as soon as it may be.

    Everything that one side has to say at a time travels together; nothing that was caused by it travels before it arrives.
    """
    sent: list[str] = []

    def say() -> dict[Role, list[Element | bytes]]:
        cargo = {role: pair.collect(role) for role in Role}
        if not sent and pair.alice.session.state in (State.SENT_DONE_EARLY, State.DONE_SENT, State.OPEN):
            sent.append(text)
            pair.alice.session.send_stanza(message(text))
            cargo[Role.INITIATOR] += pair.collect(Role.INITIATOR)
        return cargo

    pair.alice.session.offer(pair.now)
    for count in range(1, 20):
        cargo = say()
        for role in Role:
            pair.arrive(role.other, cargo[role])
        for role in Role:
            pair.collect_events(role)
            while isinstance(pair.side(role).session.pending_prompt, AttemptStarted | AttemptSucceeded):
                pair.side(role).session.answer_prompt(b"", pair.now)
                pair.collect_events(role)
        if pair.bob.stanzas:
            return count
    raise AssertionError("the stanza never arrived")


def stripped(role: Role, element: Element) -> list[Element]:
    for security in element.iter(f"{{{NS_SECURITY}}}security"):
        for flight in security.findall(f"{{{NS_SECURITY}}}flight"):
            security.remove(flight)
    return [element]


TRIPS: dict[str, tuple[Callable[[], Pair], int]] = {
    "vouched": (Pair, 3),
    "known": (lambda: Pair(alice_remembers=remembers("bob")), 3),
    "without flights": (lambda: Pair(config("alice", fast_open=False)), 5),
    "a peer that ignores flights": (lambda: Pair(bob=config("bob", fast_open=False)), 5),
    "a known peer that ignores flights": (
        lambda: Pair(None, config("bob", fast_open=False), alice_remembers=remembers("bob")),
        5,
    ),
    "a server that strips flights": (lambda: Pair(on_jingle=stripped), 5),
    "a new key of a known peer": (lambda: Pair(alice_remembers=remembers("mallory")), 5),
}


@pytest.mark.parametrize(("between", "count"), TRIPS.values(), ids=TRIPS)
def test_trips(between: Callable[[], Pair], count: int) -> None:
    """Initiate, accept and first data are three. TLS on the bytestream costs two more, and so does waiting for a hello."""
    pair = between()
    assert trips(pair) == count
    assert pair.bob.stanzas == ["first"]


@pytest.mark.parametrize(("need", "count"), [(("psk",), 5), (("srp",), 7), (("psk", "srp"), 9)])
@pytest.mark.parametrize("needs", list(Role))
def test_proofs_take_two_trips_or_four(need: tuple[str, ...], count: int, needs: Role) -> None:
    """The first step travels with the hello, or right behind the peer's; what the responder needs costs no more."""
    secrets = {method: hashlib.sha256(method.encode()).digest() for method in ("psk", "srp")}
    alice, bob = (need if needs is role else () for role in Role)
    assert (
        trips(
            Pair(
                config("alice", shared_secrets=secrets, required_methods=alice),
                config("bob", shared_secrets=secrets, required_methods=bob),
            )
        )
        == count
    )


def test_flights_are_in_the_signalling() -> None:
    """The ClientHello is in the initiate and the whole answer in the accept; the bytestream begins with what follows."""
    pair = Pair().open()
    assert pair.alice.jingle_sent[0].find(FLIGHT) is not None
    assert pair.bob.jingle_sent[0].find(FLIGHT) is not None
    assert pair.alice.data_sent[:1] == CHANGE_CIPHER_SPEC
    assert pair.bob.data_sent[:1] == APPLICATION_DATA


def test_an_unasked_flight_is_refused() -> None:
    donor = Pair().open().bob.jingle_sent[0].find(FLIGHT)
    assert donor is not None

    def plant(role: Role, element: Element) -> list[Element]:
        if role is Role.RESPONDER:
            security = element.find(f".//{{{NS_SECURITY}}}security")
            if security is not None:
                security.append(donor)
        return [element]

    pair = Pair(config("alice", fast_open=False), on_jingle=plant).open()
    assert isinstance(pair.alice.failure, JingleError)
    assert pair.alice.failure.condition == "bad-request"
    assert "not asked for" in str(pair.alice.failure)
    assert pair.alice.session.state is State.CLOSED


def test_a_swapped_fingerprint_is_found_in_the_flight() -> None:
    """When the accept's fingerprint is not the certificate's in its flight, nothing of the initiator's ever leaves."""

    def swap(role: Role, element: Element) -> list[Element]:
        if role is Role.RESPONDER:
            for fingerprint in element.iter("{urn:xmpp:jingle:apps:dtls:0}fingerprint"):
                fingerprint.text = identity("mallory").certificate_digest.hex(":").upper()
        return [element]

    pair = Pair(on_jingle=swap).open()
    assert has_code(Code.FINGERPRINT_MISMATCH)(pair.alice.failure)
    assert not pair.alice.data_sent
    assert actions(pair, Role.INITIATOR)[-1] == "session-terminate"


@pytest.mark.parametrize("role", Role)
def test_an_altered_flight_fails(role: Role) -> None:
    def flip(sender: Role, element: Element) -> list[Element]:
        flight = element.find(FLIGHT)
        if sender is role and flight is not None and flight.text:
            flight.text = flight.text[:200] + ("B" if flight.text[200] == "A" else "A") + flight.text[201:]
        return [element]

    pair = Pair(on_jingle=flip).open()
    assert isinstance(pair.alice.failure, TLSFailed) or isinstance(pair.bob.failure, TLSFailed)
    assert not pair.alice.of(events.SessionOpened)
    assert not pair.bob.of(events.SessionOpened)


def test_another_group_costs_two_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A responder that wants another key exchange says so in its flight (HelloRetryRequest), and all goes on from there."""
    plain = connection._context

    def only_p256(role: Role, *terms: Any) -> SSL.Context:
        context = plain(role, *terms)
        if role is Role.RESPONDER:
            context.set_tmp_ecdh(ec.SECP256R1())
        return context

    monkeypatch.setattr(connection, "_context", only_p256)
    pair = Pair()
    assert trips(pair) == 5
    assert pair.alice.session.handshake_result is not None
    assert pair.alice.session.handshake_result.group in ("secp256r1", "prime256v1")


def test_a_flight_holds_nothing_from_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Application data in a flight would come before the responder knows who is there: refused, and none is used."""
    plain = connection.TLSConnection.receive

    def inside(self: connection.TLSConnection, data: bytes) -> bytes:
        return plain(self, data) + (b"early" if self.role is Role.INITIATOR else b"")

    monkeypatch.setattr(connection.TLSConnection, "receive", inside)
    pair = Pair().open()
    assert isinstance(pair.alice.failure, TLSFailed)
    assert "more than a handshake" in str(pair.alice.failure)
    assert actions(pair, Role.INITIATOR)[-1] == "session-terminate"

"""Two honest channels and a hostile wire between them: bytes altered, replayed, dropped, forged and without end."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pair import has_code
from tests.xmpp_e2e.tls.honest import ALICE, BOB, CREATED, channels, connected
from xmpp_e2e.errors import Code, TLSFailed
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import HANDSHAKE_BYTES, TLSConnection
from xmpp_e2e.types import Role

MALLORY = OwnKey.create(CREATED)


def flipped(data: bytes, place: float, bit: int, *, first: int = 0) -> bytes:
    """``data`` with one bit turned, at a fraction of its length after ``first``."""
    changed = bytearray(data)
    changed[first + int(place * (len(data) - first - 1))] ^= 1 << bit
    return bytes(changed)


def test_own_flight_reflected() -> None:
    """The initiator's own flight is no answer to it (attack 6)."""
    channel, _ = channels()
    with pytest.raises(TLSFailed):
        channel.receive(channel.data_to_send())
    assert channel.data_to_send()[:1] == b"\x15"


def test_own_answer_reflected() -> None:
    """The responder's own flight does not go on with its handshake."""
    initiator, responder = channels()
    responder.receive(initiator.data_to_send())
    with pytest.raises(TLSFailed):
        responder.receive(responder.data_to_send())


# --- late refusal (attack 19)


def test_initiator_learns_late_that_it_was_refused() -> None:
    """A TLS client is done before its certificate is judged: the responder's alert is raised by the next receive."""
    initiator, responder = TLSConnection(Role.INITIATOR, ALICE), TLSConnection(Role.RESPONDER, BOB)
    initiator.start()
    initiator.expect_certificate(BOB.certificate_digest)
    responder.expect_certificate(MALLORY.certificate_digest)
    responder.receive(initiator.data_to_send())
    initiator.receive(responder.data_to_send())
    assert initiator.handshake_result
    initiator.send(b"too trusting")
    with pytest.raises(TLSFailed, check=has_code(Code.FINGERPRINT_MISMATCH)):
        responder.receive(initiator.data_to_send())
    assert responder.handshake_result is None
    with pytest.raises(TLSFailed, match="alert"):
        initiator.receive(responder.data_to_send())


# --- bytes on the path (attacks 5, 18)


@given(st.integers(0, 2), st.floats(0, 1), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_flipped_bit_in_the_handshake(flight: int, place: float, bit: int) -> None:
    """No bit of a flight can be turned so that the handshake still succeeds on both sides."""
    initiator, responder = channels()
    with suppress(TLSFailed):
        for turn, (sender, receiver) in enumerate(((initiator, responder), (responder, initiator)) * 2):
            data = sender.data_to_send()
            # The header of the first record says only what the peers ignore (RFC 8446 §5.1), and the length.
            if turn == flight:
                data = flipped(data, place, bit, first=5)
            if data:
                receiver.receive(data)
    assert not (initiator.handshake_result and responder.handshake_result)


@given(st.floats(0, 1), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_flipped_bit_in_a_record(place: float, bit: int) -> None:
    """Of a record with one bit turned nothing comes out, header or not: an error, or a wait for more than will come."""
    initiator, responder = connected()
    initiator.send(b"words " * 100)
    try:
        assert responder.receive(flipped(initiator.data_to_send(), place, bit)) == b""
    except TLSFailed:
        return
    responder.receive(b"")
    assert responder.truncated


def sent(channel: TLSConnection, plaintext: bytes) -> bytes:
    channel.send(plaintext)
    return channel.data_to_send()


def test_nothing_of_a_bad_chunk_is_returned() -> None:
    initiator, responder = connected()
    good, bad = sent(initiator, b"good"), sent(initiator, b"bad")
    with pytest.raises(TLSFailed):
        responder.receive(good + flipped(bad, 1, 0))


def test_replayed_record() -> None:
    initiator, responder = connected()
    record = sent(initiator, b"pay 10")
    assert responder.receive(record) == b"pay 10"
    with pytest.raises(TLSFailed):
        responder.receive(record)


def test_dropped_or_reordered_record() -> None:
    initiator, responder = connected()
    sent(initiator, b"first")
    with pytest.raises(TLSFailed):
        responder.receive(sent(initiator, b"second"))


def test_record_of_another_connection() -> None:
    """A record of another connection of the same two is refused, and so is one of our own sent back."""
    initiator, responder = connected()
    with pytest.raises(TLSFailed):
        responder.receive(sent(connected()[0], b"elsewhere"))
    with pytest.raises(TLSFailed):
        initiator.receive(sent(initiator, b"to myself"))


def test_replayed_handshake() -> None:
    initiator, responder = channels()
    first = initiator.data_to_send()
    responder.receive(first)
    initiator.receive(responder.data_to_send())
    second = initiator.data_to_send()
    responder.receive(second)
    assert responder.handshake_result
    again = TLSConnection(Role.RESPONDER, BOB)
    again.expect_certificate(ALICE.certificate_digest)
    again.receive(first)
    with pytest.raises(TLSFailed):
        again.receive(second)


def test_forged_close() -> None:
    _, responder = connected()
    with pytest.raises(TLSFailed):
        responder.receive(bytes.fromhex("15 0303 0002 01 00"))
    assert not responder.peer_closed


@pytest.mark.parametrize("role", [Role.INITIATOR, Role.RESPONDER], ids=["initiator", "responder"])
@given(data=st.binary(min_size=1, max_size=2000), record=st.sampled_from([b"", b"\x14", b"\x15", b"\x16", b"\x17"]))
@settings(max_examples=60, deadline=None)
def test_any_bytes(role: Role, data: bytes, record: bytes) -> None:
    channel = channels()[role is Role.RESPONDER]
    if record:
        data = record + b"\x03\x03" + len(data).to_bytes(2, "big") + data
    with suppress(TLSFailed):
        assert channel.receive(data) == b""
    assert channel.handshake_result is None


# --- endless handshakes (attack 14)


def test_endless_client_hello() -> None:
    """A ClientHello that never ends is cut off after 64 KiB."""
    _, channel = channels()
    record = b"\x16\x03\x01\x40\x00"
    endless = record + b"\x01" + (130_000).to_bytes(3, "big") + bytes(0x4000 - 4) + 6 * (record + bytes(0x4000))
    for taken in range(0, HANDSHAKE_BYTES, 1024):
        assert channel.receive(endless[taken : taken + 1024]) == b""
    with pytest.raises(TLSFailed, match="finished no handshake"):
        channel.receive(endless[HANDSHAKE_BYTES : HANDSHAKE_BYTES + 1])

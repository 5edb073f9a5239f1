"""Two in-band bytestreams back to back over a scripted wire: whatever the timing, the same bytes arrive in order."""

from __future__ import annotations

from collections import deque
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmpp_e2e.errors import BytestreamFailed, LocalError
from xmpp_e2e.transport.ibb import CLOSE, DATA, HIGH_WATER, IBB, LAST_WINDOW, OPEN, RECEIVE_QUEUE, Receipt
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Role

PATTERN = bytes(range(251)) * 5000


class Side:
    """One bytestream and what a carrier keeps for it. A carrier is strict: it takes, then writes, in order."""

    def __init__(self, role: Role, block_size: int = 4096) -> None:
        self.ibb = IBB(role, "stream1", block_size)
        self.wire: deque[tuple[int, bytes]] = deque()
        self.unanswered: dict[Receipt, int] = {}
        self.answers: deque[int] = deque()
        self.sent: list[Element] = []
        self.got = b""
        self.in_flight = 0

    def write(self) -> None:
        """Put what may leave onto the wire, as XML."""
        for tag, payload in self.ibb.stanzas_to_send():
            self.in_flight += 1
            self.sent.append(payload)
            self.wire.append((tag, tostring(payload)))
        assert self.in_flight <= LAST_WINDOW

    def take(self, peer: Side) -> None:
        """Receive the next of the peer's stanzas, if one is on the wire, and write the answers that are due."""
        if peer.wire:
            tag, xml = peer.wire.popleft()
            self.unanswered[self.ibb.receive(fromstring(xml))] = tag
        self.answer()

    def answer(self) -> None:
        self.answers.extend(self.unanswered.pop(receipt) for receipt in self.ibb.acknowledgements_due())

    def learn(self, peer: Side, position: int = 0) -> None:
        """Let one of the peer's answers arrive."""
        if peer.answers:
            peer.answers.rotate(-(position % len(peer.answers)))
            self.ibb.acknowledged(peer.answers.popleft())
            self.in_flight -= 1

    def read(self) -> None:
        self.got += self.ibb.read()
        self.answer()


def settle(*sides: Side) -> None:
    """Run both carriers until nothing moves any more."""
    a, b = sides
    while True:
        for side in sides:
            side.write()
            side.read()
        if not any(side.wire or side.answers for side in sides):
            return
        for side, peer in ((a, b), (b, a)):
            while peer.wire:
                side.take(peer)
            while peer.answers:
                side.learn(peer)


def pair(block_size: int = 4096) -> tuple[Side, Side]:
    """An initiator that has opened, and a responder that does not know of it yet."""
    alice, bob = Side(Role.INITIATOR, block_size), Side(Role.RESPONDER, block_size)
    alice.ibb.open()
    return alice, bob


def tags(side: Side) -> list[str]:
    return [payload.tag for payload in side.sent]


# opening


def test_responder_waits_for_open() -> None:
    """A responder's output stays queued until the initiator's <open/> has come."""
    alice, bob = pair()
    bob.ibb.send(b"hello")
    bob.write()
    assert not bob.sent
    assert bob.ibb.backlog == 5
    settle(alice, bob)
    assert alice.got == b"hello"


def test_smaller_blocks_are_adopted() -> None:
    """An <open/> with smaller blocks than agreed binds the responder too."""
    alice, bob = Side(Role.INITIATOR, 512), Side(Role.RESPONDER, 4096)
    alice.ibb.open()
    bob.ibb.send(PATTERN[:1024])
    settle(alice, bob)
    assert len(bob.sent) == 2
    assert alice.got == PATTERN[:1024]


# delivery


@pytest.mark.parametrize("block_size", [MIN_BLOCK_SIZE, 4096, MAX_BLOCK_SIZE])
@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("blocks", [1, 3])
def test_block_boundaries(block_size: int, over: int, blocks: int) -> None:
    """Data of a whole number of blocks, one byte less and one more, is cut into as few blocks as it takes."""
    alice, bob = pair(block_size)
    size = blocks * block_size + over
    alice.ibb.send(PATTERN[:size])
    settle(alice, bob)
    assert tags(alice).count(DATA) == -(-size // block_size)
    assert bob.got == PATTERN[:size]


def test_small_writes_share_blocks() -> None:
    """What is queued in one turn leaves in one block, and an empty write in none."""
    alice, bob = pair()
    for piece in (b"one ", b"", b"two ", b"three"):
        alice.ibb.send(piece)
    settle(alice, bob)
    assert tags(alice) == [OPEN, DATA]
    assert bob.got == b"one two three"


def test_sequence_wraps() -> None:
    """After block 65535 comes block 0, in both directions (XEP-0047 §2.2)."""
    alice, bob = pair()
    expected = bytearray()
    for number in range(65_540):
        byte = bytes([number % 251])
        for side, peer in ((alice, bob), (bob, alice)):
            side.ibb.send(byte)
            for tag, payload in side.ibb.stanzas_to_send():
                peer.ibb.receive(payload)
                side.ibb.acknowledged(tag)
                assert payload.tag == OPEN or payload.get("seq") == str(number % 65_536)
            peer.ibb.acknowledgements_due()
            peer.got += peer.ibb.read()
        expected += byte
        if not number % 1000:
            assert alice.got == bob.got == bytes(expected)
    assert alice.got == bob.got == bytes(expected)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 1), st.integers(0, 40_000)),
        st.tuples(st.sampled_from(["write", "take", "learn", "read"]), st.integers(0, 1), st.integers(0, 40)),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(block_size=st.sampled_from([MIN_BLOCK_SIZE, 300, 4096, MAX_BLOCK_SIZE]), moves=moves)
def test_any_timing_delivers_the_same_bytes(block_size: int, moves: list[tuple[str, int, int]]) -> None:
    """Any chunking of sends, any delay of stanzas and any order of answers deliver the same bytes in order."""
    sides = pair(block_size)
    given_to = [b"", b""]
    for move, which, size in moves:
        side, peer = sides[which], sides[1 - which]
        if move == "send":
            start = len(given_to[which]) % 251
            given_to[which] += PATTERN[start : start + size]
            side.ibb.send(PATTERN[start : start + size])
        elif move == "write":
            side.write()
        elif move == "read":
            side.read()
        else:
            for number in range(size):
                side.take(peer) if move == "take" else side.learn(peer, number * size)
        for side, whole in zip(sides, reversed(given_to), strict=True):
            assert whole.startswith(side.got)
    settle(*sides)
    assert [side.got for side in reversed(sides)] == given_to
    assert all(side.ibb.drained and side.ibb.backlog == 0 for side in sides)


# back-pressure


@pytest.mark.parametrize("block_size", [MIN_BLOCK_SIZE, 4096, MAX_BLOCK_SIZE])
def test_unread_receiver_stops_the_sender(block_size: int) -> None:
    """A receiver that nobody reads stops the sender within two receive queues; nothing is lost when it is read again."""
    alice, bob = pair(block_size)
    alice.ibb.send(PATTERN)
    for _ in range(20_000):
        alice.write()
        bob.take(alice)
        alice.learn(bob)
    stalled = sum(len(payload.text or "") * 3 // 4 for payload in alice.sent)
    assert RECEIVE_QUEUE < stalled <= 2 * RECEIVE_QUEUE + len(alice.sent) * 2
    assert not alice.wire
    assert not bob.answers
    assert alice.ibb.backlog > len(PATTERN) - 2 * RECEIVE_QUEUE
    settle(alice, bob)
    assert bob.got == PATTERN


def test_acknowledgements_stop_beyond_the_queue() -> None:
    """Blocks are acknowledged while the unread bytes fit the receive queue; the next one's answer waits for a read."""
    alice, bob = pair()
    fits = RECEIVE_QUEUE // 4096
    alice.ibb.send(bytes(RECEIVE_QUEUE + 1))
    alice.write()
    for _ in range(1 + fits):
        bob.take(alice)
        alice.learn(bob)
        alice.write()
    assert not bob.unanswered
    bob.take(alice)
    assert len(bob.unanswered) == 1
    bob.read()
    assert not bob.unanswered


def test_acknowledgements_are_due_once() -> None:
    alice, bob = pair()
    alice.ibb.send(bytes(9000))
    receipts = [bob.ibb.receive(payload) for _, payload in alice.ibb.stanzas_to_send()]
    assert len(set(receipts)) == 4
    assert bob.ibb.acknowledgements_due() == receipts
    assert bob.ibb.acknowledgements_due() == []


# the end


def test_close_comes_last() -> None:
    """<close/> leaves after everything that was queued, and the bytestream is drained when it is answered."""
    alice, bob = pair()
    alice.ibb.send(PATTERN[:100_000])
    alice.ibb.close()
    alice.ibb.close()
    assert not alice.ibb.drained
    settle(alice, bob)
    assert tags(alice).index(CLOSE) == len(alice.sent) - 1
    assert alice.sent[-1].attrib == {"sid": "stream1"}
    assert bob.got == PATTERN[:100_000]
    assert bob.ibb.ended
    assert alice.ibb.ended
    assert alice.ibb.drained


def test_what_arrived_before_the_end_is_readable() -> None:
    """<close/> ends the bytestream behind the bytes that came before it."""
    alice, bob = pair()
    alice.ibb.send(b"last words")
    alice.ibb.close()
    alice.write()
    for _ in range(3):
        bob.take(alice)
    assert bob.ibb.ended
    assert bob.ibb.read() == b"last words"


@pytest.mark.parametrize("closing", [False, True])
def test_remaining_data_goes_before_the_answer_to_close(closing: bool) -> None:
    """What the other side had queued still leaves before it answers <close/>, with no <close/> of its own."""
    alice, bob = pair()
    settle(alice, bob)
    bob.ibb.send(PATTERN[:100_000])
    alice.ibb.close()
    alice.write()
    if closing:
        bob.ibb.close()
    bob.take(alice)
    assert not bob.answers
    assert bob.ibb.writable is not closing
    settle(alice, bob)
    assert alice.got == PATTERN[:100_000]
    assert CLOSE not in tags(bob)
    assert alice.ibb.drained
    assert bob.ibb.drained


def test_crossed_closes() -> None:
    alice, bob = pair()
    settle(alice, bob)
    for side in (alice, bob):
        side.ibb.send(b"farewell")
        side.ibb.close()
        side.write()
    settle(alice, bob)
    assert (alice.got, bob.got) == (b"farewell", b"farewell")
    assert all(side.ibb.drained and side.ibb.ended and side.ibb.failure is None for side in (alice, bob))


def test_nothing_is_sent_after_the_end() -> None:
    alice, bob = pair()
    alice.ibb.close()
    settle(alice, bob)
    for side in (alice, bob):
        assert not side.ibb.writable
        with pytest.raises(LocalError):
            side.ibb.send(b"too late")


def test_what_waits_is_dropped_by_a_failure() -> None:
    """After an error nothing that was queued leaves any more, and all that arrived may be answered."""
    alice, bob = pair()
    settle(alice, bob)
    bob.ibb.send(PATTERN)
    alice.ibb.send(PATTERN[: RECEIVE_QUEUE + 4096])
    for _ in range(40):
        alice.write()
        bob.take(alice)
        alice.learn(bob)
    assert bob.unanswered
    tag, _ = bob.ibb.stanzas_to_send()[0]
    with pytest.raises(BytestreamFailed):
        bob.ibb.failed(tag, "service-unavailable")
    assert (bob.ibb.backlog, bob.ibb.stanzas_to_send(), bob.ibb.drained) == (0, [], True)
    bob.answer()
    assert not bob.unanswered
    assert bob.ibb.read() == PATTERN[: RECEIVE_QUEUE + 4096]


def test_high_water_keeps_a_flight_ready() -> None:
    """A host that pauses at high water has always left more than one full flight in the queue."""
    assert HIGH_WATER >= 2 * RECEIVE_QUEUE

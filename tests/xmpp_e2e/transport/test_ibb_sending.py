"""One in-band bytestream alone: what it hands to its carrier, and what it makes of the answers."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from xmpp_e2e.errors import BytestreamFailed, LocalError
from xmpp_e2e.transport.ibb import (
    CLOSE,
    DATA,
    FIRST_WINDOW,
    IBB,
    LAST_WINDOW,
    OPEN,
    RECEIVE_QUEUE,
    sid_of,
)
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Role


def opened(block_size: int = 4096) -> IBB:
    ibb = IBB(Role.INITIATOR, "stream1", block_size)
    ibb.open()
    return ibb


def leaving(ibb: IBB) -> list[str]:
    return [payload.tag for _, payload in ibb.stanzas_to_send()]


# opening


def test_data_follows_open_at_once() -> None:
    """The initiator's first data leaves with the <open/>, without waiting for its answer."""
    ibb = opened()
    ibb.send(b"early")
    (_, opening), (_, block) = ibb.stanzas_to_send()
    assert (opening.tag, opening.attrib) == (OPEN, {"sid": "stream1", "block-size": "4096", "stanza": "iq"})
    assert (block.tag, block.attrib, block.text) == (DATA, {"sid": "stream1", "seq": "0"}, "ZWFybHk=")


def test_blocks_have_no_line_breaks() -> None:
    """The base64 of a full block is one line, since a strict reader refuses white space."""
    ibb = opened()
    ibb.send(bytes(4096))
    assert ibb.stanzas_to_send()[1][1].text == "A" * 5462 + "=="


def test_initiator_waits_for_its_own_open() -> None:
    ibb = IBB(Role.INITIATOR, "stream1", 4096)
    ibb.send(b"first")
    assert leaving(ibb) == []
    ibb.open()
    assert leaving(ibb) == [OPEN, DATA]


def test_open_is_for_the_initiator() -> None:
    with pytest.raises(LocalError):
        IBB(Role.RESPONDER, "s", 4096).open()


def test_open_is_for_once() -> None:
    """A second open() is refused, whether or not the first <open/> has left, and sends nothing."""
    ibb = opened()
    with pytest.raises(LocalError):
        ibb.open()
    assert leaving(ibb) == [OPEN]
    with pytest.raises(LocalError):
        ibb.open()
    assert leaving(ibb) == []


def test_a_dead_bytestream_is_not_opened() -> None:
    ibb = IBB(Role.INITIATOR, "s", 4096)
    with pytest.raises(BytestreamFailed):
        ibb.receive(Element(DATA, {"sid": "s", "seq": "0"}))
    with pytest.raises(LocalError):
        ibb.open()


@pytest.mark.parametrize("block_size", [MIN_BLOCK_SIZE - 1, MAX_BLOCK_SIZE + 1, 0, -1])
def test_block_size_is_bounded(block_size: int) -> None:
    with pytest.raises(LocalError):
        IBB(Role.INITIATOR, "s", block_size)


# window


def test_first_window() -> None:
    """At most twelve stanzas, the <open/> among them, leave before an answer comes."""
    ibb = opened()
    ibb.send(bytes(100_000))
    assert len(ibb.stanzas_to_send()) == FIRST_WINDOW == 12
    assert not ibb.stanzas_to_send()


def test_close_keeps_to_the_window() -> None:
    """<close/> waits for its place in the window as blocks do."""
    ibb = opened(MIN_BLOCK_SIZE)
    ibb.send(bytes(11 * MIN_BLOCK_SIZE))
    ibb.close()
    sent = ibb.stanzas_to_send()
    assert [payload.tag for _, payload in sent] == [OPEN] + [DATA] * 11
    ibb.acknowledged(sent[0][0])
    assert leaving(ibb) == [CLOSE]


def test_window_grows_slowly_and_stops() -> None:
    """The window grows by one for each full window of answers, up to its end, and no further."""
    ibb = opened(MIN_BLOCK_SIZE)
    ibb.send(bytes(2000 * MIN_BLOCK_SIZE))
    sizes = []
    outstanding = [tag for tag, _ in ibb.stanzas_to_send()]
    for _ in range(30):
        sizes.append(len(outstanding))
        for tag in outstanding[:]:
            ibb.acknowledged(tag)
            outstanding.remove(tag)
            outstanding += [tag for tag, _ in ibb.stanzas_to_send()]
    assert sizes == [min(FIRST_WINDOW + number, LAST_WINDOW) for number in range(30)]


def test_window_does_not_grow_without_need() -> None:
    """Answers that come while nothing waits for them say nothing about the path, and the window stays."""
    ibb = opened(MIN_BLOCK_SIZE)
    for _ in range(500):
        ibb.send(b"x")
        for tag, _ in ibb.stanzas_to_send():
            ibb.acknowledged(tag)
    ibb.send(bytes(100 * MIN_BLOCK_SIZE))
    assert len(ibb.stanzas_to_send()) == FIRST_WINDOW


def test_window_does_not_grow_for_its_last_stanza() -> None:
    """A full window with nothing waiting behind it is no reason to grow."""
    ibb = opened(MIN_BLOCK_SIZE)
    ibb.send(bytes((FIRST_WINDOW - 1) * MIN_BLOCK_SIZE))
    for _ in range(5):
        for tag, _ in ibb.stanzas_to_send():
            ibb.acknowledged(tag)
        ibb.send(bytes(FIRST_WINDOW * MIN_BLOCK_SIZE))
    ibb.send(bytes(100 * MIN_BLOCK_SIZE))
    assert len(ibb.stanzas_to_send()) == FIRST_WINDOW


def test_window_does_not_grow_beyond_its_bytes() -> None:
    """Where bytes are what holds blocks up, the window stays one above their number."""
    ibb = opened(MAX_BLOCK_SIZE)
    ibb.send(bytes(200 * MAX_BLOCK_SIZE))
    outstanding: list[int] = []
    for _ in range(201):
        outstanding += [tag for tag, _ in ibb.stanzas_to_send()]
        ibb.acknowledged(outstanding.pop(0))
    assert ibb.drained
    stanzas = 0
    for _ in range(100):
        ibb.send(b"x")
        stanzas += len(ibb.stanzas_to_send())
    assert stanzas == RECEIVE_QUEUE // MAX_BLOCK_SIZE + 1


def test_window_is_bounded_in_bytes_too() -> None:
    """No more than a receive queue of bytes is on its way, however many blocks the window would allow."""
    ibb = opened(MAX_BLOCK_SIZE)
    ibb.send(bytes(100 * RECEIVE_QUEUE))
    outstanding: list[tuple[int, int]] = []
    most = 0
    for _ in range(500):
        outstanding += [(tag, len(payload.text or "") * 3 // 4) for tag, payload in ibb.stanzas_to_send()]
        most = max(most, sum(size - size % MAX_BLOCK_SIZE for _, size in outstanding))
        ibb.acknowledged(outstanding.pop(0)[0])
    assert most == RECEIVE_QUEUE


def test_backlog_counts_what_is_unacknowledged() -> None:
    """The backlog falls with the answers, not with the sending."""
    ibb = opened()
    ibb.send(bytes(5000))
    sent = ibb.stanzas_to_send()
    assert ibb.backlog == 5000
    backlogs = []
    for tag, _ in sent:
        ibb.acknowledged(tag)
        backlogs.append(ibb.backlog)
    assert backlogs == [5000, 904, 0]


def test_an_answer_counts_once() -> None:
    """A second answer with the same tag, or one with a tag that was never given, changes nothing."""
    ibb = opened()
    ibb.send(bytes(5000))
    sent = ibb.stanzas_to_send()
    for tag in (sent[1][0], sent[1][0], 99):
        ibb.acknowledged(tag)
    assert ibb.backlog == 904
    ibb.failed(sent[1][0], "item-not-found")
    assert ibb.failure is None
    full = opened(MIN_BLOCK_SIZE)
    full.send(bytes(100 * MIN_BLOCK_SIZE))
    [(tag, _), *_] = full.stanzas_to_send()
    for _ in range(100):
        full.acknowledged(tag)
    assert len(full.stanzas_to_send()) == 1


# the end


def test_close_is_drained_only_when_answered() -> None:
    """A <close/> that has not left, or is not answered, leaves the bytestream undrained and open for the peer."""
    ibb = opened()
    assert not ibb.drained
    [(tag, _)] = ibb.stanzas_to_send()
    assert not ibb.drained
    ibb.acknowledged(tag)
    assert ibb.drained
    ibb.close()
    assert not ibb.drained
    [(tag, _)] = ibb.stanzas_to_send()
    assert not ibb.drained
    assert not ibb.ended
    ibb.acknowledged(tag)
    assert ibb.drained
    assert ibb.ended


def test_close_leaves_once() -> None:
    """However often it is called, close() sends one <close/>, and refuses what is sent after it."""
    ibb = opened()
    ibb.close()
    ibb.close()
    assert leaving(ibb) == [OPEN, CLOSE]
    ibb.close()
    assert leaving(ibb) == []
    assert not ibb.writable
    with pytest.raises(LocalError):
        ibb.send(b"too late")


def test_what_was_never_open_is_closed_in_silence() -> None:
    """Closing a bytestream that nobody opened sends nothing and leaves nothing to be sent."""
    ibb = IBB(Role.RESPONDER, "s", 4096)
    ibb.close()
    assert ibb.drained
    assert leaving(ibb) == []


def test_an_unknown_bytestream_is_closed() -> None:
    """A peer that no longer knows the bytestream which we are closing has closed it (XEP-0047 §2.3)."""
    ibb = opened()
    ibb.close()
    (first, _), (last, _) = ibb.stanzas_to_send()
    ibb.acknowledged(first)
    ibb.failed(last, "item-not-found")
    assert ibb.failure is None
    assert ibb.drained
    assert ibb.ended


@pytest.mark.parametrize(
    ("which", "condition"),
    [
        (0, "not-acceptable"),
        (0, "item-not-found"),
        (1, "item-not-found"),
        (1, "recipient-unavailable"),
        (1, "resource-constraint"),
        (2, "remote-server-timeout"),
    ],
)
def test_any_error_ends_the_bytestream(which: int, condition: str) -> None:
    """An error in answer to <open/>, a block or <close/> is the end, those of type wait too, and is told once."""
    ibb = opened()
    ibb.send(b"block")
    ibb.close()
    sent = ibb.stanzas_to_send()
    with pytest.raises(BytestreamFailed, match=condition) as caught:
        ibb.failed(sent[which][0], condition)
    assert ibb.failure is caught.value
    assert caught.value.jingle_reason == "failed-transport"
    for tag, _ in sent:
        ibb.failed(tag, condition)
        ibb.acknowledged(tag)
    assert ibb.failure is caught.value
    assert ibb.ended
    assert ibb.drained
    assert ibb.backlog == 0
    assert leaving(ibb) == []


@pytest.mark.parametrize("closing", [False, True])
def test_nothing_leaves_after_an_error(closing: bool) -> None:
    """What waited for the window is dropped by an error, a <close/> too, and more is refused."""
    ibb = opened()
    ibb.send(bytes(200_000))
    if closing:
        ibb.close()
    [(tag, _), *_] = ibb.stanzas_to_send()
    with pytest.raises(BytestreamFailed):
        ibb.failed(tag, "service-unavailable")
    assert (ibb.backlog, ibb.drained, ibb.writable, leaving(ibb)) == (0, True, False, [])
    with pytest.raises(LocalError):
        ibb.send(b"too late")


def test_an_error_before_open_left() -> None:
    """A bytestream that fails between open() and its <open/> never sends it, and has nothing left to send."""
    ibb = opened()
    with pytest.raises(BytestreamFailed):
        ibb.receive(Element(DATA, {"sid": "stream1", "seq": "0"}))
    assert leaving(ibb) == []
    assert ibb.drained


# routing


@pytest.mark.parametrize(
    ("xml", "sid"),
    [
        ("<open xmlns='http://jabber.org/protocol/ibb' sid='a' block-size='4096'/>", "a"),
        ("<data xmlns='http://jabber.org/protocol/ibb' sid='b' seq='0'>AAAA</data>", "b"),
        ("<close xmlns='http://jabber.org/protocol/ibb' sid='c'/>", "c"),
        ("<close xmlns='http://jabber.org/protocol/ibb'/>", None),
        ("<other xmlns='http://jabber.org/protocol/ibb' sid='d'/>", None),
        ("<data xmlns='urn:other' sid='e' seq='0'/>", None),
        ("<data sid='f' seq='0'/>", None),
    ],
)
def test_routing(xml: str, sid: str | None) -> None:
    """The host finds the bytestream of each of the three elements, and of nothing else."""
    assert sid_of(fromstring(xml)) == sid

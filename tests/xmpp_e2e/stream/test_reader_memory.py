"""What a reader says that it holds is at least what Python says that it holds; and between stanzas it holds little."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from xmpp_e2e.stream.reader import OPEN, Reader

HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
    b" from='a@a.test/a' to='b@b.test/b'>"
)
SIZE = 100_000
LONG = b"n" * 250
IDLE = 200_000
"""Bytes of memory that an idle reader may hold."""

UNFINISHED: dict[str, bytes] = {
    "text": b"<body>" + b"x" * SIZE,
    "wide text": "<body>\U0001f600".encode() + b"x" * SIZE + b"<a/>",
    "elements": b"<a/>" * (SIZE // 4),
    "text between": b"<a/>x" * (SIZE // 5),
    "nested": b"<a><b/></a>" * (SIZE // 11),
    "attributes": b"<a b=''/>" * (SIZE // 9),
    "six attributes": b"<a b='' c='' d='' e='' f='' g=''/>" * (SIZE // 34),
    "new attributes": b"".join(b"<a a%x=''/>" % n for n in range(SIZE // 13)),
    "names": b"".join(b"<a%x/>" % n for n in range(SIZE // 8)),
    "namespaces": b"".join(b"<a xmlns='%x'/>" % n for n in range(SIZE // 18)),
    "long names": b"<q xmlns='" + LONG + b"'>" + b"".join(b"<a%x/>" % n for n in range(SIZE // 8)),
    "long attributes": b"<q xmlns:p='" + LONG + b"'>" + b"".join(b"<a p:a%x=''/>" % n for n in range(SIZE // 15)),
}
NAMES: dict[str, bytes] = {
    "names": b"<message><a%x/></message>",
    "attributes": b"<message a%x=''/>",
    "long names": b"<message><q xmlns='" + LONG + b"'><a%x/></q></message>",
    "long attributes": b"<message xmlns:p='" + LONG + b"'>" + b"<a p:a%x='' p:b='' p:c=''/>" + b"</message>",
}


def held(reader: Reader, data: bytes) -> int:
    """Bytes of memory by which a reader grows when it reads ``data``."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, len(data), 4096):
            reader.feed(data[start : start + 4096])
            while reader.next_event() is not None:
                pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def opened() -> Reader:
    reader = Reader(OPEN)
    reader.feed(HEADER)
    assert reader.next_event() is not None
    return reader


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_unfinished_stanza(data: bytes) -> None:
    reader = opened()
    assert reader.memory == 0
    found = held(reader, b"<message>" + data)
    assert found - IDLE <= reader.memory <= 5 * found + IDLE


@pytest.mark.parametrize("stanza", NAMES.values(), ids=NAMES.keys())
def test_between_stanzas(stanza: bytes) -> None:
    """Whatever names it has read."""
    reader = opened()
    data = b"".join(stanza % number for number in range(SIZE // len(stanza)))
    assert held(reader, data) < IDLE
    assert reader.memory == 0


def test_a_finished_stanza() -> None:
    """Its memory is told with it."""
    reader = opened()
    reader.feed(b"<message>" + b"<a b=''/>" * 1000 + b"</message><presence/>")
    reader.next_event()
    assert 300_000 < reader.element_memory < 600_000
    reader.next_event()
    assert reader.element_memory < 1000

"""The reader and the serialiser of the loopback server."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, canonicalize, fromstring, tostring

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.deferral import defer
from xmpp_loopback.wire import DEPTH_LIMIT, Closed, Opened, Received, StreamReader, Violated, parse, to_text

HEADER = b"<?xml version='1.0'?><stream:stream to='e' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
STANZAS = [
    "<presence/>",
    "<presence></presence>",
    "<message to='b'><body>a &amp; b &gt; c</body></message>",
    "<message><active xmlns='urn:a'/></message>",
    "<iq type='get' id=\"1\"><q:query xmlns:q='urn:q' q:a='/>'>é\U0001f512 <![CDATA[</message>]]></q:query></iq>",
    "<message>/></message>",
    "<message  xml:lang='en' ><a/><a></a>text<b/></message >",
]

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
names = st.sampled_from(["a", "b", "c"])
spaces = st.sampled_from(["", "{jabber:client}", "{urn:x}", "{urn:y&\"'<>}"])


@pytest.fixture(autouse=True, scope="module")
def deferring() -> Iterator[None]:
    """Nothing here waits for more than it needs, though the parser would."""
    with defer():
        yield


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> Element:
    keys = st.one_of(names, names.map("{urn:x}".__add__), st.just("{http://www.w3.org/XML/1998/namespace}lang"))
    values = st.text(st.characters(codec="utf-8", include_characters="\t\n\r", categories=["L", "P", "S"]), max_size=8)
    element = Element(draw(spaces) + draw(names), draw(st.dictionaries(keys, values, max_size=3)))
    element.text = draw(st.one_of(st.none(), texts, st.just("\r\n\t ")))
    for child in draw(st.lists(elements(depth - 1), max_size=3)) if depth else []:
        child.tail = draw(st.one_of(st.none(), texts))
        element.append(child)
    return element


def stanzas(data: bytes) -> list[str]:
    return [event.text for event in StreamReader().feed(HEADER + data) if isinstance(event, Received)]


def test_each_stanza_keeps_its_exact_text() -> None:
    assert stanzas("\n ".join(STANZAS).encode()) == STANZAS


@given(st.lists(st.integers(1, 40), min_size=1))
@example([1])
def test_the_cut_does_not_depend_on_how_tcp_splits(sizes: list[int]) -> None:
    data = HEADER + "".join(STANZAS).encode() + b"</stream:stream>"
    reader, events, start = StreamReader(), [], 0
    while start < len(data):
        size = sizes[start % len(sizes)]
        events += reader.feed(data[start : start + size])
        start += size
    assert isinstance(events[0], Opened)
    assert [event.text for event in events[1:-1] if isinstance(event, Received)] == STANZAS
    assert isinstance(events[-1], Closed)


def test_the_header_is_read() -> None:
    assert StreamReader().feed(HEADER) == [Opened({"to": "e"})]


@given(elements())
def test_what_is_written_reads_the_same(element: Element) -> None:
    there = parse(to_text(element))
    assert canonicalize(tostring(there)) == canonicalize(tostring(element))


def test_the_serialiser_writes_no_prefixes() -> None:
    stanza = fromstring("<message xmlns='jabber:client' to='b'><x xmlns='urn:x'><y/></x><body>hi</body></message>")
    assert to_text(stanza) == '<message to="b"><x xmlns="urn:x"><y/></x><body>hi</body></message>'


@pytest.mark.parametrize("text", ["", "a", "<a/><b/>", "<a>", "<a/></stream:stream>", "<a></b>"])
def test_only_one_whole_element_parses(text: str) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        parse(text)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<message><!-- a --></message>", "restricted-xml"),
        (b"<message><?a b?></message>", "restricted-xml"),
        (b"<message></iq>", "not-well-formed"),
        (b"<message>&a;</message>", "not-well-formed"),
        (b"<message>\xff</message>", "not-well-formed"),
        (b"words", "bad-format"),
        (b"<a>" * DEPTH_LIMIT, "policy-violation"),
    ],
)
def test_a_violation_ends_the_stream(data: bytes, condition: str) -> None:
    """What RFC 6120 forbids is named, after the stanzas before it, and nothing follows it."""
    reader = StreamReader()
    events = reader.feed(HEADER + b"<presence/>" + data)
    assert isinstance(events[1], Received)
    assert events[2:] == [Violated(condition)]
    assert reader.feed(b"<presence/>") == []


@pytest.mark.parametrize(
    ("header", "condition"),
    [
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "restricted-xml"),
        (b"<stream:stream xmlns:stream='urn:wrong'>", "invalid-namespace"),
        (b"<a>", "bad-format"),
    ],
)
def test_a_wrong_header_ends_the_stream(header: bytes, condition: str) -> None:
    assert StreamReader().feed(header) == [Violated(condition)]


@pytest.mark.parametrize("piece", [10, 400])
def test_a_stanza_over_the_limit_ends_the_stream(piece: int) -> None:
    reader = StreamReader(limit=300)
    assert len(reader.feed(HEADER)) == 1
    stanza = b"<message>" + b"x" * 400
    if piece == 400:
        stanza += b"</message>"
    events = [event for at in range(0, len(stanza), piece) for event in reader.feed(stanza[at : at + piece])]
    assert events == [Violated("policy-violation")]


def test_a_stanza_of_just_the_limit_passes() -> None:
    stanza = b"<message>" + b"x" * 281 + b"</message>"
    reader = StreamReader(limit=300)
    reader.feed(HEADER)
    assert [type(event) for event in reader.feed(stanza)] == [Received]
    assert reader.feed(stanza.replace(b"xx", b"xxx", 1)) == [Violated("policy-violation")]


def test_white_space_between_stanzas_is_not_kept() -> None:
    """Keep-alives cost nothing, however many they are."""
    reader = StreamReader(limit=300)
    reader.feed(HEADER + b"<presence/>")
    for _ in range(100):
        assert reader.feed(b" \n" * 10) == []
    assert [type(event) for event in reader.feed(b"<presence/>")] == [Received]

"""The inner stream is read exactly, however it was cut, and within bounds (RFC 6120 §4, §11)."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from unittest import mock
from xml.etree.ElementTree import Element, tostring

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.deferral import defer
from xmpp_e2e.errors import StreamError
from xmpp_e2e.stream import MAX_ATTRIBUTES, MAX_DEPTH, MAX_NAME, MAX_NAMESPACE, MAX_TAG, reader
from xmpp_e2e.stream.reader import GREETING, OPEN, End, Header, Reader, ReaderLimits, StreamItem

HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='a@x.example/1' to='b@y.example/2' version='1.0'>"
)
HELLO = b"<hello xmlns='urn:x-test'/>"
ROOMY = ReaderLimits(depth=MAX_DEPTH, stanza_bytes=400)
Outcome = tuple[list[Any], str | None]


@pytest.fixture(autouse=True, scope="module")
def deferring() -> Iterator[None]:
    """Nothing here waits for more than it needs, though the parser would."""
    with defer():
        yield


def outcome(pieces: Iterable[bytes], limits: ReaderLimits = OPEN, relaxed: ReaderLimits | None = None) -> Outcome:
    """What comes out of ``pieces``, and the condition of the breach if any; ``relaxed`` from the first element on."""
    under_test = Reader(limits)
    seen: list[Any] = []
    try:
        for piece in pieces:
            under_test.feed(piece)
            while (event := under_test.next_event()) is not None:
                if isinstance(event, Element):
                    assert event.tail is None
                    if relaxed:
                        under_test.raise_limits(relaxed)
                seen.append(tostring(event) if isinstance(event, Element) else event)
    except StreamError as error:
        return seen, error.condition
    return seen, None


def drip(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def condition(data: bytes, limits: ReaderLimits = OPEN) -> str | None:
    """The condition that ``data`` ends with, the same whole and byte by byte."""
    whole = outcome([data], limits)
    assert outcome(drip(data), limits) == whole
    return whole[1]


def events(data: bytes, limits: ReaderLimits = OPEN) -> list[StreamItem]:
    under_test = Reader(limits)
    under_test.feed(data)
    return list(iter(under_test.next_event, None))


def the_element(data: bytes) -> Element:
    _, element = events(HEADER + data)
    assert isinstance(element, Element)
    return element


# --- what gets through -----------------------------------------------------------------------------------------------


def test_header() -> None:
    """The header's addresses, version and id are returned; attributes that are unknown are ignored."""
    plain = Header("a@x.example/1", "b@y.example/2", "1.0")
    assert events(HEADER) == [plain]
    assert events(HEADER.replace(b"version", b"id='7' other='x' xml:lang='en' version")) == [
        Header(plain.from_, plain.to, "1.0", "7")
    ]
    assert condition(HEADER.replace(b"1.0", b"1.12")) is None


def test_element_is_exact() -> None:
    message = the_element(
        b"<message to='b' xml:lang='de' p:q='1' xmlns:p='urn:p'>a<body>&lt;&#x1F600;\r\n</body>b"
        b"<x xmlns='urn:x'><y/><![CDATA[<&]]></x><plain xmlns=''/>c</message>"
    )
    body, x, plain = message
    assert message.tag == "{jabber:client}message"
    assert message.attrib == {"to": "b", "{http://www.w3.org/XML/1998/namespace}lang": "de", "{urn:p}q": "1"}
    assert (message.text, body.tail, x.tail, plain.tail) == ("a", "b", None, "c")
    assert (body.tag, body.text) == ("{jabber:client}body", "<\U0001f600\n")
    assert (x.tag, x.text, x[0].tag, x[0].tail, plain.tag) == ("{urn:x}x", None, "{urn:x}y", "<&", "plain")


def test_no_text_is_none() -> None:
    """As ElementTree has it: an empty text and none are not the same for everybody."""
    for data in (b"<a/>", b"<a><b/><c></c></a>", b"<a><![CDATA[]]><b/></a>"):
        assert {(element.text, element.tail) for element in the_element(data).iter()} == {(None, None)}


def test_long_text_is_one_text() -> None:
    """Text that is longer than any buffer of expat's arrives whole."""
    assert the_element(b"<a>" + "é".encode() * 50_000 + b"</a>").text == "é" * 50_000


def test_multibyte_characters_may_be_cut() -> None:
    seen, breach = outcome(drip(HEADER + "<é>\U0001f468\u200d\U0001f680</é>".encode()))
    assert seen[1] == tostring(the_element("<é>\U0001f468\u200d\U0001f680</é>".encode()))
    assert breach is None


def test_end() -> None:
    under_test = Reader(OPEN)
    under_test.feed(HEADER + b"<a/>")
    assert len(list(iter(under_test.next_event, None))) == 2
    assert not under_test.closed
    under_test.feed(b" </stream:stream> \r\n")
    assert under_test.next_event() == End()
    assert under_test.next_event() is None
    assert under_test.closed


def test_white_space_between_stanzas_is_free() -> None:
    """Keepalives do not add up to a stanza."""
    seen, breach = outcome([HEADER, *[b" \n\t\r\n" * 10] * 50, b"<a/>"], ROOMY)
    assert len(seen) == 2
    assert breach is None


def test_other_prefix_for_the_stream() -> None:
    """The stream namespace may have any prefix."""
    data = HEADER.replace(b"stream:", b"s:").replace(b":stream=", b":s=") + b"<a/></s:stream>"
    assert [type(event) for event in events(data)] == [Header, Element, End]


# --- what does not ---------------------------------------------------------------------------------------------------


BREACHES = {
    "restricted-xml": [
        *(b"<?xml version='1.0'?>" + HEADER, b"<!DOCTYPE a>" + HEADER),
        *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + HEADER + b"<a>&b;</a>", b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + HEADER),
        *(b"<!-- -->" + HEADER, b"<?a b?>" + HEADER, HEADER + b"<!-- -->", HEADER + b"<a><!-- --></a>"),
        *(HEADER + b"<a><?a b?></a>", HEADER + b"</stream:stream><!-- -->", HEADER + b"<a>&nbsp;</a>"),
        *(HEADER + b"<a b='&nbsp;'/>", HEADER + b"&nbsp;"),
    ],
    "not-well-formed": [
        *(HEADER + b"<a><!DOCTYPE a></a>", HEADER + b"<a></b>", HEADER + b"<a b='' b=''/>", HEADER + b"<a b='<'/>"),
        *(HEADER + b"<a>]]></a>", HEADER + b"<a>\x00</a>", HEADER + b"<a>&#0;</a>", HEADER + b"<a>&#xD800;</a>"),
        *(HEADER + b"<a>&#xFFFE;</a>", HEADER + b"<a>\xff</a>", HEADER + b"<a>\xc0\x80</a>", HEADER + b"<a>\xc3</a>"),
        *(HEADER + b"<a>\xed\xa0\x80</a>", HEADER + b"<a>\xf4\x90\x80\x80</a>", HEADER + b"</stream:stream><a/>"),
        *(HEADER + b"</stream:stream>]]>", b"]]>" + HEADER, b"<!DOCTYPE ]]>" + HEADER, b"<a ]]>" + HEADER),
        *(HEADER + b"</stream:stream>x", HEADER + b"</stream:stream>" + HEADER, b"x" + HEADER, HEADER + b"<a>]]>"),
        HEADER + b"<a]]>",
    ],
    "bad-namespace-prefix": [*(HEADER + b"<x:a/>", HEADER + b"<a x:b=''/>")],
    "bad-format": [
        *(HEADER + b"x<a/>", HEADER + b"x", HEADER + b"\xc2\xa0", HEADER + b"<a/>x</stream:stream>", HEADER + b"x&nbsp;"),
        *(HEADER + b"x<!-- -->", HEADER + b"<![CDATA[x]]>", HEADER + b"]]>", HEADER + b"x]]>", HEADER + b"<a/> ]]]>"),
        HEADER.replace(b"<stream:stream", b"<stream:features"),
    ],
    "unsupported-stanza-type": [*(HEADER + HEADER, HEADER + b"<a/>" + HEADER)],
    "invalid-namespace": [
        *(HEADER.replace(b"<stream:stream", b"<stream"), HEADER.replace(b"jabber:client", b"jabber:server")),
        *(HEADER.replace(b"xmlns=", b"xmlns:c="), HEADER.replace(b"org/streams", b"org/stream")),
    ],
    "invalid-from": [*(HEADER.replace(b" from=", b" x="), HEADER.replace(b" to=", b" x="))],
    "unsupported-version": [
        *(HEADER.replace(b" version=", b" x="), HEADER.replace(b"1.0", b"2.0"), HEADER.replace(b"1.0", b"1.0a"))
    ],
}


@pytest.mark.parametrize(("data", "expected"), [(data, expected) for expected in BREACHES for data in BREACHES[expected]])
def test_breach(data: bytes, expected: str) -> None:
    assert condition(data) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037"])
def test_only_utf_8(encoding: str) -> None:
    """No other encoding gets through, and no byte order mark."""
    data = HEADER.decode().encode(encoding) if encoding != "utf-7" else HEADER.replace(b"<", b"+ADw-")
    assert condition(data) == "not-well-formed"


def test_entities_are_not_expanded() -> None:
    """A billion laughs is refused at its first line, also when it comes in one piece."""
    laughs = b"".join(b"<!ENTITY %c '%s'>" % (98 + step, b"&%c;" % (97 + step) * 10) for step in range(9))
    seen, breach = outcome([b"<!DOCTYPE a [<!ENTITY a 'ha'>" + laughs + b"]>" + HEADER + b"<a>&j;</a>"])
    assert (seen, breach) == ([], "restricted-xml")


def test_what_came_before_the_breach_is_returned() -> None:
    """Events before a breach are returned first; after it the same error is raised at every call."""
    under_test = Reader(OPEN)
    under_test.feed(HEADER + b"<a/><b></c>")
    assert isinstance(under_test.next_event(), Header)
    assert isinstance(under_test.next_event(), Element)
    for _ in range(2):
        with pytest.raises(StreamError, match="mismatched tag"):
            under_test.next_event()
        under_test.feed(b"<d/>")


# --- bounds ----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


@pytest.mark.parametrize(("limits", "depth"), [(OPEN, 64), (GREETING, 8), (ReaderLimits(100, 10_000), MAX_DEPTH)])
def test_depth(limits: ReaderLimits, depth: int) -> None:
    """The documented depth is read, one more is a violation, and so it is before the element is complete."""
    assert condition(HEADER + nested(depth), limits) is None
    assert condition(HEADER + nested(depth + 1), limits) == "policy-violation"
    assert condition(HEADER + b"<a>" * (depth + 1), limits) == "policy-violation"
    assert condition(HEADER + b"<a>" * (depth + 1) + b"<<", limits) == "policy-violation"


def test_depth_begins_anew() -> None:
    assert condition(HEADER + nested(8) * 3, GREETING) is None


def test_what_is_shallow_behind_the_depth() -> None:
    """The deepest place of an element counts, not the last."""
    assert condition(HEADER + b"<a>" + nested(8) + b"<b/></a>", GREETING) == "policy-violation"


@pytest.mark.parametrize("stanza", [b"<a b='%s'/>", b"<a>%s</a>", b"<a>%s<b/></a>", b"<%s/>"])
def test_stanza_bytes(stanza: bytes) -> None:
    """A stanza of exactly the limit is read, white space before it aside; one byte more is a violation."""
    room = ROOMY.stanza_bytes - len(stanza) + 2
    if stanza == b"<%s/>":
        stanza, room = b"<n%s/>", room - 1
    filling = b"x" * room if b"n" not in stanza else b" " * room
    for before in (HEADER, HEADER + b"<a/>", HEADER + b" \n" * 300):
        assert condition(before + stanza % filling + b"<a/>", ROOMY) is None
        assert condition(before + stanza % (filling + filling[:1]), ROOMY) == "policy-violation"


@pytest.mark.parametrize("renewal", [1, 10**9])
def test_size(renewal: int) -> None:
    """Each element is told with its size, up to its closing tag, however it came and whatever is around it."""
    stanzas = [b"<a/>", b"<a  b='>' />", b"<a>%s</a>", b"<a>" + "é".encode() * 9 + b"<b/>&lt;</a>", b"<a></a>"]
    data = HEADER + b" \n".join(stanzas) + b"</stream:stream>"
    for pieces in ([data], drip(data)):
        under_test, sizes = Reader(OPEN), []
        with mock.patch.object(reader, "RENEWAL_BYTES", renewal):
            for piece in pieces:
                under_test.feed(piece)
                while (event := under_test.next_event()) is not None:
                    sizes += [under_test.size] * isinstance(event, Element)
        assert sizes == [len(stanza.removesuffix(b"</a>")) for stanza in stanzas]


def test_open_stream_takes_stanzas_of_256_kib() -> None:
    stanza = b"<a>" + b"x" * (262_144 - 7) + b"</a>"
    assert outcome([HEADER + stanza + stanza])[1] is None
    assert outcome([HEADER + stanza.replace(b"</a>", b"x</a>")])[1] == "policy-violation"


@pytest.mark.parametrize("beginning", [b"<a b='", b"<a>", b"<a><![CDATA[", b"<!--", b"<a>&", b"<a ", b"<", b"<?x ", b"<a></a "])
def test_endless_token(beginning: bytes) -> None:
    """What never ends is a violation as soon as it exceeds the limit."""
    endless = b" " if beginning.endswith(b" ") else b"x"
    room = ROOMY.stanza_bytes - len(beginning)
    assert condition(HEADER + beginning + endless * room, ROOMY) is None
    assert condition(HEADER + beginning + endless * (room + 1), ROOMY) == "policy-violation"


def test_tag() -> None:
    """A tag of 16 KiB is read with its last byte, also when it trickles in; one byte more is a violation."""
    data = b"<a b='" + b">" * (MAX_TAG - 9) + b"'/>"
    for around in (b"%s", b"<a>%s</a>"):
        stanza = HEADER + around % data
        assert outcome([stanza[at : at + 64] for at in range(0, len(stanza), 64)]) == outcome([stanza])
        assert outcome([stanza])[1] is None
        assert outcome([stanza.replace(b">>", b">>>", 1)])[1] == "policy-violation"
    assert len(outcome(drip(HEADER + data))[0]) == 2
    assert len(outcome(drip(HEADER + data[:-1]))[0]) == 1


def test_giant_attribute_in_small_pieces() -> None:
    """An attribute of 256 KiB that trickles in is refused long before its end, so it cannot keep expat busy."""
    under_test = Reader(OPEN)
    under_test.feed(HEADER + b"<a b='")
    assert isinstance(under_test.next_event(), Header)
    for _ in range(16 - 1):
        under_test.feed(b"x" * 1024)
        assert under_test.next_event() is None
    under_test.feed(b"x" * 1024)
    with pytest.raises(StreamError, match="a tag of more than 16384 bytes"):
        under_test.next_event()


@pytest.mark.parametrize("limits", [GREETING, ReaderLimits(depth=8, stanza_bytes=400, total_bytes=2000)])
def test_total_bytes(limits: ReaderLimits) -> None:
    """Until the limits are relaxed, small elements, white space and the header count together."""
    assert limits.total_bytes
    room = limits.total_bytes - len(HEADER)
    for unit in (b"<a>" + b"x" * 93 + b"</a>", b" "):
        data = unit * (room // len(unit))
        data = HEADER + b" " * (room - len(data)) + data
        assert outcome([data], limits)[1] is None
        assert outcome([data + b" "], limits)[1] == "policy-violation"
        assert outcome([data, b" "], limits)[1] == "policy-violation"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"<a>" + b"x" * 400, "a stanza of more than 400 bytes"), (b" " * 1000, "more than 1000 bytes before a hello")],
)
def test_the_bound_is_named(data: bytes, words: str) -> None:
    under_test = Reader(ReaderLimits(depth=4, stanza_bytes=400, total_bytes=1000))
    under_test.feed(HEADER + data)
    assert isinstance(under_test.next_event(), Header)
    with pytest.raises(StreamError, match=words):
        under_test.next_event()


def test_relaxing_applies_to_what_follows_the_event() -> None:
    """After raise_limits() the rest of the same piece is judged by the new limits, and only then."""
    deep, long = nested(9), b"<a>" + b"x" * 100_000 + b"</a>"
    for rest in (deep, long, deep + long, b"<a>" * 9, long[:-1]):
        data = HEADER + HELLO + rest
        whole = outcome([data], GREETING, relaxed=OPEN)
        assert whole[1] is None
        assert whole == outcome([data[at : at + 1000] for at in range(0, len(data), 1000)], GREETING, relaxed=OPEN)
        assert outcome([data], GREETING) == (whole[0][:2], "policy-violation")


def test_nothing_follows_a_violation() -> None:
    under_test = Reader(GREETING)
    under_test.feed(HEADER + nested(9) + b"<a/>")
    assert isinstance(under_test.next_event(), Header)
    for _ in range(2):
        with pytest.raises(StreamError, match="nested more than 8 deep"):
            under_test.next_event()


def attributes(count: int) -> bytes:
    return b"".join(b" a%d=''" % number for number in range(count))


def test_attributes() -> None:
    for before, after, room in ((HEADER + b"<a", b"/>", MAX_ATTRIBUTES), (HEADER[:-1], b">", MAX_ATTRIBUTES - 3)):
        assert condition(before + attributes(room) + after) is None
        assert condition(before + attributes(room + 1) + after) == "policy-violation"


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (b"<%s/>", MAX_NAME),
        (b"<a %s=''/>", MAX_NAME),
        (b"<p:%s xmlns:p='urn:p'/>", MAX_NAME),
        (b"<a p:%s='' xmlns:p='urn:p'/>", MAX_NAME),
        (b"<a xmlns='%s'/>", MAX_NAMESPACE),
        (b"<a xmlns:p='%s'/>", MAX_NAMESPACE),
    ],
)
def test_names(data: bytes, most: int) -> None:
    assert condition(HEADER + data % ("é".encode() * most)) is None
    assert condition(HEADER + data % ("é".encode() * (most + 1))) == "policy-violation"


@pytest.mark.parametrize(
    ("attribute", "most"),
    [(b"%s=''", MAX_NAME), (b"p:%s='' xmlns:p='urn:p'", MAX_NAME), (b"xmlns:p='%s'", MAX_NAMESPACE)],
)
def test_names_in_the_header(attribute: bytes, most: int) -> None:
    """What is ignored is within bounds, too."""
    header = HEADER[:-1] + b" " + attribute + b">"
    assert condition(header % ("é".encode() * most)) is None
    assert condition(header % ("é".encode() * (most + 1))) == "policy-violation"


def test_long_namespaces_do_not_multiply() -> None:
    """A long namespace is refused before it becomes part of ten thousand names."""
    data = HEADER + b"<a xmlns:p='" + b"x" * 100_000 + b"'" + attributes(10_000).replace(b" a", b" p:a") + b"/>"
    tracemalloc.start()
    try:
        assert outcome([data])[1] == "policy-violation"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize("shift", [0, 25])
def test_new_names_do_not_add_up(shift: int) -> None:
    """A peer that thinks up new names for ever does not fill the memory, wherever the pieces are cut."""
    under_test = Reader(OPEN)
    stanzas = b"".join(b"<e%07d><p%07d:f xmlns:p%07d='x' a%07d=''/></e%07d>" % ((n,) * 5) for n in range(15_000))
    under_test.feed(HEADER + stanzas[:shift])
    count = 0
    gc.collect()
    tracemalloc.start()
    try:
        for at in range(shift, len(stanzas), 13 * 59):
            under_test.feed(stanzas[at : at + 13 * 59])
            while under_test.next_event() is not None:
                count += 1
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert count == 1 + 15_000
    assert kept < 3 * 1024 * 1024


def test_renewal_keeps_the_prefixes_of_the_header() -> None:
    """What the header declares stays declared for as long as the stream lasts, however the header is written."""
    header = HEADER.replace(b"stream:", b"s:").replace(b":stream=", b":s=")
    header = b"\n" + header[:-1] + b" xmlns:p = \"urn:'p>\" q='\">' >"
    stanza = b"<a><p:b/>" + b"x" * 1000 + b"</a>"
    seen, breach = outcome([header + stanza * 300, *[stanza * 7] * 100, b"</s:stream>"])
    assert breach is None
    assert len(seen) == 1 + 1000 + 1
    assert len(set(seen[1:-1])) == 1


def test_no_renewal_before_the_header() -> None:
    """There would be nothing to renew the parser with."""
    with mock.patch.object(reader, "RENEWAL_BYTES", 20):
        assert condition(b" " * 50 + HEADER + b"<a/>") is None


def test_a_section_that_has_only_begun_outside_any_stanza() -> None:
    """It is text whatever follows; a parser that were renewed within it would take the text for elements."""
    assert condition(HEADER + b"<a/><![CDATA[") == "bad-format"
    assert condition(HEADER + b"<a><![CDATA[<b>]]></a>") is None


# --- properties ------------------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *(b"<a>", b"</a>", b"<a/>", b"<b c='d>'/>", b"<a x", b"='y'", b">", b"text", b" ", b"\r", b"\n", b"\r\n"),
        *(b"&lt;", b"&#32;", b"&nbsp;", b"&", b"]]>", b"<![CDATA[", b"]]", b"<!-- c -->", b"<?p i?>", b"<p:a/>"),
        *("é\U0001f600".encode(), b"\xf0\x9f", b"\xff", b"\x00", b"</stream:stream>", b"x" * 60, b" " * 90),
        *(nested(3), nested(4), nested(5), nested(6)),
        *(b"<b c='" + b"z" * 50 + b"'/>", b"<a xmlns='urn:a'>" + nested(2) + b"</a>"),
    ]
)
BALANCED = st.sampled_from(
    [b"<b c='d>'/>", nested(4), b"<a>x&amp;y</a>", b" ", b"\r\n", "<b>é\U0001f600</b>".encode(), b"<c>" * 9]
)
SMALL = ReaderLimits(depth=4, stanza_bytes=100, total_bytes=500)
RELAXED = ReaderLimits(depth=MAX_DEPTH, stanza_bytes=150)


@given(
    st.one_of(st.lists(BALANCED, max_size=60), st.lists(st.one_of(FRAGMENTS, BALANCED), max_size=25)),
    st.lists(st.integers(0, 2000), max_size=20),
    st.sampled_from([20, 10**9]),
)
@example([b"]]", b"<a>"], [len(HEADER) + 3], 20)
@example([b"<a>]]", b"</a>"], [len(HEADER) + 6], 20)
@example([b"</stream:stream>]]", b"<a>"], [len(HEADER) + 19], 20)
def test_cuts_make_no_difference(fragments: list[bytes], cuts: list[int], renewal: int) -> None:
    """However the bytes are cut, and whenever the parser is renewed, the events and the breach are the same."""
    data = b"".join([HEADER, *fragments])
    borders = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(borders)]
    limits = ReaderLimits(SMALL.depth, SMALL.stanza_bytes + len(HEADER), (SMALL.total_bytes or 0) + len(HEADER))
    expected = outcome([data], limits, RELAXED)
    with mock.patch.object(reader, "RENEWAL_BYTES", renewal):
        assert outcome([data], limits, RELAXED) == expected
        assert outcome(pieces, limits, RELAXED) == expected
        assert outcome(drip(data), limits, RELAXED) == expected


@given(st.lists(st.one_of(st.binary(max_size=40), FRAGMENTS, st.just(HEADER)), max_size=20))
def test_garbage_raises_nothing_else(pieces: list[bytes]) -> None:
    outcome(pieces)
    outcome([HEADER, *pieces], GREETING, OPEN)

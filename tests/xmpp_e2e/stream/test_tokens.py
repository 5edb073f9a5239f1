"""Whole tokens are cut off as soon as they are whole, whatever the pieces (XML 1.0 §2)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deferral import defer
from xmpp_e2e.stream.tokens import Tokens

ROOT = b"<s a='1'>"


def cuts(pieces: Iterable[bytes]) -> tuple[list[bytes], Tokens]:
    tokens = Tokens()
    return [tokens.cut(piece) for piece in pieces], tokens


def drip(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    "token",
    [
        *(b"<a>", b"</a>", b"</a >", b"<a/>", b"<a b='>\"' c=\"/>'\" />", b"<a\r\nb = '&lt;]]>'>", "<é é='é'>".encode()),
        *(b"&lt;", b"&#32;", b"&#x1F512;", "&é.-_1;".encode()),
        *("é".encode(), "€".encode(), "\U0001f512".encode(), b"a", b" ", b"<![CDATA[]]>"),
        *(b"<!-- <a> - -->", b"<!---->", b"<!-->-->", b"<?a <b> ? '?>", b"<??>", b"<!DOCTYPE a SYSTEM '>'>"),
    ],
)
def test_a_token_is_whole_with_its_last_byte(token: bytes) -> None:
    for before in (ROOT, ROOT + b"text", ROOT + b"<a>", ROOT + b"&lt;"):
        for behind in (b"", b"<", b"</", b"<!", b"<![CDATA", b"&", b"&am", b"<a b='", b"\r", b"]", b"]]", b"\xf0\x9f"):
            (_, whole), tokens = cuts([before, token + behind])
            assert (whole, len(tokens)) == (token, len(behind))
        if token != b"<![CDATA[]]>":  # its beginning is a token by itself
            pieces, tokens = cuts([before, *drip(token)])
            assert pieces == [before, *[b""] * (len(token) - 1), token]
            assert not tokens.broken


@pytest.mark.parametrize(("begin", "end"), [(b"<!-- ", b"-->"), (b"<?a ", b"?>"), (b"<![CDATA[", b"]]>")])
def test_what_looks_like_tags_is_none_elsewhere(begin: bytes, end: bytes) -> None:
    """In a comment or the like no tag ends a piece, and none begins that would be waited for."""
    section, begin = begin == b"<![CDATA[", begin + b"<b><c/>"
    for middle in (b"<a>", b"<a b='", b"&lt;"):
        pieces, tokens = cuts([ROOT, begin, middle, end + b"<b>", b"<a "])
        whole = [begin, middle, end + b"<b>"] if section else [b"", b"", begin + middle + end + b"<b>"]
        assert pieces == [ROOT, *whole, b""]
        assert len(tokens) == len(b"<a ")


@pytest.mark.parametrize("text", ["a]]b]c", "\r\n\r", "é\r€]\U0001f512]]"])
@pytest.mark.parametrize("section", [False, True])
def test_text_does_not_wait(text: str, section: bool) -> None:
    """Only what may be a part of a character, of a line break or of the end of a section does, for the next byte."""
    tokens = Tokens()
    tokens.cut(ROOT + b"<![CDATA[" * section)
    seen = b""
    for byte in drip(text.encode()):
        seen += tokens.cut(byte)
        assert len(tokens) <= 3
    assert tokens.cut(b" ").endswith(b" ")
    assert tokens.cut(b"]]>") == b"]]>"
    assert (tokens.cut(b"<b>"), len(tokens)) == (b"<b>", 0)


@pytest.mark.parametrize(
    "broken",
    [
        *(b"<<", b"<>", b"<a <", b"<a &", b"<a b='<", b'<a b="<', b"<a b='\x00", b"<a\x1f", b"<!DOCTYPE a [", b"</a\x0b"),
        *(b"&;", b"&<", b"& ", b"&a ", b"&&", b"<!-- --a"),
        *(b"\xe2x", b"\xe2\n", b"\xf0x", b"\xf0\x9f ", b"\xf0\x9f\xff"),
    ],
)
def test_what_can_be_no_token_waits_for_nothing(broken: bytes) -> None:
    """It is cut off with the byte that no token can have there, and after that nothing is."""
    for pieces in ([ROOT, *drip(broken)], [ROOT, broken[:1], broken[1:]]):
        cut, tokens = cuts(pieces)
        assert (b"".join(cut), tokens.broken) == (ROOT + broken, True)
        assert tokens.cut(b"<b/>") == b""


@pytest.mark.parametrize("before", [b"x", b"&lt;", b"\xef\xbb\xbf", b" \n]", b"<?xml version='1.0'?>x", b"<!-- -->&lt;"])
def test_the_first_thing_is_a_tag(before: bytes) -> None:
    _, tokens = cuts([before])
    assert tokens.broken
    assert cuts([b"<?xml version='1.0'?>\r\n ", ROOT, b"x"])[0] == [b"<?xml version='1.0'?>\r\n ", ROOT, b"x"]


FRAGMENTS = st.sampled_from(
    [
        *(b"<a>", b"</a>", b"<b c='d>' e=\">\"/>", b"text", b" ", b"\r", b"\n", b"&lt;", b"&#32;", b"]", b"<![CDATA[<a>&]]]>"),
        *(b"<", b"&a", b"&;", b"]]>"),
        *("é".encode(), "€".encode(), "\U0001f600".encode(), b"\xf0\x9f", b"<![CDATA[]]>", b"<c/>" * 5, b"&amp;" * 5),
    ]
)


class Told:
    """What a parser tells; it never has to wait if it is handed everything at once."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.text = ""
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = lambda name, attributes: self.tags.append(f"{name} {attributes} {self.text}")
        self.parser.EndElementHandler = lambda name: self.tags.append(f"/{name} {self.text}")
        self.parser.CharacterDataHandler = lambda text: setattr(self, "text", self.text + text)
        self.failed = False

    def hear(self, data: bytes, final: bool) -> None:
        try:
            self.parser.Parse(data, final)
        except expat.ExpatError:
            self.failed = True


@given(st.lists(FRAGMENTS, max_size=15), st.lists(st.integers(0, 100), max_size=10), st.booleans())
def test_a_parser_waits_for_nothing(fragments: list[bytes], places: list[int], dripping: bool) -> None:
    """After each piece it has told what it tells if all of it comes at once, although it would put off a second look."""
    data = b"".join([ROOT, *fragments])
    borders = [0, *sorted(place for place in places if place < len(data)), len(data)]
    with defer():
        told = Told()
    tokens, come = Tokens(), b""
    for piece in drip(data) if dripping else [data[start:end] for start, end in pairwise(borders)]:
        come += piece
        told.hear(tokens.cut(piece), tokens.broken)
        at_once = Told()
        at_once.hear(come, False)
        if at_once.failed or tokens.broken:  # the one may be told before the other
            return
        assert (told.tags, told.failed) == (at_once.tags, False)


@pytest.mark.parametrize("begin", [b"<a b='", b"<a ", b"&", b"<!--", b"<?", b"<!DOCTYPE "])
@pytest.mark.parametrize("size", [1, 100])
def test_no_byte_is_looked_at_often(begin: bytes, size: int) -> None:
    tokens = Tokens()
    tokens.cut(ROOT + begin)
    for _ in range(1000):
        assert tokens.cut(b"x" * size) == b""
        assert len(tokens) - tokens._seen <= 2

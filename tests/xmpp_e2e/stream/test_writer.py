"""What the writer writes is read back equal, and what cannot be carried is refused before it is sent (RFC 6120 §4)."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Comment, Element, ProcessingInstruction, SubElement

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.pair import has_code
from xmpp_e2e.errors import Code, InvalidStanza, LocalError
from xmpp_e2e.stream import MAX_ATTRIBUTES, MAX_DEPTH, MAX_NAME, MAX_NAMESPACE, MAX_STANZA, MAX_TAG, NS_STREAM, NS_XML
from xmpp_e2e.stream.reader import OPEN, End, Header, Reader
from xmpp_e2e.stream.writer import CLOSER, element, header

HEADER = header("a@x.example/1", "b@y.example/2")


def build(tag: str, *children: Element, text: str | None = None, tail: str | None = None, **attributes: str) -> Element:
    built = Element(tag, attributes)
    built.text, built.tail = text, tail
    built.extend(children)
    return built


def read(data: bytes) -> Element:
    under_test = Reader(OPEN)
    under_test.feed(HEADER + data)
    _, only = iter(under_test.next_event, None)
    assert isinstance(only, Element)
    return only


def plain(tree: Element) -> tuple[Any, ...]:
    """A tree as values that can be compared: ElementTree has no equality, and to XML "" and None are one text."""
    children = [(plain(child), child.tail or "") for child in tree]
    return tree.tag, tree.attrib, tree.text or "", children


def message(text: str) -> Element:
    return build("{jabber:client}message", build("{jabber:client}body", text=text))


# --- what is written -------------------------------------------------------------------------------------------------


def test_header() -> None:
    """The header is the one of the protocol, to the byte; the responder's has an id."""
    assert HEADER == (
        b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" from='a@x.example/1' to='b@y.example/2' version='1.0'>"
    )
    assert header("a", "b", id="7") == HEADER.replace(b"a@x.example/1", b"a").replace(
        b"'b@y.example/2' version='1.0'", b"'b' version='1.0' id='7'"
    )


def test_header_is_read_back() -> None:
    """Resources with quotes and emoji survive, and the closer ends what the header began."""
    ours, peer = "a@x.example/it's <&> \U0001f600", 'b@y.example/"\U0001f469\u200d\U0001f680"'
    under_test = Reader(OPEN)
    under_test.feed(header(ours, peer, id="'") + CLOSER)
    assert under_test.next_event() == Header(ours, peer, "1.0", "'")
    assert under_test.next_event() == End()


def test_header_refuses_what_xml_cannot_carry() -> None:
    """A control character in a JID is named."""
    with pytest.raises(InvalidStanza, match=r"U\+0001, which is in .* the stream header"):
        header("a@x.example/\x01", "b")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (build("{jabber:client}iq"), "<iq/>"),
        (build("{jabber:client}iq", id="1", to="b"), "<iq id='1' to='b'/>"),
        (
            build("{jabber:client}message", build("{jabber:client}body", text="hi", tail="!"), tail="never"),
            "<message><body>hi</body>!</message>",
        ),
        (
            build("{jabber:client}iq", build("{urn:q}query", build("{urn:q}item"), build("{jabber:client}x"))),
            "<iq><query xmlns='urn:q'><item/><x xmlns='jabber:client'/></query></iq>",
        ),
        (build("{urn:q}a", build("b", build("c"))), "<a xmlns='urn:q'><b xmlns=''><c/></b></a>"),
        (build("a"), "<a xmlns=''/>"),
        (build("{it's}a"), "<a xmlns='it&apos;s'/>"),
        (
            build(f"{{{NS_STREAM}}}error", build("{jabber:client}a"), build("{urn:q}gone")),
            "<stream:error><a/><gone xmlns='urn:q'/></stream:error>",
        ),
        (build("{jabber:client}a", **{f"{{{NS_XML}}}lang": "en"}), "<a xml:lang='en'/>"),
        (
            build("{jabber:client}a", **{"b": "", "{urn:x}b": "1", "{urn:y'}b": "2"}),
            "<a b='' xmlns:a1='urn:x' a1:b='1' xmlns:a2='urn:y&apos;' a2:b='2'/>",
        ),
        (build("{jabber:client}a", text="<&>\"'\t\n\r]]>"), "<a>&lt;&amp;&gt;\"'\t\n&#13;]]&gt;</a>"),
        (build("{jabber:client}a", b="<&>\"'\t\n\r"), "<a b='&lt;&amp;&gt;&quot;&apos;&#9;&#10;&#13;'/>"),
        (build("{jabber:client}a", text=""), "<a/>"),
        (build("{jabber:client}a", text="\xe9\U0001f600"), "<a>\xe9\U0001f600</a>"),
    ],
)
def test_element(tree: Element, expected: str) -> None:
    """Namespaces are declared where they change, and only markup and what parsers would alter is escaped."""
    assert element(tree) == expected.encode()
    assert plain(read(element(tree))) == plain(tree)


CHARACTERS = st.one_of(
    st.sampled_from("&<>\"'\t\n\r ]\u200d\x7f\x85\u2028\ufeff\ufffd\ue000\U0001f600\U0010ffff"),
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff"),
)
NAMESPACES = st.one_of(
    st.sampled_from(["", "{jabber:client}", "{urn:q}", f"{{{NS_STREAM}}}", f"{{{NS_XML}}}", "{ a'&<>\"{\xe9}"]),
    st.text(CHARACTERS.filter("}".__ne__), min_size=1, max_size=20).map("{{{}}}".format),
)
LOCAL = st.sampled_from(["a", "body", "xml", "xmln", "\xe9t\xe9", "\u65e5\u672c", "a-._1"])
NAMES = st.builds("{}{}".format, NAMESPACES, LOCAL)
TEXTS = st.one_of(st.none(), st.text(CHARACTERS, max_size=20), st.just("]]>"), st.just("&amp;<![CDATA[" * 3))
VALUES = st.text(CHARACTERS, max_size=20)


ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=4)


@st.composite
def elements(draw: st.DrawFn, children: st.SearchStrategy[Element] | None = None) -> Element:
    inside = draw(st.lists(children, max_size=4)) if children is not None else []
    return build(draw(NAMES), *inside, text=draw(TEXTS), tail=draw(TEXTS), **draw(ATTRIBUTES))


@given(st.recursive(elements(), elements, max_leaves=12))
@example(build("{urn:x}a", build("{urn:x}a", build("a"), build("{jabber:client}b", tail="\r")), **{"{urn:x}a": "\r\n"}))
def test_everything_is_read_back(tree: Element) -> None:
    """Trees of any namespaces, characters, mixed content and tails arrive equal, code point for code point."""
    assert plain(read(element(tree))) == plain(tree)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "character", [*map(chr, range(9)), "\x0b", "\x0c", "\x0e", "\x1f", "\ufffe", "\uffff", chr(0xD800), chr(0xDFFF)]
)
def test_characters(character: str) -> None:
    secret = f"secret{character}secret"
    body = "{jabber:client}body"
    for place, tree in {
        "the text of <body>": message(secret),
        "the text of <message>": build("{jabber:client}message", build(body, tail=secret)),
        "the attribute a of <body>": build("{urn:x}x", build(body, **{"{urn:x}a": secret})),
        "a namespace": build(f"{{{secret}}}x"),
    }.items():
        with pytest.raises(InvalidStanza) as caught:
            element(tree)
        assert f"U+{ord(character):04X}, which is in {place}" in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\x7f", "\x85", "\ud7ff", "\ue000", "\ufffd", "\U0001ffff"])
def test_odd_characters_that_xml_carries(character: str) -> None:
    """Whatever XML 1.0 allows is sent, however odd."""
    assert plain(read(element(message(character)))) == plain(message(character))


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a b='c'", "a/", "a><a", "a>", "1a", "-a", "!--a", "?a", "a:b", "xml:lang", "&amp;"),
        *("a\n", "a\x00", "\ud800", "a\U0001f600", "{}a", "{urn:x}", "{urn:x", "urn:x}a", "{urn:}x}a", "{urn:x}a:b"),
        "{http://www.w3.org/2000/xmlns/}a",
    ],
)
def test_names(name: str) -> None:
    for tree in (build(name), build("{jabber:client}a", **{name: "x"}), build("a", build("b", build(name)))):
        with pytest.raises(InvalidStanza):
            element(tree)


def test_no_declaration_as_attribute() -> None:
    """An attribute called xmlns would be a declaration; an element may be called so."""
    with pytest.raises(InvalidStanza, match="xmlns"):
        element(build("a", xmlns="urn:x"))
    assert read(element(build("xmlns"))).tag == "xmlns"


def test_long_names() -> None:
    """Names and namespaces are written up to the length that is read."""
    for fits, tag in {
        True: f"{{{'n' * MAX_NAMESPACE}}}{'a' * MAX_NAME}",
        "no XML name": "a" * (MAX_NAME + 1),
        f"a namespace has {MAX_NAMESPACE + 1} characters": f"{{{'n' * (MAX_NAMESPACE + 1)}}}a",
    }.items():
        for tree in (build(tag), build("b", **{tag: ""})):
            if fits is True:
                assert plain(read(element(tree))) == plain(tree)
            else:
                with pytest.raises(InvalidStanza, match=str(fits)):
                    element(tree)


def test_attributes() -> None:
    tree = build("a", **{f"a{number}": "" for number in range(MAX_ATTRIBUTES)})
    assert plain(read(element(tree))) == plain(tree)
    tree.set("one", "more")
    with pytest.raises(InvalidStanza, match="65 attributes"):
        element(tree)


def nested(depth: int) -> Element:
    outer = tree = build("{jabber:client}a")
    for _ in range(depth - 1):
        tree = SubElement(tree, "{jabber:client}a")
    return outer


def test_depth() -> None:
    """64 levels are sent, 65 are not, and neither is an element inside itself."""
    assert plain(read(element(nested(MAX_DEPTH)))) == plain(nested(MAX_DEPTH))
    endless = build("a")
    endless.append(endless)
    for tree in (nested(MAX_DEPTH + 1), endless):
        with pytest.raises(InvalidStanza, match="more than 64 deep"):
            element(tree)


def test_size() -> None:
    """A stanza of exactly 256 KiB is sent; one byte more is refused with the limit and the size, in bytes."""
    room = MAX_STANZA - len(element(message("x"))) + 1
    data = element(message("x" * room))
    assert len(data) == MAX_STANZA == 262_144
    assert plain(read(data)) == plain(message("x" * room))
    with pytest.raises(InvalidStanza, match=r"262145 bytes.* 262144", check=has_code(Code.STANZA_TOO_LARGE)):
        element(message("x" * (room - 1) + "\xe9"))
    with pytest.raises(InvalidStanza, check=has_code(Code.STANZA_TOO_LARGE)):
        element(message("x" * (room - 1) + "<"))


def test_tag_size() -> None:
    """A tag of exactly 16 KiB is sent; one byte more is refused with the limit and the size."""
    tree = build("{jabber:client}a", build("{jabber:client}b", c="x" * (MAX_TAG - 8), text="y" * 100_000))
    assert plain(read(element(tree))) == plain(tree)
    tree[0].set("c", "x" * (MAX_TAG - 7))
    with pytest.raises(InvalidStanza, match=r"16385 bytes.* 16384 in one tag", check=has_code(Code.STANZA_TOO_LARGE)):
        element(tree)
    small = build("{jabber:client}b", c=">" * (MAX_TAG // 4))
    with pytest.raises(InvalidStanza, match="in one tag", check=has_code(Code.STANZA_TOO_LARGE)):
        element(small)


def test_shared_children_do_not_explode() -> None:
    """An element that is its own descendant a billion times over is refused at once."""
    tree = build("a")
    for _ in range(MAX_DEPTH - 2):
        tree = build("a", tree, tree)
    with pytest.raises(InvalidStanza, check=has_code(Code.STANZA_TOO_LARGE)):
        element(tree)


@pytest.mark.parametrize("foreign", [5, b"bytes", 0.5, ["list"]])
def test_only_text(foreign: Any) -> None:
    """What is no text is refused with the element that holds it and its type, not with a TypeError."""
    for tree in (message(foreign), build("a", build("b", tail=foreign)), build("a", b=foreign)):
        with pytest.raises(LocalError, match=f"holds a {type(foreign).__name__} where"):
            element(tree)


@pytest.mark.parametrize("child", [Comment("c"), ProcessingInstruction("p"), Element(("a",))])  # type: ignore[type-var]
def test_only_elements(child: Element) -> None:
    with pytest.raises(InvalidStanza, match="no text"):
        element(build("a", child))


def test_unhashable_name() -> None:
    with pytest.raises(InvalidStanza, match="holds a list"):
        element(Element(["a"]))  # type: ignore[arg-type]

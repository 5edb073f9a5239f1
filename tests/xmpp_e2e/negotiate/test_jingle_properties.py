"""Jingle elements, searched by hypothesis: building and parsing undo each other, and nothing but a refusal leaves the door."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring, tostring

from hypothesis import given
from hypothesis import strategies as st

from tests.xmpp_e2e.negotiate.example import COLONS, CONTENT, INITIATE, NONCE, SECURITY, at, initiate
from xmpp_e2e.errors import JingleError
from xmpp_e2e.negotiate.jingle import (
    MAX_TEXT,
    NS_JINGLE,
    NS_XMLSTREAM,
    Action,
    Content,
    IBBTransport,
    Jingle,
    Reason,
    Security,
    Senders,
    build,
    parse,
)
from xmpp_e2e.types import Role

NAMES = st.text(min_size=1, max_size=128)
NAMESPACES = st.sampled_from(["urn:xmpp:jingle:apps:rtp:1", "urn:xmpp:jingle:apps:file-transfer:5", NS_XMLSTREAM])
TRANSPORTS = st.builds(IBBTransport, sid=NAMES, block_size=st.integers(256, 8192))
SECURITIES = st.builds(
    Security,
    fingerprint=st.binary(min_size=32, max_size=32),
    methods=st.lists(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True), max_size=16, unique=True).map(tuple),
    nonce=st.binary(min_size=16, max_size=16),
    assertion=st.none() | st.from_regex(r"[A-Za-z0-9._~-]{1,40}", fullmatch=True),
    flight=st.none() | st.binary(min_size=1, max_size=40),
)


def content(
    application: st.SearchStrategy[str | None], security: st.SearchStrategy[Security | None]
) -> st.SearchStrategy[Content]:
    return st.builds(
        Content,
        name=NAMES,
        creator=st.sampled_from(Role),
        senders=st.sampled_from(Senders),
        application=application,
        transport=st.none() | TRANSPORTS,
        security=security,
    )


OURS = content(st.just(NS_XMLSTREAM), SECURITIES).map(lambda one: (one,))
THEIRS = st.lists(content(st.none() | NAMESPACES, st.none()), min_size=1, max_size=4).map(tuple)
REASONS = st.just((None, None)) | st.tuples(st.sampled_from(Reason), st.none() | st.text(min_size=1, max_size=MAX_TEXT))


@st.composite
def jingles(draw: st.DrawFn) -> Jingle:
    action = draw(st.sampled_from(Action))
    reason, text = draw(REASONS)
    needs_content = action in (Action.SESSION_INITIATE, Action.SESSION_ACCEPT)
    found: tuple[Content, ...] = draw(OURS | THEIRS if needs_content else OURS | THEIRS | st.just(()))
    payload = draw(st.none() | st.just("{urn:news}news")) if action is Action.SESSION_INFO else None
    return Jingle(action, draw(NAMES), found, reason, text, payload)


@given(jingles())
def test_parsing_undoes_building(jingle: Jingle) -> None:
    """Whatever can be said is read as it was meant."""
    assert parse(build(jingle)) == jingle


XML_TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f\ufffe\uffff"))
ANY_NAME = st.sampled_from(
    [
        element.tag.replace(NS_JINGLE, namespace)
        for namespace in (NS_JINGLE, "urn:other")
        for element in (*fromstring(INITIATE).iter(), Element(f"{{{NS_JINGLE}}}reason"))
    ]
)
ANY_ATTRIBUTE = st.sampled_from(sorted({name for element in fromstring(INITIATE).iter() for name in element.attrib}))
LIKELY = st.sampled_from(["session-initiate", "initiator", "1", "sha-256", NONCE, "4096", "psk", COLONS, "FgMB"])


def bare(tag: str, attributes: dict[str, str], text: str) -> Element:
    element = Element(tag, attributes)
    element.text = text
    return element


def grown(parent: Element, children: list[Element]) -> Element:
    parent.extend(children)
    return parent


BARE = st.builds(bare, ANY_NAME, st.dictionaries(ANY_ATTRIBUTE, LIKELY | XML_TEXT), LIKELY | XML_TEXT)
TREES = st.recursive(BARE, lambda trees: st.builds(grown, BARE, st.lists(trees, max_size=4)), max_leaves=12)


@given(TREES, st.sampled_from(["as it is", "root", "content", "security"]))
def test_nothing_else_leaves_the_door(element: Element, place: str) -> None:
    if place != "as it is":
        around = initiate()
        at(around, {"root": ".", "content": CONTENT, "security": SECURITY}[place]).append(element)
        element = around
    element = fromstring(tostring(element))
    try:
        jingle = parse(element)
    except JingleError:
        return
    assert parse(build(jingle)) == jingle

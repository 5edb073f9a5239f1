"""The digest over both halves of a negotiation, the common methods, and crossed offers."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable
from xml.etree.ElementTree import Element, fromstring, indent, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pair import has_code
from xmpp_e2e.errors import Code, PeerIncompatible
from xmpp_e2e.negotiate.digest import SignalledHalf, common_methods, negotiation_digest, signalled_half, wins_tie_break
from xmpp_e2e.negotiate.jingle import NS_DTLS, NS_IBB, NS_JINGLE, NS_SECURITY, parse

ALICE, BOB = "alice@a.example/café", "bob@b.example/1"
XMLSTREAM = "urn:xmpp:jingle:apps:xmlstream:0"


def half(action: str, fill: bytes, methods: tuple[str, ...], rest: str = "") -> Element:
    """An initiate or accept, spelled out as it travels; ``fill`` (one byte) makes up fingerprint and nonce."""
    colons = (fill * 32).hex(":").upper()
    nonce = {b"\xaa": "qqqqqqqqqqqqqqqqqqqqqg==", b"\xbb": "u7u7u7u7u7u7u7u7u7u7uw=="}[fill]
    return fromstring(
        f"""<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='0123'><content creator='initiator' name='e2e'>"""
        f"""<description xmlns='{XMLSTREAM}'/>"""
        f"""<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='ibb'/>"""
        f"""<security xmlns='urn:x-xmpp-e2e:security:0' version='1' nonce='{nonce}'>"""
        f"""<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256'>{colons}</fingerprint>"""
        + "".join(f"<method name='{method}'/>" for method in methods)
        + f"{rest}</security></content></jingle>"
    )


def initiate(rest: str = "<assertion>a.b.c~d</assertion><flight>FgMB</flight>") -> Element:
    return half("session-initiate", b"\xaa", ("fingerprint", "psk"), rest)


def accept() -> Element:
    return half("session-accept", b"\xbb", ("fingerprint",))


def digest(initiate: Element, accept: Element) -> bytes:
    return negotiation_digest(signalled_half(parse(initiate), ALICE, BOB), signalled_half(parse(accept), BOB, ALICE))


def fields(*values: bytes) -> bytes:
    """Length-prefixed fields, written here once more on purpose."""
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


INITIATE = signalled_half(parse(initiate()), ALICE, BOB)
ACCEPT = signalled_half(parse(accept()), BOB, ALICE)


def test_neg_is_what_the_protocol_says() -> None:
    alice, bob, stream = ALICE.encode(), BOB.encode(), XMLSTREAM.encode()
    first = fields(
        b"1", b"0123", alice, bob, b"e2e", stream, b"sha-256", b"\xaa" * 32, b"fingerprint,psk", b"xmpp-e2e/1",
        b"\xaa" * 16, b"a.b.c~d",
    )  # fmt: skip
    second = fields(
        b"1", b"0123", bob, alice, b"e2e", stream, b"sha-256", b"\xbb" * 32, b"fingerprint", b"xmpp-e2e/1",
        b"\xbb" * 16, b"",
    )  # fmt: skip
    expected = hashlib.sha256(fields(b"xmpp-e2e/1 neg", first, second)).digest()
    assert digest(initiate(), accept()) == expected
    assert expected.hex() == "a2c6c8ba0e2ba339f55331ffe898e2b0e0c20522a10f3c683c039ff32be60bb1"


def test_a_server_may_indent() -> None:
    """White space between and around elements, another order of attributes and other prefixes change nothing."""
    spaced = initiate()
    indent(spaced)
    for leaf in spaced.iter():
        if leaf.text and leaf.text.strip():
            leaf.text = f"\r\n\t {leaf.text} \n"
    again = fromstring(tostring(spaced))
    assert tostring(again) != tostring(initiate())
    assert digest(again, accept()) == digest(initiate(), accept())


CHANGES: dict[str, object] = {
    "version": "2",
    "sid": "0124",
    "from_": "alice@a.example/other",
    "to": "mallory@m.example/1",
    "content_name": "e2f",
    "application": "urn:xmpp:jingle:apps:rtp:1",
    "hash": "sha-512",
    "fingerprint": b"\xcc" * 32,
    "methods": ("psk", "fingerprint"),
    "alpn": "xmpp-e2e/2",
    "nonce": b"\xcc" * 16,
    "assertion": "x.y.z~d",
}


@pytest.mark.parametrize("changed", [field.name for field in dataclasses.fields(SignalledHalf)])
@pytest.mark.parametrize("which", ["initiate", "accept"])
def test_every_field_of_either_half_counts(changed: str, which: str) -> None:
    """Whichever of the twelve fields is altered, in whichever half, the digest is another."""
    altered: dict[str, SignalledHalf] = {"initiate": INITIATE, "accept": ACCEPT}
    altered[which] = dataclasses.replace(altered[which], **{changed: CHANGES[changed]})  # type: ignore[arg-type]
    assert negotiation_digest(**altered) != negotiation_digest(INITIATE, ACCEPT)


def test_fields_do_not_flow_into_each_other() -> None:
    moved = dataclasses.replace(INITIATE, sid="012", from_="3" + ALICE)
    assert moved.encode() != INITIATE.encode()
    assert negotiation_digest(ACCEPT, INITIATE) != negotiation_digest(INITIATE, ACCEPT)


def changed(path: str, change: Callable[[Element], None]) -> Callable[[Element], None]:
    """Return what somebody on the path does to the element there."""

    def act(element: Element) -> None:
        found = element.find(path)
        assert found is not None
        change(found)

    return act


def attribute(path: str, name: str, value: str) -> Callable[[Element], None]:
    return changed(path, lambda element: element.set(name, value))


def text(path: str, value: str) -> Callable[[Element], None]:
    return changed(path, lambda element: setattr(element, "text", value))


def without(parent: str, tag: str) -> Callable[[Element], None]:
    return changed(parent, lambda around: around.remove(next(around.iterfind(tag))))


CONTENT = f"{{{NS_JINGLE}}}content"
SECURITY = f".//{{{NS_SECURITY}}}security"


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(attribute(".", "sid", "other"), id="sid"),
        pytest.param(attribute(CONTENT, "name", "other"), id="content name"),
        pytest.param(attribute(SECURITY, "nonce", "AAAAAAAAAAAAAAAAAAAAAA=="), id="nonce"),
        pytest.param(text(f".//{{{NS_DTLS}}}fingerprint", "00" * 32), id="fingerprint"),
        pytest.param(attribute(f".//{{{NS_SECURITY}}}method", "name", "sas"), id="method exchanged"),
        pytest.param(without(SECURITY, f"{{{NS_SECURITY}}}method"), id="method removed"),
        pytest.param(text(f".//{{{NS_SECURITY}}}assertion", "x.y.z~d"), id="assertion exchanged"),
        pytest.param(without(SECURITY, f"{{{NS_SECURITY}}}assertion"), id="assertion stripped"),
    ],
)
def test_what_is_edited_on_the_path_is_found(edit: Callable[[Element], None]) -> None:
    """Sid, name, nonce, fingerprint, methods and assertion cannot be edited without changing the digest."""
    edited = initiate()
    edit(edited)
    assert digest(edited, accept()) != digest(initiate(), accept())


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(without(SECURITY, f"{{{NS_SECURITY}}}flight"), id="flight"),
        pytest.param(attribute(f".//{{{NS_IBB}}}transport", "block-size", "1024"), id="transport"),
        pytest.param(attribute(CONTENT, "creator", "responder"), id="creator"),
        pytest.param(attribute(CONTENT, "senders", "initiator"), id="senders"),
        pytest.param(attribute(".", "initiator", "mallory@m.example/1"), id="initiator="),
    ],
)
def test_what_is_left_out_on_purpose(edit: Callable[[Element], None]) -> None:
    """Flight, transport, creator and senders are not covered, and initiator= is ignored."""
    edited = initiate()
    edit(edited)
    assert digest(edited, accept()) == digest(initiate(), accept())


def test_a_signal_hides_nonce_and_assertion() -> None:
    """Neither shows in a repr, and so in no log."""
    assert "nonce" not in repr(INITIATE)
    assert "a.b.c~d" not in repr(INITIATE)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(without(CONTENT, f"{{{NS_SECURITY}}}security"), id="no security"),
        pytest.param(without(CONTENT, f"{{{XMLSTREAM}}}description"), id="no description"),
    ],
)
def test_nothing_of_ours_makes_no_signal(edit: Callable[[Element], None]) -> None:
    """A half without our <security/> ends the negotiation; nobody goes on in clear by mistake."""
    stripped = initiate()
    edit(stripped)
    with pytest.raises(PeerIncompatible, match=r"alice@a\.example", check=has_code(Code.SECURITY_STRIPPED)):
        signalled_half(parse(stripped), ALICE, BOB)


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        (("fingerprint", "psk"), ("psk", "fingerprint"), ("fingerprint", "psk")),
        (("psk", "fingerprint"), ("fingerprint", "psk", "srp"), ("psk", "fingerprint")),
        (("srp", "sas"), ("sas", "unheard-of"), ("sas",)),
    ],
)
def test_common_methods(ours: tuple[str, ...], theirs: tuple[str, ...], common: tuple[str, ...]) -> None:
    """What both allow comes in our order; the peer's means nothing."""
    assert common_methods(ours, theirs) == common


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [(("psk", "srp"), ("fingerprint", "sas"), ("psk, srp", "fingerprint, sas")), (("psk",), (), ("psk", "none at all"))],
)
def test_no_common_method(ours: tuple[str, ...], theirs: tuple[str, ...], told: tuple[str, str]) -> None:
    """Without common ground there is no session, and the message names both lists."""
    with pytest.raises(PeerIncompatible, check=has_code(Code.NO_COMMON_METHOD)) as failure:
        common_methods(ours, theirs)
    assert all(part in str(failure.value) for part in told)
    assert failure.value.jingle_reason == "security-error"


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("a", "b"),
        ("a", "aa"),
        ("B", "a"),
        ("10", "9"),
        ("z", "é"),
        ("\uffff", "\U00010000"),  # the other way round in UTF-16
    ],
)
def test_the_lower_sid_wins(lower: str, higher: str) -> None:
    """Compared as bytes of UTF-8, not as numbers, letters or UTF-16."""
    assert wins_tie_break(lower, higher)
    assert not wins_tie_break(higher, lower)


@given(st.text(), st.text())
def test_exactly_one_of_two_offers_stands(mine: str, yours: str) -> None:
    assert wins_tie_break(mine, yours) != wins_tie_break(yours, mine) or mine == yours
    assert wins_tie_break(mine, mine)

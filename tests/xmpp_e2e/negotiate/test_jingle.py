"""Jingle elements: what passes the door, what is refused and how it is answered, and that building undoes parsing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from xml.etree.ElementTree import Comment, Element, fromstring, indent

import pytest

from tests.xmpp_e2e.negotiate.example import (
    ASSERTION,
    COLONS,
    CONTENT,
    DESCRIPTION,
    FLIGHT,
    INITIATE,
    NONCE,
    PARSED,
    PRINT,
    PRINTED,
    SECURITY,
    TRANSPORT,
    Edit,
    at,
    b64,
    both,
    contents,
    cut,
    having,
    holding,
    initiate,
    lacking,
    methods,
    saying,
    tagged,
    twice,
)
from xmpp_e2e import errors
from xmpp_e2e.errors import E2EError, JingleError
from xmpp_e2e.negotiate.jingle import (
    MAX_ASSERTION,
    MAX_FLIGHT,
    MAX_TEXT,
    NS_JINGLE,
    NS_SECURITY,
    Action,
    IBBTransport,
    Jingle,
    Reason,
    Security,
    build,
    parse,
)


def test_the_example_of_the_protocol() -> None:
    assert parse(initiate()) == PARSED


def test_building_writes_what_the_protocol_shows() -> None:
    ours, theirs = build(PARSED), fromstring(INITIATE)
    del theirs.attrib["initiator"]
    for element in (ours, theirs):
        indent(element)

    def flat(element: Element) -> list[tuple[str, dict[str, str], str]]:
        return [(one.tag, one.attrib, (one.text or "").strip()) for one in element.iter()]

    assert flat(ours) == flat(theirs)


REFUSED: dict[str, tuple[Edit, str]] = {
    "not jingle": (tagged("{urn:xmpp:jingle:0}jingle"), "no <jingle/>"),
    "no action": (lacking(".", "action"), "'' is no action"),
    "unknown action": (having(".", action="session-\nelope"), r"'session-\\nelope' is no action"),
    "no sid": (lacking(".", "sid"), "session id has 0"),
    "empty sid": (having(".", sid=""), "session id has 0"),
    "long sid": (having(".", sid="s" * 129), "session id has 129"),
    "no content": (cut(CONTENT), "no content"),
    "accept without content": (both(having(".", action="session-accept"), cut(CONTENT)), "no content"),
    "two contents": (twice(CONTENT), "only content"),
    "a foreign content beside ours": (holding(".", CONTENT, creator="initiator", name="video"), "only content"),
    "seventeen contents": (contents(17), "17 contents"),
    "no name": (lacking(CONTENT, "name"), "name of the content has 0"),
    "empty name": (having(CONTENT, name=""), "name of the content has 0"),
    "long name": (having(CONTENT, name="n" * 129), "name of the content has 129"),
    "no creator": (lacking(CONTENT, "creator"), "'' is no creator"),
    "unknown creator": (having(CONTENT, creator="mallory"), "'mallory' is no creator"),
    "unknown senders": (having(CONTENT, senders="mallory"), "'mallory' is no word for the senders"),
    "two descriptions": (twice(DESCRIPTION), "<description/> comes twice"),
    "a foreign description beside ours": (
        holding(CONTENT, "{urn:xmpp:jingle:apps:rtp:1}description"),
        "<description/> comes twice",
    ),
    "two transports": (twice(TRANSPORT), "<transport/> comes twice"),
    "a foreign transport beside ours": (
        holding(CONTENT, "{urn:xmpp:jingle:transports:ice:0}transport"),
        "<transport/> comes twice",
    ),
    "two securities": (twice(SECURITY), "<security/> comes twice"),
    "no bytestream": (lacking(TRANSPORT, "sid"), "bytestream's id has 0"),
    "empty bytestream": (having(TRANSPORT, sid=""), "bytestream's id has 0"),
    "long bytestream": (having(TRANSPORT, sid="s" * 129), "bytestream's id has 129"),
    "no block size": (lacking(TRANSPORT, "block-size"), "'' is no block size"),
    "small blocks": (having(TRANSPORT, block_size="255"), "'255' is no block size"),
    "blocks beyond XEP-0047": (having(TRANSPORT, block_size="65536"), "'65536' is no block size"),
    "block size with a sign": (having(TRANSPORT, block_size="+4096"), "no block size"),
    "block size with space": (having(TRANSPORT, block_size=" 4096"), "no block size"),
    "block size with an underscore": (having(TRANSPORT, block_size="4_096"), "no block size"),
    "block size with a zero": (having(TRANSPORT, block_size="04096"), "no block size"),
    "block size in another script": (having(TRANSPORT, block_size="٤٠٩٦"), "no block size"),
    "accepted blocks above the most": (
        both(having(".", action="session-accept"), having(TRANSPORT, block_size="8193")),
        "accepted is more than 8192",
    ),
    "no version": (lacking(SECURITY, "version"), "version '' of the encryption"),
    "another version": (having(SECURITY, version="2"), "version '2' of the encryption"),
    "version in another spelling": (having(SECURITY, version="01"), "version '01' of the encryption"),
    "no fingerprint": (cut(PRINTED), "no fingerprint"),
    "two fingerprints": (twice(PRINTED), "<fingerprint/> comes twice"),
    "no hash": (lacking(PRINTED, "hash"), "not marked as sha-256"),
    "another hash": (having(PRINTED, hash="sha-1"), "not marked as sha-256"),
    "hash in another spelling": (having(PRINTED, hash="SHA-256"), "not marked as sha-256"),
    "empty fingerprint": (saying(PRINTED, None), "not hexadecimal"),
    "short fingerprint": (saying(PRINTED, COLONS[:-3]), "has 31 bytes"),
    "long fingerprint": (saying(PRINTED, COLONS + ":00"), "has 33 bytes"),
    "half a byte": (saying(PRINTED, COLONS[:-1]), "not hexadecimal"),
    "colon at the end": (saying(PRINTED, COLONS + ":"), "not hexadecimal"),
    "two colons": (saying(PRINTED, COLONS.replace(":", "::", 1)), "not hexadecimal"),
    "colon within a byte": (saying(PRINTED, "0:0" + COLONS[2:]), "not hexadecimal"),
    "no hexadecimal": (saying(PRINTED, "GG" + COLONS[2:]), "not hexadecimal"),
    "a no-break space before a fingerprint": (saying(PRINTED, f"\u00a0{COLONS}"), "not hexadecimal"),
    "space in a fingerprint": (saying(PRINTED, COLONS.replace(":", " ")), "not hexadecimal"),
    "a fingerprint with elements": (holding(PRINTED, "b"), "<fingerprint/> holds elements"),
    "seventeen methods": (methods(*(f"m{index}" for index in range(17))), "17 methods"),
    "a method twice": (methods("psk", "sas", "psk"), "listed twice"),
    "a method without a name": (holding(SECURITY, f"{{{NS_SECURITY}}}method"), "'' is no name of a method"),
    "a long method": (methods("m" * 33), "is no name of a method"),
    "a method in capitals": (methods("PSK"), "'PSK' is no name of a method"),
    "a method with a comma": (methods("psk,sas"), "'psk,sas' is no name of a method"),
    "a method with a line break": (methods("psk\n"), r"'psk\\n' is no name of a method"),
    "no nonce": (lacking(SECURITY, "nonce"), "nonce has 0 bytes"),
    "short nonce": (having(SECURITY, nonce=b64(b"n" * 15)), "nonce has 15 bytes"),
    "long nonce": (having(SECURITY, nonce=b64(b"n" * 17)), "nonce has 17 bytes"),
    "nonce without padding": (having(SECURITY, nonce=NONCE.rstrip("=")), "nonce is not strict base64"),
    "nonce with space": (having(SECURITY, nonce=f" {NONCE}"), "nonce is not strict base64"),
    "nonce with stray bits": (having(SECURITY, nonce=NONCE[:-3] + "x=="), "nonce is not strict base64"),
    "two assertions": (twice(ASSERTION), "<assertion/> comes twice"),
    "empty assertion": (saying(ASSERTION, " "), "not a string of visible ASCII"),
    "assertion with space": (saying(ASSERTION, "e30 .e30"), "not a string of visible ASCII"),
    "assertion beyond ASCII": (saying(ASSERTION, "é"), "not a string of visible ASCII"),
    "long assertion": (saying(ASSERTION, "a" * (MAX_ASSERTION + 1)), "assertion has 12289 characters"),
    "assertion with elements": (holding(ASSERTION, "b"), "<assertion/> holds elements"),
    "two flights": (twice(FLIGHT), "<flight/> comes twice"),
    "empty flight": (saying(FLIGHT, None), "flight has 0 bytes"),
    "long flight": (saying(FLIGHT, b64(b"f" * (MAX_FLIGHT + 1))), "flight has 16385 bytes"),
    "flight with space": (saying(FLIGHT, "FgMB AA=="), "flight is not strict base64"),
    "flight with elements": (holding(FLIGHT, "b"), "<flight/> holds elements"),
}


@pytest.mark.parametrize(("edit", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_malformed_is_refused(edit: Edit, message: str) -> None:
    """Every broken rule is answered with bad-request, without a Jingle condition, and told to a person in words."""
    with pytest.raises(JingleError, match=message) as refusal:
        parse(initiate(edit))
    assert (refusal.value.condition, refusal.value.jingle_condition) == ("bad-request", None)
    assert refusal.value.jingle_reason == "security-error"


def test_a_refusal_quotes_little_of_what_came() -> None:
    """Strangers cannot fill or forge the lines of a log."""
    with pytest.raises(JingleError) as refusal:
        parse(initiate(having(".", action="x\n" * 100_000)))
    assert len(str(refusal.value)) < 100
    assert "\n" not in str(refusal.value)


def security(**changes: object) -> Security:
    assert PARSED.contents[0].security is not None
    return dataclasses.replace(PARSED.contents[0].security, **changes)  # type: ignore[arg-type]


def with_security(changed: Security) -> Jingle:
    return dataclasses.replace(PARSED, contents=(dataclasses.replace(PARSED.contents[0], security=changed),))


ALLOWED: dict[str, tuple[Edit, Jingle]] = {
    "the longest sid": (having(".", sid="s" * 128), dataclasses.replace(PARSED, sid="s" * 128)),
    "lower case": (saying(PRINTED, COLONS.lower()), PARSED),
    "no colons": (saying(PRINTED, PRINT.hex()), PARSED),
    "some colons, mixed case": (saying(PRINTED, COLONS[:48].replace(":", "") + COLONS[48:].lower()), PARSED),
    "white space around a fingerprint": (saying(PRINTED, f"\r\n\t {COLONS}\n "), PARSED),
    "white space around a flight": (saying(FLIGHT, "\n  FgMBAA==\n"), PARSED),
    "white space around an assertion": (saying(ASSERTION, "\n  e30.e30.c2ln~YmluZA\n"), PARSED),
    "no assertion": (cut(ASSERTION), with_security(security(assertion=None))),
    "no flight": (cut(FLIGHT), with_security(security(flight=None))),
    "the longest assertion": (saying(ASSERTION, "a" * MAX_ASSERTION), with_security(security(assertion="a" * MAX_ASSERTION))),
    "the shortest flight": (saying(FLIGHT, b64(b"f")), with_security(security(flight=b"f"))),
    "the longest flight": (saying(FLIGHT, b64(b"f" * MAX_FLIGHT)), with_security(security(flight=b"f" * MAX_FLIGHT))),
    "no methods": (methods(), with_security(security(methods=()))),
    "sixteen methods": (
        methods(*(f"m-{index}" for index in range(16))),
        with_security(security(methods=tuple(f"m-{index}" for index in range(16)))),
    ),
    "the longest method": (methods("m" * 32), with_security(security(methods=("m" * 32,)))),
    "methods in another order": (methods("fingerprint", "psk"), with_security(security(methods=("fingerprint", "psk")))),
    "unknown attributes": (both(having(SECURITY, news="1"), having(".", news="1")), PARSED),
    "unknown elements": (both(holding(SECURITY, "{urn:news}n"), holding(CONTENT, "{urn:news}n")), PARSED),
    "somebody else's security": (holding(CONTENT, "{urn:xmpp:jingle:security:xtls:0}security"), PARSED),
    "initiator= of a third party": (having(".", initiator="mallory@m.example/1"), PARSED),
    "senders spelled out": (having(CONTENT, senders="both"), PARSED),
}


@pytest.mark.parametrize(("edit", "expected"), ALLOWED.values(), ids=ALLOWED.keys())
def test_what_is_allowed(edit: Edit, expected: Jingle) -> None:
    """The longest of everything, other spellings of a fingerprint, white space around texts, unknown things pass."""
    assert parse(initiate(edit)) == expected


def test_a_reason_says_why_in_words() -> None:
    terminate_ = Jingle(Action.SESSION_TERMINATE, "sid", reason=Reason.BUSY, text="at lunch")
    assert parse(build(terminate_)) == terminate_
    info = Jingle(Action.SESSION_INFO, "sid", payload="{urn:xmpp:jingle:apps:rtp:info:1}ringing")
    assert parse(build(info)) == info


def test_a_comment_in_a_text_is_refused() -> None:
    element = initiate()
    fingerprint = at(element, PRINTED)
    comment = Comment("here")
    comment.tail = ":00"
    fingerprint.append(comment)
    with pytest.raises(JingleError, match="holds elements"):
        parse(element)


@pytest.mark.parametrize(
    ("action", "size"),
    [("session-initiate", 256), ("session-initiate", 65535), ("session-accept", 256), ("session-accept", 8192)],
)
def test_block_sizes(action: str, size: int) -> None:
    """An offer may exceed what we agree to (it is answered lower); an accept may not."""
    jingle = parse(initiate(having(".", action=action), having(TRANSPORT, block_size=str(size))))
    assert jingle.contents[0].transport == IBBTransport("ab01", size)


FOREIGN: dict[str, Edit] = {
    "security stripped": cut(SECURITY),
    "another application": both(cut(DESCRIPTION), holding(CONTENT, "{urn:xmpp:jingle:apps:rtp:1}description")),
    "no application": cut(DESCRIPTION),
    "an application without a namespace": both(cut(DESCRIPTION), holding(CONTENT, "description")),
    "another application with a security that is not to be read": both(
        cut(DESCRIPTION), holding(CONTENT, "{urn:xmpp:jingle:apps:rtp:1}description"), having(SECURITY, version="9")
    ),
    "the dead dialect": both(cut(SECURITY), holding(CONTENT, "{urn:xmpp:jingle:security:xtls:0}security")),
    "security in the wrong place": both(cut(SECURITY), holding(".", f"{{{NS_SECURITY}}}security")),
    "sixteen contents": contents(16),
}


@pytest.mark.parametrize("edit", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_not_ours_passes_as_such(edit: Edit) -> None:
    """Another application, or no <security/>, is read, so that a reason can answer it; nothing in it is secured."""
    jingle = parse(initiate(edit))
    assert jingle.secured is None
    assert not any(content.security for content in jingle.contents)


def test_a_foreign_application_is_named() -> None:
    """So that the answer can be unsupported-applications and not security-error."""
    jingle = parse(initiate(FOREIGN["another application"]))
    assert [content.application for content in jingle.contents] == ["urn:xmpp:jingle:apps:rtp:1"]
    for nameless in ("no application", "an application without a namespace"):
        assert [content.application for content in parse(initiate(FOREIGN[nameless])).contents] == [None]


@pytest.mark.parametrize(
    "edit", [cut(TRANSPORT), both(cut(TRANSPORT), holding(CONTENT, "{urn:xmpp:jingle:transports:ice:0}transport"))]
)
def test_a_foreign_transport_passes_as_none(edit: Edit) -> None:
    for action in ("session-initiate", "session-accept"):
        element = initiate(edit)
        element.set("action", action)
        jingle = parse(element)
        assert jingle.secured is not None
        assert jingle.secured.transport is None


def test_what_is_secured() -> None:
    (content,) = PARSED.contents
    assert PARSED.secured is content
    for others in (
        (),
        (content, content),
        (dataclasses.replace(content, security=None),),
        (dataclasses.replace(content, application="urn:xmpp:jingle:apps:rtp:1"),),
    ):
        assert dataclasses.replace(PARSED, contents=others).secured is None


def terminate(reason: str) -> Jingle:
    xml = f"<jingle xmlns='{NS_JINGLE}' action='session-terminate' sid='s'>{reason}</jingle>"
    return parse(fromstring(xml))


@pytest.mark.parametrize(
    ("inside", "reason", "text"),
    [
        ("", None, None),
        ("<reason><gone/></reason>", Reason.GONE, None),
        ("<reason><text>bye</text><success/></reason>", Reason.SUCCESS, "bye"),
        ("<reason><decline/><text/></reason>", Reason.DECLINE, None),
        ("<reason><media-error/><text>?</text></reason>", Reason.GENERAL_ERROR, "?"),
        ("<reason><success xmlns='urn:other'/></reason>", Reason.GENERAL_ERROR, None),
        ("<reason/>", Reason.GENERAL_ERROR, None),
        ("<reason><busy/><detail xmlns='urn:other'/></reason>", Reason.BUSY, None),
        ("<reason><busy/></reason><reason><success/></reason>", Reason.BUSY, None),
        (f"<reason><busy/><text>{'x' * 5000}</text></reason>", Reason.BUSY, "x" * MAX_TEXT),
    ],
)
def test_reasons_are_taken_as_they_come(inside: str, reason: Reason | None, text: str | None) -> None:
    jingle = terminate(inside)
    assert (jingle.reason, jingle.text) == (reason, text)


def test_a_comment_is_no_reason() -> None:
    """What a parser may leave in a tree beside elements is passed over."""
    element = build(Jingle(Action.SESSION_INFO, "s", reason=Reason.GONE))
    element.insert(0, Comment("here"))
    at(element, f"{{{NS_JINGLE}}}reason").insert(0, Comment("here"))
    assert parse(element) == Jingle(Action.SESSION_INFO, "s", reason=Reason.GONE)


@pytest.mark.parametrize(
    ("action", "inside", "payload"),
    [
        ("session-info", "", None),
        ("session-info", "<ringing xmlns='urn:news'/>", "{urn:news}ringing"),
        ("session-info", "<news/>", "{urn:xmpp:jingle:1}news"),
        ("session-info", "<reason><gone/></reason>", None),
        ("session-info", "<content creator='initiator' name='n'/>", None),
        ("session-terminate", "<ringing xmlns='urn:news'/>", None),
    ],
)
def test_session_info_tells_what_it_carries(action: str, inside: str, payload: str | None) -> None:
    xml = f"<jingle xmlns='{NS_JINGLE}' action='{action}' sid='s'>{inside}</jingle>"
    assert parse(fromstring(xml)).payload == payload


def test_the_actions_of_the_xep() -> None:
    """All fifteen actions of XEP-0166 §7.2 are known, so that each can be answered for what it is."""
    spelled = """
        content-accept content-add content-modify content-reject content-remove description-info security-info
        session-accept session-info session-initiate session-terminate transport-accept transport-info
        transport-reject transport-replace
    """
    assert sorted(action.value for action in Action) == spelled.split()


def test_the_reasons_of_the_protocol() -> None:
    """The reasons that the protocol lists, and no others, are given."""
    spelled = """
        success cancel decline busy timeout gone security-error connectivity-error failed-transport
        unsupported-applications unsupported-transports general-error
    """
    assert [reason.value for reason in Reason] == spelled.split()


def every_error(root: type[E2EError] = E2EError) -> Iterator[type[E2EError]]:
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)


@pytest.mark.parametrize("error", [error for error in every_error() if error.__module__ == errors.__name__])
def test_every_error_ends_a_session_with_a_reason_that_exists(error: type[E2EError]) -> None:
    assert Reason(error.jingle_reason)


def test_secrets_do_not_show() -> None:
    shown = repr(PARSED)
    assert "nonce" not in shown
    assert "e30" not in shown
    assert "flight" not in shown


@pytest.mark.parametrize(
    "changes", [{"nonce": b""}, {"fingerprint": b""}, {"methods": ("a,b",)}, {"flight": b""}, {"version": "2"}]
)
def test_forbidden_values_cannot_be_made(changes: dict[str, object]) -> None:
    """What the door refuses, our own side cannot say either."""
    with pytest.raises(ValueError, match=r"."):
        security(**changes)

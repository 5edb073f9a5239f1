"""A hello is taken only if it is well formed and mirrors ours."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, SubElement, fromstring

import pytest

from tests.pair import has_code
from xmpp_e2e.errors import AuthenticationFailed, Code, StreamError
from xmpp_e2e.inner.elements import (
    NS_AUTH,
    ROTATION,
    STEP,
    Hello,
    build_hello,
    build_rotation,
    build_step,
    parse_hello,
    parse_rotation,
    parse_step,
)
from xmpp_e2e.types import Assurance, Role

OURS = Hello(Role.INITIATOR, "sid", bytes(32), methods=("psk", "srp"))
THEIRS = Hello(Role.RESPONDER, "sid", bytes(32), methods=("psk", "sas"), need=("psk",), require=Assurance.VERIFIED)


def test_a_mirrored_hello_is_taken() -> None:
    assert parse_hello(build_hello(THEIRS)) == THEIRS
    THEIRS.verify_matches(OURS)


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        (replace(THEIRS, role=Role.INITIATOR), "claims our own role"),
        (replace(THEIRS, sid="another"), "another session"),
        (replace(THEIRS, neg=bytes(31) + b"\x01"), "did not see the same negotiation"),
    ],
    ids=["role", "sid", "neg"],
)
def test_what_does_not_mirror_ours_was_altered(altered: Hello, message: str) -> None:
    with pytest.raises(AuthenticationFailed, match=message, check=has_code(Code.NEGOTIATION_ALTERED)):
        altered.verify_matches(OURS)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (replace(THEIRS, need=("psk", "sas")), OURS, "needs 'sas', which is not set up here"),
        (replace(THEIRS, need=("\x9b31m" + "x" * 50,)), OURS, r"needs '\\x9b31mx{36}', which"),
        (THEIRS, replace(OURS, need=("psk", "srp")), "needs srp, which is not set up at the peer's"),
    ],
)
def test_a_need_that_cannot_be_met_is_named(theirs: Hello, ours: Hello, message: str) -> None:
    with pytest.raises(AuthenticationFailed, match=message, check=has_code(Code.METHOD_NOT_CONFIGURED)):
        theirs.check_methods(ours)


@pytest.mark.parametrize("count", [0, 16])
def test_lists_have_room(count: int) -> None:
    names = tuple(f"m{number}" for number in range(count))
    assert parse_hello(build_hello(replace(THEIRS, methods=names, need=names))).need == names


SEVENTEEN = " ".join(f"m{number}" for number in range(17))


@pytest.mark.parametrize(
    "attributes",
    [
        {"neg": "AA=="},
        {"neg": "A" * 42 + "B="},
        {"neg": build_hello(THEIRS).attrib["neg"].replace("A", "A\n", 1)},
        {"neg": build_hello(THEIRS).attrib["neg"].rstrip("=")},
        {"neg": None},
        {"rotations": "AA=="},
        {"rotations": "no base64"},
        {"sid": None},
        {"role": None},
        {"role": "listener"},
        {"require": None},
        {"require": "absolute"},
        {"methods": SEVENTEEN, "need": ""},
        {"methods": SEVENTEEN, "need": SEVENTEEN},
        {"methods": "psk", "need": "psk sas"},
    ],
    ids=str,
)
def test_what_is_malformed_is_no_hello(attributes: dict[str, str | None]) -> None:
    element = build_hello(THEIRS)
    for name, value in attributes.items():
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)
    with pytest.raises(StreamError, match="hello is malformed") as refused:
        parse_hello(element)
    assert refused.value.condition == "bad-format"


def test_a_hello_has_no_children() -> None:
    """What a later version puts inside is not overlooked."""
    element: Element = build_hello(THEIRS)
    SubElement(element, "more")
    with pytest.raises(StreamError, match="hello is malformed"):
        parse_hello(element)


@pytest.mark.parametrize("payload", [b"", b"a", bytes(768)], ids=["nothing", "a byte", "the most"])
def test_a_step_is_read_back(payload: bytes) -> None:
    assert parse_step(build_step("psk", payload)) == ("psk", payload)


def test_a_step_without_text_says_nothing() -> None:
    assert parse_step(Element(STEP, method="psk")) == ("psk", b"")


@pytest.mark.parametrize(
    "element",
    [
        build_step("psk", bytes(769)),
        Element(STEP),
        *(
            fromstring(f"<n:step xmlns:n='{NS_AUTH}' method='psk'>{inside}</n:step>")
            for inside in ("YQ", "YQ==<more/>", "<more/>")
        ),
    ],
    ids=["too long", "no method", "no padding", "an element inside", "nothing but an element inside"],
)
def test_what_is_malformed_is_no_step(element: Element) -> None:
    with pytest.raises(StreamError, match="step is malformed") as refused:
        parse_step(element)
    assert refused.value.condition == "bad-format"


def test_rotations_are_empty_or_absent() -> None:
    """A hello without the attribute comes from a client that knows no rotations."""
    assert "rotations" not in build_hello(THEIRS).attrib
    assert parse_hello(build_hello(replace(THEIRS, rotations=()))).rotations == ()
    assert parse_rotation(build_rotation(())) == ()


@pytest.mark.parametrize(
    "element",
    [
        fromstring(f"<rotation xmlns='{NS_AUTH}'>AA==</rotation>"),
        fromstring(f"<rotation xmlns='{NS_AUTH}'>no base64</rotation>"),
        fromstring(f"<rotation xmlns='{NS_AUTH}'><step/></rotation>"),
    ],
    ids=["no statements", "no base64", "an element inside"],
)
def test_malformed_rotation(element: Element) -> None:
    assert element.tag == ROTATION
    with pytest.raises(StreamError, match="rotation is malformed") as refused:
        parse_rotation(element)
    assert refused.value.condition == "bad-format"

"""What an offer must have, and how it is told what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair, has_code
from xmpp_e2e.errors import Code, JingleError
from xmpp_e2e.events import TransportAgreed
from xmpp_e2e.types import Role


def without(*names: str) -> Callable[[Element], None]:
    def edit(content: Element) -> None:
        for child in list(content):
            if child.tag.rpartition("}")[2] in names:
                content.remove(child)

    return edit


def of_another_application(content: Element) -> None:
    without("security")(content)
    for child in content:
        if child.tag.endswith("}description"):
            child.tag = "{urn:xmpp:jingle:apps:rtp:1}description"


def with_other_methods(content: Element) -> None:
    [security] = [child for child in content if child.tag.endswith("}security")]
    for method in security.findall("{*}method"):
        method.set("name", f"other-{method.get('name')}")


@pytest.mark.parametrize("action", ["session-initiate", "session-accept"])
@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (without("transport"), Code.UNSUPPORTED_TRANSPORT),
        (without("security"), Code.SECURITY_STRIPPED),
        (of_another_application, Code.PEER_INCOMPATIBLE),
        (with_other_methods, Code.NO_COMMON_METHOD),
    ],
    ids=["no transport", "no security", "another application", "no common method"],
)
def test_what_a_half_lacks(action: str, edit: Callable[[Element], None], code: Code) -> None:
    """No bytestream and another application are two programs that do not fit; a stream without security is an attack."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if element.get("action") == action:
            edit(element[0])
        return [element]

    pair = Pair(on_jingle=on_jingle).open()
    side = pair.bob if action == "session-initiate" else pair.alice
    assert has_code(code)(side.failure)
    assert not side.data_sent


def changed(name: str, value: str, where: str) -> Callable[[Element], None]:
    def edit(content: Element) -> None:
        for element in content.iter():
            if element.tag.endswith(f"}}{where}"):
                element.set(name, value)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (changed("sid", "another", "transport"), "was not offered"),
        (changed("name", "another", "content"), "was not offered"),
        (changed("block-size", "8192", "transport"), "raises the block size"),
    ],
    ids=["bytestream", "content", "block size"],
)
def test_an_accept_answers_what_was_offered(edit: Callable[[Element], None], message: str) -> None:
    """Another bytestream, another content or larger blocks than were offered: refused as a mistake, before TLS is asked."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if element.get("action") == "session-accept":
            edit(element[0])
        return [element]

    pair = Pair(on_jingle=on_jingle).open()
    assert isinstance(pair.alice.failure, JingleError)
    assert message in str(pair.alice.failure)
    assert pair.alice.failure.condition == "bad-request"


def test_ids_cannot_be_guessed() -> None:
    pair = Pair().open()
    (agreed,) = pair.alice.of(TransportAgreed)
    assert [len(bytes.fromhex(sid)) for sid in (pair.alice.session.sid, agreed.sid)] == [16, 16]
    assert pair.alice.session.sid != agreed.sid

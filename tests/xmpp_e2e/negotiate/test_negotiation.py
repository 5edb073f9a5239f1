"""What an offer must have, and how it is told what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest

from tests.pair import Pair
from xmpp_e2e.errors import PeerIncompatible, SecurityStripped, UnsupportedTransport
from xmpp_e2e.identity import Role


def without(*names: str) -> Callable[[Element], None]:
    """Take elements out of the content."""

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


@pytest.mark.parametrize("action", ["session-initiate", "session-accept"])
@pytest.mark.parametrize(
    ("edit", "failure"),
    [
        (without("transport"), UnsupportedTransport),
        (without("security"), SecurityStripped),
        (of_another_application, PeerIncompatible),
    ],
    ids=["no transport", "no security", "another application"],
)
def test_what_a_half_lacks(action: str, edit: Callable[[Element], None], failure: type[Exception]) -> None:
    """No bytestream and another application are two programs that do not fit; a stream without security is an attack."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if element.get("action") == action:
            edit(element[0])
        return [element]

    pair = Pair(on_jingle=on_jingle).open()
    side = pair.bob if action == "session-initiate" else pair.alice
    assert type(side.failure) is failure

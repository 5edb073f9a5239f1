"""Strangers are answered as our server answers for a resource that is not there."""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from slixmpp import Iq

from slixmpp_e2e.xmpp import unavailable_reply as absent
from slixmpp_e2e.xmpp.unavailable_reply import Absent
from tests.slixmpp_e2e.world import BOB

BARE = BOB.partition("/")[0]
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
TEXT = "<error xmlns='jabber:client' type='wait'><gone xmlns='urn:x'/><text xml:lang='fr' xmlns='urn:x'>Parti</text></error>"


class World:
    """An `Absent`, what it has asked the server, and what it has answered to strangers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: list[tuple[str, list[str], dict[str, str]]] = []
        self._replies: list[absent.Replied] = []
        self.absent = Absent(self._ask, self._send)

    def _ask(self, peer: str, payload: Element, attributes: dict[str, str], replied: absent.Replied) -> None:
        self.asked.append((peer, attributes))
        self._payload = payload
        self._replies.append(replied)

    def _send(self, request: Iq, children: tuple[Element, ...], attributes: dict[str, str]) -> None:
        texts = [ET.tostring(child, encoding="unicode") for child in children]
        self.answers.append((request["id"], texts, attributes))

    def stranger(self, id: str, language: str | None = None, size: int = 0) -> None:
        """A stranger asks."""
        attributes = {"type": "set", "id": id} | ({LANG: language} if language else {})
        xml = Element("{jabber:client}iq", attributes)
        xml.append(Element("offer", {"n": id, "x": "x" * size}))
        self.absent.answer(Iq(None, xml), BARE)

    def reply(self, error: str = TEXT, type: str = "error", language: str | None = None, *, echo: bool = False) -> None:
        """The server answers the oldest question."""
        xml = Element("{jabber:client}iq", {"type": type} | ({LANG: language} if language else {}))
        if echo:
            xml.append(self._payload)
        xml.append(ET.fromstring(error))
        self._replies.pop(0)(Iq(None, xml))


@pytest.fixture
def world() -> World:
    return World()


def test_the_server_is_asked_once_and_strangers_wait_for_it(world: World) -> None:
    """Who comes before the server has answered is answered after it, in order; who comes later at once."""
    world.stranger("1")
    world.stranger("2")
    assert world.answers == []
    world.reply()
    world.stranger("3")
    assert [id for id, _, _ in world.answers] == ["1", "2", "3"]
    assert all("Parti" in error and "wait" in error for _, (error,), _ in world.answers)
    assert len(world.asked) == 1


def test_nobody_can_guess_whom_we_ask_about(world: World) -> None:
    """It is another resource of our account each time."""
    world.stranger("1")
    world.absent.clear()
    world.stranger("2")
    assert {peer.partition("/")[0] for peer, _ in world.asked} == {BARE}
    assert len({peer for peer, _ in world.asked}) == 2
    assert all(len(peer.partition("/")[2]) == 32 for peer, _ in world.asked)


def test_a_server_that_speaks_the_language_of_who_asks_is_asked_in_it(world: World) -> None:
    """Each language has an answer of its own."""
    for language in (None, "de"):
        world.stranger("1", language)
        world.reply(language=language)
        world.stranger("2", language)
    assert [attributes for _, attributes in world.asked] == [{}, {LANG: "de"}]
    assert [attributes for _, _, attributes in world.answers] == [{}, {}, {LANG: "de"}, {LANG: "de"}]


def test_languages_are_bounded(world: World) -> None:
    """Beyond the bound the oldest is forgotten, and asked about again."""
    for number in range(absent.LANGUAGES + 1):
        world.stranger("1", f"x-{number}")
        world.reply()
    world.stranger("2", f"x-{absent.LANGUAGES}")
    assert len(world.asked) == absent.LANGUAGES + 1
    world.stranger("3", "x-0")
    assert len(world.asked) == absent.LANGUAGES + 2


@pytest.mark.parametrize(("size", "echoed"), [(0, True), (absent.ECHO_BYTES, False)])
def test_what_was_asked_comes_back_where_the_server_does_so(world: World, size: int, echoed: bool) -> None:
    """The request is repeated before the error, unless it is large."""
    world.stranger("1", size=size)
    world.reply(echo=True)
    ((_, children, _),) = world.answers
    assert len(children) == 1 + echoed
    assert ('n="1"' in children[0]) is echoed
    assert "Parti" in children[-1]


@pytest.mark.parametrize(
    ("error", "type"),
    [("<x/>", "result"), ("<x/>", "error"), (TEXT.replace("Parti", "x" * absent.ANSWER_BYTES), "error")],
    ids=["no error", "empty", "huge"],
)
def test_of_another_answer_nothing_is_taken(world: World, error: str, type: str) -> None:
    """Then strangers get the bare condition."""
    world.stranger("1")
    world.reply(error, type, "de", echo=True)
    ((_, (answer,), attributes),) = world.answers
    assert "service-unavailable" in answer
    assert "text" not in answer
    assert attributes == {}


def test_who_may_wait_is_bounded(world: World) -> None:
    """Beyond the bound strangers get the bare condition at once, whatever languages they turn to."""
    for number in range(absent.WAITING):
        world.stranger(str(number), f"x-{number % 2}")
    assert world.answers == []
    world.stranger("more", "x-2")
    ((id, (answer,), _),) = world.answers
    assert (id, "service-unavailable" in answer) == ("more", True)
    assert len(world.asked) == 2


def test_on_another_stream_the_server_is_asked_again(world: World) -> None:
    """What waited is forgotten with the stream, and so is what was learned."""
    world.stranger("1")
    world.absent.clear()
    world.stranger("2")
    assert len(world.asked) == 2
    world.reply()
    world.absent.clear()
    world.stranger("3")
    assert len(world.asked) == 3

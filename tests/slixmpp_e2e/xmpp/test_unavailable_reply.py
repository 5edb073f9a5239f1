"""Strangers get the answer of our server for a resource that does not exist."""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.xmpp import unavailable_reply as absent
from slixmpp_e2e.xmpp.unavailable_reply import UnavailableReply
from tests.slixmpp_e2e.env import BOB

BARE = BOB.partition("/")[0]
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
TEXT = "<error xmlns='jabber:client' type='wait'><gone xmlns='urn:x'/><text xml:lang='fr' xmlns='urn:x'>Parti</text></error>"


class World:
    """An UnavailableReply, what it has asked the server, and what it has answered to strangers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: list[tuple[str, list[str], dict[str, str]]] = []
        self._replies: list[absent.OnReply] = []
        self.absent = UnavailableReply(self._ask, self._send)

    def _ask(self, peer: str, payload: Element, attributes: dict[str, str], replied: absent.OnReply) -> None:
        self.asked.append((peer, attributes))
        self._payload = payload
        self._replies.append(replied)

    def _send(self, request: Element, children: tuple[Element, ...], attributes: dict[str, str]) -> None:
        texts = [ET.tostring(child, encoding="unicode") for child in children]
        self.answers.append((request.get("id", ""), texts, attributes))

    def stranger(self, id: str, language: str | None = None, size: int = 0) -> None:
        attributes = {"type": "set", "id": id} | ({LANG: language} if language else {})
        xml = Element("{jabber:client}iq", attributes)
        xml.append(Element("offer", {"n": id, "x": "x" * size}))
        self.absent.answer(xml, BARE)

    def reply(self, error: str = TEXT, type: str = "error", language: str | None = None, *, echo: bool = False) -> None:
        xml = Element("{jabber:client}iq", {"type": type} | ({LANG: language} if language else {}))
        if echo:
            xml.append(self._payload)
        xml.append(ET.fromstring(error))
        self._replies.pop(0)(xml)


@pytest.fixture
def world() -> World:
    return World()


def test_the_server_is_asked_once_and_strangers_wait_for_it(world: World) -> None:
    world.stranger("1")
    world.stranger("2")
    assert world.answers == []
    world.reply()
    world.stranger("3")
    assert [id for id, _, _ in world.answers] == ["1", "2", "3"]
    assert all("Parti" in error and "wait" in error for _, (error,), _ in world.answers)
    assert len(world.asked) == 1


def test_nobody_can_guess_the_resource_that_we_ask_about(world: World) -> None:
    world.stranger("1")
    world.absent.clear()
    world.stranger("2")
    assert {peer.partition("/")[0] for peer, _ in world.asked} == {BARE}
    assert len({peer for peer, _ in world.asked}) == 2
    assert all(len(peer.partition("/")[2]) == 32 for peer, _ in world.asked)


def test_the_server_is_asked_in_the_language_of_the_stranger(world: World) -> None:
    for language in (None, "de"):
        world.stranger("1", language)
        world.reply(language=language)
        world.stranger("2", language)
    assert [attributes for _, attributes in world.asked] == [{}, {LANG: "de"}]
    assert [attributes for _, _, attributes in world.answers] == [{}, {}, {LANG: "de"}, {LANG: "de"}]


def test_languages_are_bounded(world: World) -> None:
    for number in range(absent.LANGUAGES + 1):
        world.stranger("1", f"x-{number}")
        world.reply()
    world.stranger("2", f"x-{absent.LANGUAGES}")
    assert len(world.asked) == absent.LANGUAGES + 1
    world.stranger("3", "x-0")
    assert len(world.asked) == absent.LANGUAGES + 2


@pytest.mark.parametrize(("size", "echoed"), [(0, True), (absent.ECHO_BYTES, False)])
def test_the_request_is_echoed_where_the_server_does_so(world: World, size: int, echoed: bool) -> None:
    world.stranger("1", size=size)
    world.reply(echo=True)
    ((_, children, _),) = world.answers
    assert len(children) == 1 + echoed
    assert ('n="1"' in children[0]) is echoed
    assert "Parti" in children[-1]


@pytest.mark.parametrize(
    ("error", "type"),
    [("<x/>", "result"), ("<x/>", "error"), (TEXT.replace("Parti", "x" * absent.REPLY_BYTES), "error")],
    ids=["no error", "empty", "huge"],
)
def test_nothing_is_taken_of_an_answer_that_is_no_error(world: World, error: str, type: str) -> None:
    world.stranger("1")
    world.reply(error, type, "de", echo=True)
    ((_, (answer,), attributes),) = world.answers
    assert "service-unavailable" in answer
    assert "text" not in answer
    assert attributes == {}


def test_waiting_strangers_are_bounded(world: World) -> None:
    """Beyond the bound strangers get the bare condition at once, in whatever language they ask."""
    for number in range(absent.WAITING):
        world.stranger(str(number), f"x-{number % 2}")
    assert world.answers == []
    world.stranger("more", "x-2")
    ((id, (answer,), _),) = world.answers
    assert (id, "service-unavailable" in answer) == ("more", True)
    assert len(world.asked) == 2


def test_on_another_stream_the_server_is_asked_again(world: World) -> None:
    world.stranger("1")
    world.absent.clear()
    world.stranger("2")
    assert len(world.asked) == 2
    world.reply()
    world.absent.clear()
    world.stranger("3")
    assert len(world.asked) == 3

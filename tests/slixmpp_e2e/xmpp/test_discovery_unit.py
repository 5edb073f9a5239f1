"""What is advertised, and who is taken to advertise it: slixmpp's plugins are what the test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import JID, Iq
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.xmpp import discovery
from tests.slixmpp_e2e.world import ALICE, BOB

JINGLE, IBB = "urn:xmpp:jingle:1", "urn:xmpp:jingle:transports:ibb:1"
XMLSTREAM, SECURITY = "urn:xmpp:jingle:apps:xmlstream:0", "urn:x-xmpp-e2e:security:0"


class Slixmpp:
    """A client as far as discovery knows it: disco#info, caps and presence."""

    def __init__(self, *plugins: str, component: bool = False) -> None:
        self.is_component, self.boundjid = component, JID("bots.localhost" if component else ALICE)
        self.plugin: dict[str, Any] = {"xep_0030": self, "xep_0115": self, **dict.fromkeys(plugins)}
        self.api = self.static = self
        self.features: set[str] = set()
        self.registered: list[Any] = []
        self.said: list[bool] = []
        self.void: list[str] = []
        self.asked: list[Any] = []
        self.answer: Any = None
        self.filed: dict[str, Any] = {}
        self.version: str | None = None
        self.hashes = ["sha-1", "sha-256"]

    def add_feature(self, feature: str) -> None:
        self.features.add(feature)

    def del_feature(self, feature: str) -> None:
        self.features.discard(feature)

    def register(self, handler: Any, op: str) -> None:
        assert op == "get_info"
        self.registered.append(handler)

    async def update_caps(self, broadcast: bool = True) -> None:
        self.said.append(broadcast)

    def assign_verstring(self, peer: JID, version: None) -> None:
        self.void.append(peer.full)

    async def get_verstring(self, peer: JID) -> str | None:
        return self.version

    async def get_caps(self, verstring: str) -> Any:
        return self.filed.get(verstring)

    def generate_verstring(self, info: Any, name: str) -> str:
        return f"{name} of {len(info['features'])}"

    def get_info(self, *words: Any, **more: Any) -> Any:
        if words:
            return features("native")

        async def ask() -> Any:
            self.asked.append(more["ifrom"])
            if isinstance(self.answer, Exception):
                raise self.answer
            return {"disco_info": self.answer}

        return ask()


def features(*names: str) -> DiscoInfo:
    info = DiscoInfo()
    for name in names:
        info.add_feature(name)
    return info


@pytest.mark.parametrize("announce", [False, True])
async def test_what_we_advertise(announce: bool) -> None:
    """All four features; a client's answers are slixmpp's."""
    client: Any = Slixmpp()
    await discovery.advertise(client, announce=announce)
    assert client.features == {JINGLE, IBB, XMLSTREAM, SECURITY}
    assert (client.said, client.registered) == ([announce], [])


async def test_a_component_answers_for_every_address() -> None:
    """With what slixmpp knows of it and our features; other nodes, and other answers, are none of ours."""
    component: Any = Slixmpp(component=True)
    await discovery.advertise(component, announce=True)
    [answer] = component.registered
    ours = {"native", DiscoInfo.namespace, JINGLE, IBB, XMLSTREAM, SECURITY}
    assert answer(JID("echo@bots.localhost"), None, JID(ALICE), {})["features"] == ours
    assert answer(JID("echo@bots.localhost"), "node", JID(ALICE), {})["features"] == {"native"}
    component.static = SimpleNamespace(get_info=lambda *words: None)
    assert answer(JID("echo@bots.localhost"), None, JID(ALICE), {}) is None
    await discovery.withdraw(component)
    assert component.registered[1:] == [component.static.get_info]


@pytest.mark.parametrize(("loaded", "left"), [((), set()), (("xep_0166",), {JINGLE}), (("xep_0261",), {IBB})])
async def test_what_is_taken_back(loaded: tuple[str, ...], left: set[str]) -> None:
    """All but what another plugin advertises, too."""
    client: Any = Slixmpp(*loaded)
    await discovery.advertise(client, announce=False)
    await discovery.withdraw(client)
    assert client.features == left
    assert (len(client.said), client.registered) == (2, [])


def test_whom_a_presence_makes_forgotten() -> None:
    """Everybody but ourselves: a client's own address, and all of a component's."""
    client, component = Slixmpp(), Slixmpp(component=True)
    for slixmpp in (client, component):
        for peer in (ALICE, f"{ALICE}b", "echo@bots.localhost/x"):
            anything: Any = slixmpp
            discovery.forget(anything, JID(peer))
    assert client.void == [f"{ALICE}b", "echo@bots.localhost/x"]
    assert component.void == [ALICE, f"{ALICE}b"]


def refusal(condition: str) -> IqError:
    iq = Iq()
    iq["error"]["condition"] = condition
    return IqError(iq)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (features(SECURITY), True),
        (features(JINGLE), False),
        (refusal("feature-not-implemented"), False),
        (refusal("service-unavailable"), None),
        (IqTimeout(Iq()), None),
    ],
)
async def test_an_answer(answer: Any, expected: bool | None) -> None:
    """He says so, or does not; or nobody answers."""
    client: Any = Slixmpp()
    client.answer = answer
    assert await discovery.supports(client, JID(ALICE), JID(BOB)) is expected
    assert client.asked == [None]


@pytest.mark.parametrize(
    ("version", "filed", "asked"),
    [
        ("sha-1 of 1", features(SECURITY), 0),
        ("sha-256 of 1", features(SECURITY), 0),
        ("sha-1 of 2", features(SECURITY), 1),
        ("sha-1 of 1", None, 1),
        (None, features(SECURITY), 1),
    ],
)
async def test_what_is_filed_under_a_hash(version: str | None, filed: Any, asked: int) -> None:
    """Counts if it has that hash; else he is asked, by a component from the address that wants to know."""
    component: Any = Slixmpp(component=True)
    component.version, component.answer = version, features(SECURITY)
    component.filed = {version or "": filed}
    assert await discovery.supports(component, JID("echo@bots.localhost"), JID(BOB))
    assert component.asked == [JID("echo@bots.localhost")] * asked


async def test_all_are_asked() -> None:
    """Each has his answer."""
    client: Any = Slixmpp()
    client.answer = features(SECURITY)
    assert await discovery.supporting(client, JID(ALICE), [BOB, ALICE]) == {BOB: True, ALICE: True}

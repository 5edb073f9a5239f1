"""Who is taken to advertise encryption, and what is forgotten of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import JID, ClientXMPP, Iq
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.xmpp import discovery
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns
from xmpp_loopback import Direction, offline, reconnect

JINGLE, IBB = "urn:xmpp:jingle:1", "urn:xmpp:jingle:transports:ibb:1"
XMLSTREAM, SECURITY = "urn:xmpp:jingle:apps:xmlstream:0", "urn:x-xmpp-e2e:security:0"
PRESENCE = "{jabber:client}presence"


async def test_our_own_presence_is_not_forgotten(env: Env) -> None:
    alice = await env.client(ALICE)
    await env.settle(alice)
    bob = await env.client(BOB)
    await env.settle(alice, bob)
    seen = Events(bob, "presence_available")
    alice.send_presence(pstatus="later")
    presence = await seen.take()
    info = await bob.plugin["xep_0115"].get_caps(verstring=presence["caps"]["ver"])
    assert SECURITY in info["features"]


async def test_a_login_is_announced_once(env: Env) -> None:
    """The program's own first presence tells what we can do, and nothing else is sent before it or after."""
    alice = env.make(ALICE, "xep_0115")
    alice.add_event_handler("session_start", lambda event: alice.send_presence())
    for login in (1, 2):
        await reconnect(alice, env.server)
        await turns()
        await env.settle(alice)
        received = [stanza for stanza in env.server.handled if stanza.direction is Direction.RECEIVED]
        said = [stanza for stanza in received if stanza.element.tag == PRESENCE]
        assert len([stanza for stanza in said if stanza.element.get("type") is None]) == login
        version: Any = said[-1].element.find("{http://jabber.org/protocol/caps}c")
        info = await alice.plugin["xep_0115"].get_caps(verstring=version.get("ver"))
        assert SECURITY in info["features"]
        await offline(alice)


async def test_what_was_filed_under_a_hash_must_have_it(env: Env) -> None:
    """slixmpp files its own features under their hash and goes on changing them; another client with the hash of fewer features
    is not taken to have encryption."""
    alice, bob = await env.pair(bobs={"load": False})
    info = DiscoInfo()
    info.add_feature(SECURITY)
    caps = alice.plugin["xep_0115"]
    await caps.cache_caps("of fewer features", info)
    await caps.assign_verstring(bob.boundjid, "of fewer features")
    assert await discovery.supports(alice, alice.boundjid, bob.boundjid) is False


class Slixmpp:
    """A client as far as discovery knows it: disco#info, caps and presence."""

    def __init__(self, *plugins: str, component: bool = False) -> None:
        self.is_component, self.boundjid = component, JID("bots.localhost" if component else ALICE)
        self.plugin: dict[str, Any] = {"xep_0030": self, "xep_0115": self, **dict.fromkeys(plugins)}
        self.api = self.static = self
        self.features: set[str] = set()
        self.registered: list[Any] = []
        self.said: list[bool] = []
        self.jid_vers = dict.fromkeys((ALICE, f"{ALICE}b", "echo@bots.localhost/x"), "a hash")
        self.asked: list[Any] = []
        self.answer: Any = None
        self.filed: dict[str, Any] = {}
        self.version: str | None = None
        self.client_roster = SimpleNamespace(last_status=None)
        self.hashes = ["sha-1", "sha-256"]

    def add_feature(self, feature: str) -> None:
        self.features.add(feature)

    def del_feature(self, feature: str) -> None:
        self.features.discard(feature)

    def register(self, handler: Any, op: str, jid: JID | None = None) -> None:
        assert (op, jid) == ("get_info", None if self.is_component else self.boundjid)
        self.registered.append(handler)

    async def update_caps(self, broadcast: bool = True) -> None:
        self.said.append(broadcast)

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


async def test_who_accepts_few_tells_only_them(env: Env) -> None:
    """Their presence says nothing, nor what strangers get; who was offered a session may offer one, and so hears."""
    alice, bob = await env.client(ALICE, accept_from=[]), await env.client(BOB)
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)

    async def can(asker: ClientXMPP) -> bool | None:
        return await discovery.supports(asker, asker.boundjid, alice.boundjid)

    assert not await can(bob)
    assert SECURITY not in (await alice.plugin["xep_0030"].get_info(local=True))["features"]
    await env.session(alice, bob)
    assert (await can(bob), await can(carol)) == (True, False)
    e2e(alice).set_accept_from("anyone")
    await env.settle(alice, bob, carol)
    assert (await can(bob), await can(carol)) == (True, True)
    e2e(alice).set_accept_from([])
    await env.settle(alice, bob, carol)
    assert (await can(bob), await can(carol)) == (False, False)


@pytest.mark.parametrize("config", [{"policy": "off"}, {"trust_model": "server-trusted"}])
async def test_who_wants_no_encryption_advertises_none(env: Env, config: dict[str, Any]) -> None:
    """But to whom the user has set a policy for."""
    alice, bob, carol = await env.client(ALICE, **config), await env.client(BOB), await env.client("carol@localhost/c")
    e2e(alice).set_policy("carol@localhost", "prefer", "server-authenticates")
    await env.settle(alice, bob, carol)
    heard = Events(alice, "message")
    for client, assurance in ((bob, "none"), (carol, "vouched")):
        client.send_message(mto=ALICE, mbody="hello")
        assert str((await heard.take())["e2e"]["assurance"]) == assurance


def test_presence_makes_us_forget_capabilities_of_others() -> None:
    """And leaves nothing of whoever sends it."""
    client, component = Slixmpp(), Slixmpp(component=True)
    for slixmpp in (client, component):
        for peer in (ALICE, f"{ALICE}b", "echo@bots.localhost/x", "eve@evil.test/x"):
            anything: Any = slixmpp
            discovery.forget(anything, JID(peer))
    assert list(client.jid_vers) == [ALICE]
    assert list(component.jid_vers) == ["echo@bots.localhost/x"]


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
        (features(JINGLE, f"a<{SECURITY}"), None),
    ],
)
async def test_an_answer_tells_whether_encryption_is_supported(answer: Any, expected: bool | None) -> None:
    client: Any = Slixmpp()
    client.answer = answer
    assert await discovery.supports(client, JID(ALICE), JID(BOB)) is expected
    assert client.asked == [None]


@pytest.mark.parametrize(
    ("version", "filed", "asked"),
    [
        ("sha-1 of 1", features(SECURITY), 0),
        ("sha-256 of 1", features(SECURITY), 0),
        ("sha-1 of 1", features(JINGLE), 1),
        ("sha-1 of 2", features(SECURITY, "a<b"), 1),
        ("sha-1 of 2", features(SECURITY), 1),
        ("sha-1 of 1", None, 1),
        (None, features(SECURITY), 1),
    ],
)
async def test_what_is_filed_under_a_hash(version: str | None, filed: Any, asked: int) -> None:
    """Encryption counts if it is in an info that has the hash under which it is filed; else the peer is asked, by the right
    address. That it is not in an info says nothing: a stranger may have told it."""
    component: Any = Slixmpp(component=True)
    component.version, component.answer = version, features(SECURITY)
    component.filed = {version or "": filed}
    assert await discovery.supports(component, JID("echo@bots.localhost"), JID(BOB))
    assert component.asked == [JID("echo@bots.localhost")] * asked

"""What we advertise, and that it takes the place of nothing that the program itself answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError, XMPPError
from slixmpp.plugins.xep_0030 import DiscoInfo

from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.peer_settings import PeerSettings
from slixmpp_e2e.xmpp.advertising import Advertiser
from slixmpp_e2e.xmpp.discovery import FEATURES
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, Env, e2e, until
from tests.slixmpp_e2e.messages.stanzas import stanza
from xmpp_e2e.negotiate.jingle import NS_IBB, NS_JINGLE, NS_SECURITY

NS_DISCO = "http://jabber.org/protocol/disco#info"


class Slixmpp:
    """A client, or a component, as far as advertising knows it."""

    def __init__(self, *plugins: str, component: bool = False) -> None:
        self.is_component = component
        self.plugin: dict[str, Any] = {"xep_0030": self, "xep_0115": self, **dict.fromkeys(plugins)}
        self.features: set[str] = set()
        self.said: list[bool] = []
        self.filters: list[Any] = []
        self.client_roster = SimpleNamespace(last_status=None)

    def add_feature(self, feature: str) -> None:
        self.features.add(feature)

    def del_feature(self, feature: str) -> None:
        self.features.discard(feature)

    async def update_caps(self, broadcast: bool = True) -> None:
        self.said.append(broadcast)

    def add_filter(self, mode: str, handler: Any) -> None:
        assert mode == "out"
        self.filters.append(handler)

    def del_filter(self, mode: str, handler: Any) -> None:
        self.filters.remove(handler)


@pytest.mark.parametrize("announce", [False, True])
@pytest.mark.parametrize("sent", [False, True])
async def test_what_we_advertise(announce: bool, sent: bool) -> None:
    """Presence is sent again, if the program has sent any."""
    client: Any = Slixmpp()
    client.client_roster.last_status = "here" if sent else None
    advertiser = Advertiser(client, lambda asker, own: True)
    for _ in range(2):
        await advertiser.advertise(announce=announce)
        assert client.features == set(FEATURES)
        assert len(client.filters) == 1
    assert client.said == [announce and sent] * 2
    for _ in range(2):
        await advertiser.withdraw()
        assert client.filters == []
    assert client.said[2:] == [sent] * 2


@pytest.mark.parametrize(("loaded", "left"), [((), set()), (("xep_0166",), {NS_JINGLE}), (("xep_0261",), {NS_IBB})])
async def test_features_are_withdrawn(loaded: tuple[str, ...], left: set[str]) -> None:
    client: Any = Slixmpp(*loaded)
    advertiser = Advertiser(client, lambda asker, own: True)
    await advertiser.advertise(announce=False)
    await advertiser.withdraw()
    assert client.features == left


async def test_the_domain_of_a_component_keeps_its_features() -> None:
    component: Any = Slixmpp(component=True)
    advertiser = Advertiser(component, lambda asker, own: True)
    await advertiser.advertise(announce=True)
    assert (component.features, component.said, len(component.filters)) == (set(), [], 1)
    await advertiser.withdraw()
    assert (component.said, component.filters) == ([], [])


@pytest.mark.parametrize(
    ("kind", "child", "ends", "completed"),
    [
        ("result", f"<query xmlns='{NS_DISCO}'><feature var='{NS_JINGLE}'/></query>", True, True),
        ("result", f"<query xmlns='{NS_DISCO}' node=''/>", True, True),
        ("result", f"<query xmlns='{NS_DISCO}' node='http://slixmpp.com/ver/1.17.0#hash'/>", True, False),
        ("result", f"<query xmlns='{NS_DISCO}'/>", False, False),
        ("result", "<query xmlns='http://jabber.org/protocol/disco#items'/>", True, False),
        ("get", f"<query xmlns='{NS_DISCO}'/>", True, False),
        ("error", f"<query xmlns='{NS_DISCO}'/>", True, False),
    ],
)
def test_which_answers_are_completed(kind: str, child: str, ends: bool, completed: bool) -> None:
    """An answer about a node may be what stands behind a hash, and an address that is no end of a session has no encryption."""
    client: Any = Slixmpp()
    asked: list[tuple[str, str]] = []

    def tells(asker: JID | None, own: JID | None) -> bool:
        asked.append((str(asker), str(own)))
        return ends

    answer = stanza("iq", kind, child, sender=f"echo@{BOTS}/x", to=ALICE, id="1")
    assert Advertiser(client, tells).complete(answer) is answer
    told = [str(feature.get("var")) for feature in answer.xml.iter(f"{{{NS_DISCO}}}feature")]
    assert (sorted(told) == sorted(FEATURES)) is completed
    assert set(asked) <= {(ALICE, f"echo@{BOTS}/x")}


async def info_of(asker: ClientXMPP, jid: str, node: str = "") -> DiscoInfo:
    answer: Any = await until(asker.plugin["xep_0030"].get_info(jid=jid, node=node or None, timeout=10))
    info: DiscoInfo = answer["disco_info"]
    return info


def of_a_gateway(jid: JID, node: str, asker: JID, data: Any) -> DiscoInfo:
    """As gateways answer: each address has something of its own to say, and there are some that do not exist."""
    if jid.user == "nobody":
        raise XMPPError("item-not-found")
    info = DiscoInfo()
    info.add_identity("conference" if jid.user == "room" else "client", "text", name=f"{jid.user} {node}")
    info.add_feature("urn:example:mine")
    return info


@pytest.mark.parametrize("late", [False, True], ids=["before us", "after us"])
@pytest.mark.parametrize("how", ["global", "jid"])
async def test_the_programs_own_handler_goes_on_answering(env: Env, late: bool, how: str) -> None:
    """Whenever it was registered, and for whichever addresses."""
    bots, alice = await env.component(accept_from=["localhost"]), await env.client(ALICE)
    full = f"echo@{BOTS}/x"
    if not late:
        env.unload(bots)
    bots.plugin["xep_0030"].set_node_handler("get_info", JID(full) if how == "jid" else None, None, of_a_gateway)
    if not late:
        env.load(bots, accept_from=["localhost"])
    await env.settle(alice)
    info = await info_of(alice, full)
    assert {"urn:example:mine", NS_SECURITY} <= set(info["features"])
    assert [name for *_, name in info["identities"]] == ["echo "]
    assert NS_SECURITY not in (await info_of(alice, full, "a node"))["features"]
    env.unload(bots)
    await env.settle(alice)
    assert set((await info_of(alice, full))["features"]) == {"urn:example:mine"}


async def test_what_does_not_exist_goes_on_not_existing_and_what_is_no_end_advertises_nothing(env: Env) -> None:
    bots, alice = await env.component(accept_from=["localhost"]), await env.client(ALICE)
    bots.plugin["xep_0030"].set_node_handler("get_info", None, None, of_a_gateway)
    with pytest.raises(IqError) as caught:
        await info_of(alice, f"nobody@{BOTS}/x")
    assert caught.value.condition == "item-not-found"
    for jid in (BOTS, f"echo@{BOTS}", f"room@{BOTS}"):
        assert set((await info_of(alice, jid))["features"]) == {"urn:example:mine"}, jid


async def test_a_clients_own_handler_goes_on_answering(env: Env) -> None:
    bob, alice = await env.client(BOB), await env.client(ALICE)
    bob.plugin["xep_0030"].set_node_handler("get_info", None, None, of_a_gateway)
    info = await info_of(alice, BOB)
    assert {"urn:example:mine", NS_SECURITY} <= set(info["features"])


async def test_what_the_program_keeps_is_left_as_it_is(env: Env) -> None:
    """One answer is for one asker: the next may be one from whom no session is accepted."""
    kept = of_a_gateway(JID(BOB), "", JID(ALICE), {})
    bob, alice = await env.client(BOB), await env.client(ALICE)
    bob.plugin["xep_0030"].set_node_handler("get_info", None, None, lambda *words: kept)
    assert NS_SECURITY in (await info_of(alice, BOB))["features"]
    assert set(kept["features"]) == {"urn:example:mine"}


async def test_a_store_that_cannot_be_read_costs_no_answer(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may open sessions for another reason than a list is not told of them then."""
    alice, bob = await env.client(ALICE), await env.client(BOB, accept_from=[])
    await env.session(bob, alice)
    client = e2e(bob)._client
    assert NS_SECURITY in (await info_of(alice, BOB))["features"]

    def fail(account: str) -> PeerSettings:
        raise StoreError(Path("store"), "no")

    monkeypatch.setattr(client.peers, "of", fail)
    assert not client.advertises_to(JID(ALICE), JID(BOB))
    monkeypatch.undo()
    assert client.advertises_to(JID(ALICE), JID(BOB))

"""The Prosody that attacks: what becomes of an iq between two of its users is up to hooks of ours, while they are there."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP

from interop.servers.prosody import Prosody
from interop.servers.prosody.middleman import MODULE, Middleman, extra
from interop.stage import Stage


def load(client: ClientXMPP) -> None:
    client.register_plugin("xep_0092", {"software_name": client.requested_jid.user})


async def asked(client: ClientXMPP, peer: ClientXMPP) -> str:
    """Which software the peer has, as far as the client learns (XEP-0092)."""
    answer = await client.plugin["xep_0092"].get_version(peer.boundjid)
    return str(answer["software_version"]["name"])


async def test_hooks_change_what_passes_while_they_are_there() -> None:
    """They get both ways, stamped; without a hook everything goes on, and so it does when the middleman has gone."""
    seen: list[tuple[str, str | None]] = []

    def lie(stanza: Element, sender: str) -> Element:
        seen.append((sender, stanza.get("type")))
        for name in stanza.iter("{jabber:iq:version}name"):
            name.text = "mallory"
        return stanza

    async with Prosody(modules=(MODULE,), extra=extra("a.test")) as server, Stage(server) as stage:
        alice, bob = await stage.client("alice", prepare=load), await stage.client("bob", prepare=load)
        assert await asked(alice, bob) == "bob"
        async with Middleman(server) as middleman:
            assert await asked(alice, bob) == "bob"
            middleman.hooks.append(lie)
            assert await asked(alice, bob) == "mallory"
        assert await asked(alice, bob) == "bob"
    assert seen == [("alice@a.test/stage", "get"), ("bob@a.test/stage", "result")]

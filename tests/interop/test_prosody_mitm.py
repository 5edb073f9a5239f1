"""The Prosody that attacks: our hooks change iqs between its users, while the component is connected."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.servers.prosody import Prosody
from interop.servers.prosody.mitm import MODULE, Mitm, extra


def load(client: ClientXMPP) -> None:
    client.register_plugin("xep_0092", {"software_name": client.requested_jid.user})


async def asked(client: ClientXMPP, peer: ClientXMPP) -> str:
    """Return the peer's software, as far as the client learns it (XEP-0092)."""
    answer = await client.plugin["xep_0092"].get_version(peer.boundjid)
    return str(answer["software_version"]["name"])


async def test_hooks_change_what_passes_while_they_are_there() -> None:
    """They see stamped iqs in both directions. Without a hook or without the component, iqs pass unchanged."""
    seen: list[tuple[str, str | None]] = []

    def lie(stanza: Element, sender: str) -> Element:
        seen.append((sender, stanza.get("type")))
        for name in stanza.iter("{jabber:iq:version}name"):
            name.text = "mallory"
        return stanza

    async with Prosody(modules=(MODULE,), extra=extra("a.test")) as server, Harness(server) as harness:
        alice, bob = await harness.client("alice", prepare=load), await harness.client("bob", prepare=load)
        assert await asked(alice, bob) == "bob"
        async with Mitm(server) as mitm:
            assert await asked(alice, bob) == "bob"
            mitm.hooks.append(lie)
            assert await asked(alice, bob) == "mallory"
        assert await asked(alice, bob) == "bob"
    assert seen == [("alice@a.test/harness", "get"), ("bob@a.test/harness", "result")]

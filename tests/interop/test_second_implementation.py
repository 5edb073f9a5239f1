"""An implementation that was written from docs/protocol.md alone, with the plugin over real servers."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, SasUser, derive_password, echo, share
from interop.runner import Runner, Scene
from tests.docs import second_proofs, second_signalling
from tests.docs.second_implementation import Endpoint
from tests.docs.test_second_implementation import flush, install
from tests.interop.running import run_scene
from tests.pair import body

KEY, PASSWORD = bytes(range(32)), "na\u00efve fog"


async def both_prove_and_talk(harness: Harness) -> None:
    """A bot has the plugin; Alice's program is the other one. They share a key and a password, talk, and compare."""
    person = SasUser()
    bot = await harness.e2e_client("bob", prepare=echo, ask_sas=person.compare)
    second, peer = f"{harness.jid('alice')}/second", bot.boundjid
    secrets = {"psk": KEY, "srp": second_proofs.stretched(PASSWORD, harness.jid("alice"), peer.bare)}
    endpoint = Endpoint(second, peer.full, flights=True, secrets=secrets, need=("psk", "srp"), compares=True)

    def prepare(client: ClientXMPP) -> None:
        for name in ("xep_0030", "xep_0115"):
            client.register_plugin(name)
        install(client, endpoint)
        plugins: Any = client.plugin
        for feature in second_signalling.FEATURES:
            plugins["xep_0030"].add_feature(feature)

    alice = await harness.client("alice", "second", prepare)
    share(bot, alice, psk=KEY, srp=derive_password(bot, alice, PASSWORD))
    started, ended = Events(bot, "e2e_session_opened"), Events(bot, "e2e_session_closed")
    endpoint.offer()
    flush(alice, endpoint)
    assert str((await started.take()).assurance) == "verified"
    await harness.settle(alice, bot)
    assert endpoint.runs.proven == ["psk", "srp"]

    endpoint.send(b"<message type='chat'><body>over and out</body></message>")
    endpoint.want("sas")
    flush(alice, endpoint)
    while not (endpoint.stanzas and person.prompts):
        await harness.settle(alice, bot)
    assert [body(stanza) for stanza in endpoint.stanzas] == ["You said: over and out"]
    assert person.prompts[0].decimal == " ".join(second_proofs.shown(endpoint.runs.talks[-1].code)["decimal"])
    endpoint.compared(True)
    endpoint.close()
    flush(alice, endpoint)
    assert (await ended.take()).clean
    assert harness.find_text("over and out") == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
async def test_it_proves_talks_and_compares(runner: Runner, server: str) -> None:
    """By psk and srp before the first stanza, by sas after it; both sides stretch the password and show the same string."""
    await run_scene(runner, Scene("second", "The other implementation", both_prove_and_talk), server)

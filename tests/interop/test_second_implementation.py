"""The other implementation, which was written from docs/protocol.md alone, and the plugin over real servers."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from interop.props import Heard, Person, agreed, echo, share
from interop.stage import Stage
from interop.theatre import Scene, Theatre
from tests.docs import second_proofs, second_signalling
from tests.docs.second_implementation import Endpoint
from tests.docs.test_second_implementation import flush, install
from tests.interop.playing import perform
from tests.pair import body

KEY, PASSWORD = bytes(range(32)), "na\u00efve fog"


async def both_prove_and_talk(stage: Stage) -> None:
    """A bot has the plugin; Alice's program is the other one. They share a key and a password, talk, and compare."""
    person = Person()
    bot = await stage.encrypted("bob", prepare=echo, sas=person.looks)
    second, peer = f"{stage.jid('alice')}/second", bot.boundjid
    secrets = {"psk": KEY, "srp": second_proofs.stretched(PASSWORD, stage.jid("alice"), peer.bare)}
    endpoint = Endpoint(second, peer.full, flights=True, secrets=secrets, need=("psk", "srp"), compares=True)

    def prepare(client: ClientXMPP) -> None:
        for name in ("xep_0030", "xep_0115"):
            client.register_plugin(name)
        install(client, endpoint)
        plugins: Any = client.plugin
        for feature in second_signalling.FEATURES:
            plugins["xep_0030"].add_feature(feature)

    alice = await stage.client("alice", "second", prepare)
    share(bot, alice, psk=KEY, srp=agreed(bot, alice, PASSWORD))
    started, ended = Heard(bot, "e2e_session_start"), Heard(bot, "e2e_session_end")
    endpoint.offer()
    flush(alice, endpoint)
    assert str((await started.take()).detail.assurance) == "verified"
    await stage.settle(alice, bot)
    assert endpoint.runs.proven == ["psk", "srp"]

    endpoint.send(b"<message type='chat'><body>over and out</body></message>")
    endpoint.want("sas")
    flush(alice, endpoint)
    while not (endpoint.stanzas and person.saw):
        await stage.settle(alice, bot)
    assert [body(stanza) for stanza in endpoint.stanzas] == ["You said: over and out"]
    assert person.saw[0].decimal == " ".join(second_proofs.shown(endpoint.runs.talks[-1].code)["decimal"])
    endpoint.compared(True)
    endpoint.close()
    flush(alice, endpoint)
    assert (await ended.take()).detail.clean
    assert stage.readable("over and out") == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
async def test_it_proves_talks_and_compares(theatre: Theatre, server: str) -> None:
    """By psk and srp before the first stanza, by sas after it; both sides stretch the password and show the same string."""
    await perform(theatre, Scene("second", "The other implementation", both_prove_and_talk), server)

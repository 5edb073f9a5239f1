"""While one user still looks at the string, both talk on in the same session; each side waits only for its own answer."""

from __future__ import annotations

import asyncio

from interop.harness import Harness
from interop.helpers import Events, SasUser, say, session, verified_keys
from slixmpp_e2e import SasPrompt


async def run(harness: Harness) -> None:
    """Alice answers at once; Bob has to look for reading glasses."""
    found, asked = asyncio.Event(), list[SasPrompt]()

    async def compare(shown: SasPrompt) -> bool:
        asked.append(shown)
        await found.wait()
        return True

    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", ask_sas=compare)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    ours, theirs = await session(alice, bob)
    await ours.verify_sas(SasUser().compare)
    await harness.settle(alice, bob)
    assert asked
    for said, alices in (("Where are my glasses?", "vouched"), ("Here are my glasses!", "verified")):
        for client, peer, level in ((alice, bob, "verified"), (bob, alice, alices)):
            say(peer, client.boundjid, said)
            message = await heard[client].take()
            assert (message["body"], str(message["e2e"]["assurance"])) == (said, level)
            assert message["e2e"]["session"] in (ours, theirs)
        found.set()
        await harness.settle(alice, bob)
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "sas")]
    assert harness.find_text("are my glasses") == []

"""While one of two still looks at the string they talk on, in the same session; it is each one's own answer that counts."""

from __future__ import annotations

import asyncio

from interop.props import Heard, Person, proved, say, session
from interop.stage import Stage
from slixmpp_e2e import Compare


async def play(stage: Stage) -> None:
    """Alice answers at once; Bob has to look for his glasses."""
    found, asked = asyncio.Event(), list[Compare]()

    async def looks(shown: Compare) -> bool:
        asked.append(shown)
        await found.wait()
        return True

    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", sas=looks)
    heard = {client: Heard(client, "message") for client in (alice, bob)}
    ours, theirs = await session(alice, bob)
    await ours.verify_sas(Person().looks)
    await stage.settle(alice, bob)
    assert asked
    for said, alices in (("Where are my glasses?", "vouched"), ("Here are my glasses!", "verified")):
        for client, peer, level in ((alice, bob, "verified"), (bob, alice, alices)):
            say(peer, client.boundjid, said)
            message = await heard[client].take()
            assert (message["body"], str(message["e2e"]["assurance"])) == (said, level)
            assert message["e2e"]["session"] in (ours, theirs)
        found.set()
        await stage.settle(alice, bob)
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "sas")]
    assert stage.readable("are my glasses") == []

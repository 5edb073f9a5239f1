"""The addresses of a component have one spelling each: an offer to another one would find nothing of what is set up there."""

from __future__ import annotations

import asyncio

import pytest
from slixmpp import ClientXMPP, ComponentXMPP

from tests.attacks.test_component_addresses import ECHO, OTHER, fails, opened, together
from tests.slixmpp_e2e.env import ALICE, BOTS, Env, Events, e2e, until
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance
from xmpp_loopback import HandledStanza

SPELLINGS = [f"Echo@{BOTS}/bot", f"eCho@{BOTS}/bot", f"echo@{BOTS.upper()}/bot"]
KEY = bytes(range(32))

spelt = pytest.mark.parametrize("spelling", SPELLINGS)


def is_answer(handled: HandledStanza) -> bool:
    return 'id="spelt"' in handled.text and "error" in handled.text


async def offer(alice: ClientXMPP, address: str) -> None:
    """Offer a session to an address as it is spelt here, and wait until it opens."""
    driver = await e2e(alice)._client.registry.connect((alice.boundjid.full, address), Assurance.NONE)
    await asyncio.shield(driver.opened)


async def refused(env: Env, alice: ClientXMPP, bots: ComponentXMPP, spelling: str) -> None:
    """Alice offers a session to this spelling: it does not open, and no bot hears of it."""
    started, heard = Events(bots, "e2e_session_opened"), Events(bots, "e2e_session_refused")
    with pytest.raises(E2EError):
        await until(offer(alice, spelling))
    await env.settle(alice)
    await until(e2e(bots)._store.run(tuple))
    assert len(started) == len(heard) == 0
    assert not e2e(bots).sessions()


@spelt
async def test_a_shared_key_must_be_proved_at_each_spelling(env: Env, spelling: str) -> None:
    """The bots share a key with Alice at this address; whoever shows her address and lacks it gets no session."""
    alice, bots = await together(env)
    e2e(bots).secrets.put_key(ALICE, KEY, ECHO)
    await refused(env, alice, bots, spelling)
    await fails(alice, ECHO)


@spelt
async def test_another_key_is_held_at_each_spelling(env: Env, spelling: str) -> None:
    """Another key of Alice's is pinned at this address: hers is held under every spelling."""
    alice, bots = await together(env)
    await e2e(bots).trust.pin(ALICE, OTHER, ECHO)
    await refused(env, alice, bots, spelling)


@spelt
async def test_a_blocked_key_is_blocked_at_each_spelling(env: Env, spelling: str) -> None:
    alice, bots = await together(env)
    await e2e(bots).trust.block(ALICE, e2e(alice).fingerprint, ECHO)
    await refused(env, alice, bots, spelling)
    await fails(alice, ECHO)


@spelt
async def test_a_password_must_be_proved_at_each_spelling(env: Env, spelling: str) -> None:
    alice, bots = await together(env)
    await e2e(bots).secrets.put_password(ALICE, "correct horse", ECHO)
    await refused(env, alice, bots, spelling)
    await fails(alice, ECHO)


@spelt
async def test_an_offer_to_another_spelling_is_for_nobody(env: Env, spelling: str) -> None:
    """Also where nothing is set up: it is answered as if nobody were there, and the right spelling goes on."""
    alice, bots = await together(env)
    jingle = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'/>"
    alice.send_raw(f"<iq to='{spelling}' type='set' id='spelt'>{jingle}</iq>")
    answer = await until(env.server.wait_for(is_answer))
    assert "service-unavailable" in answer.text
    await opened(alice, ECHO)
    assert [session.own_jid for session in e2e(bots).sessions()] == [ECHO]

"""Another process decides about keys while this one decides too, is unloaded, or cannot read its own key: nothing is missed."""

from __future__ import annotations

import asyncio

import pytest
from slixmpp import JID

from slixmpp_e2e.store import Passphrase, SQLStore
from slixmpp_e2e.trust.own_key import rotate_own_key
from tests.attacks.test_component_addresses import ALICES, ECHO, HELP, OTHER, opened, together
from tests.attacks.test_held_store import held
from tests.slixmpp_e2e.env import Env, Events, e2e, turns, until
from xmpp_e2e.errors import UntrustedKey

HERE = {
    "nothing here": None,
    "at another address": ECHO,
    "at the same one": HELP,
}


@pytest.mark.parametrize("here", HERE.values(), ids=HERE.keys())
async def test_a_block_at_one_address_of_a_component_ends_its_session(env: Env, here: str | None) -> None:
    """Another process blocks Alice's key at one address, and within the same second the program accepts it at another one, or
    forgets another key at the same."""
    alice, bots = await together(env)
    for address in (ECHO, HELP):
        await opened(alice, address)
    ended, key = Events(bots, "e2e_session_closed"), e2e(alice).fingerprint
    with SQLStore.open(e2e(bots)._store.path) as other:
        other.component = e2e(bots)._store.component
        other.block(ALICES, key, 1.0, JID(HELP).bare)
    if here == ECHO:
        await e2e(bots).trust.accept(ALICES, key, here)
    elif here == HELP:
        await e2e(bots).trust.forget(ALICES, OTHER, here)
    event = await ended.take()
    assert event.session.own_jid == HELP
    assert isinstance(event.error, UntrustedKey)
    await env.settle(alice)
    assert [session.own_jid for session in e2e(bots).sessions()] == [ECHO]


@pytest.mark.parametrize("decide", ["pin", "accept", "block"])
async def test_a_decision_outlives_the_plugin(env: Env, decide: str) -> None:
    """The plugin is unloaded while a decision is being stored: whoever waits for it hears no error, and it is stored."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    path, key = e2e(alice)._store.path, e2e(bob).fingerprint
    with held(alice) as release:
        deciding = asyncio.create_task(getattr(e2e(alice).trust, decide)(env.bob, key))
        await turns()
        assert not deciding.done()
        env.unload(alice)
        release()
        await until(deciding)
    with SQLStore.open(path) as store:
        [change, *_] = store.history(JID(env.bob).bare)[::-1]
        assert change.fingerprint == key


@pytest.mark.parametrize("readable", [True, False], ids=["rotated", "rotated and unreadable"])
async def test_a_block_counts_though_our_own_key_cannot_be_read(env: Env, readable: bool) -> None:
    """Another process has protected the store by a passphrase, rotated our key, and blocked the peer's."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    failed = Events(alice, "e2e_store_failed")
    with SQLStore.open(e2e(alice)._store.path) as other:
        if not readable:
            other.change_protection(Passphrase("correct horse"))
        rotate_own_key(other, JID(env.alice).bare)
        other.block(JID(env.bob).bare, e2e(bob).fingerprint, 1.0)
    error = await until(ours.wait_closed())
    assert readable or isinstance(error, UntrustedKey)
    if not readable:
        await failed.take()
    sent = Events(alice, "e2e_send_failed")
    alice.send_message(mto=env.bob, mbody="to a blocked key", mtype="chat")
    await sent.take()
    assert env.in_clear("to a blocked key") == []


async def test_decisions_are_looked_at_while_our_own_key_cannot_be_read(env: Env) -> None:
    """The error is told once, and what is decided after it counts too."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    failed = Events(alice, "e2e_store_failed")
    with SQLStore.open(e2e(alice)._store.path) as other:
        other.change_protection(Passphrase("correct horse"))
        rotate_own_key(other, JID(env.alice).bare)
        await failed.take()
        assert ours.is_open
        other.block(JID(env.bob).bare, e2e(bob).fingerprint, 1.0)
        assert isinstance(await until(ours.wait_closed()), UntrustedKey)
    assert len(failed) == 0

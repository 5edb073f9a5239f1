"""What changes about a peer holds for the sessions that are there: settings, policies, who may open sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import RefusedByPolicy
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore
from tests.slixmpp_e2e.env import BOB, Env, Events, e2e, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.types import Assurance, TrustModel
from xmpp_loopback import Subscription

BOBS = "bob@localhost"
SetPolicy = Callable[..., None]


@pytest.fixture(params=["this process", "another process"])
def set_policy(request: pytest.FixtureRequest) -> SetPolicy:
    """Sets what holds with Bob, in the plugin or in the store that another process has open."""

    def change(client: ClientXMPP, **settings: Any) -> None:
        if request.param == "this process":
            e2e(client).set_policy(BOBS, **settings)
        else:
            with SQLStore.open(e2e(client)._store.path) as store:
                store.set_policy(BOBS, replace(store.policy(BOBS), **settings))

    return change


async def test_a_session_ends_that_falls_short_of_a_stricter_trust_model(env: Env, set_policy: SetPolicy) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    read = Events(bob, "message")
    set_policy(alice, trust_model=TrustModel.SERVER_UNTRUSTED)
    assert isinstance(await until(ours.wait_closed()), UntrustedKey)
    alice.send_message(mto=BOB, mbody="for Bob only")
    await env.settle(alice, bob)
    assert len(read) == 0


async def test_a_session_that_meets_it_goes_on(env: Env, set_policy: SetPolicy) -> None:
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    ours, _ = await env.session(alice, bob)
    set_policy(alice, trust_model=TrustModel.SERVER_UNTRUSTED)
    while ours.min_assurance is not Assurance.VERIFIED:
        await env.settle(alice, bob)
    assert ours.is_open


async def test_a_session_that_waits_goes_on_under_a_laxer_one(env: Env, set_policy: SetPolicy) -> None:
    alice, _ = await env.pair(alices={"trust_model": "server-untrusted"})
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    set_policy(alice, trust_model=TrustModel.SERVER_AUTHENTICATES)
    await until(link.wait_open())
    assert link.assurance is Assurance.VOUCHED


async def test_what_a_caller_demands_is_lowered_by_nothing(env: Env, set_policy: SetPolicy) -> None:
    alice, bob = await env.pair()
    link = await until(e2e(alice).connect(BOB, require="verified"))
    for model in (TrustModel.SERVER_UNTRUSTED, TrustModel.SERVER_AUTHENTICATES):
        set_policy(alice, trust_model=model)
        while link._driver.core.config.trust_model is not model:
            await env.settle(alice, bob)
    assert link.min_assurance is Assurance.VERIFIED
    assert not link.is_open


async def test_a_session_ends_when_encryption_is_turned_off(env: Env, set_policy: SetPolicy) -> None:
    """By farewells, and nothing that waited leaves in plaintext."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    set_policy(alice, policy=Policy.OFF)
    assert await until(ours.wait_closed()) is None
    with pytest.raises(RefusedByPolicy):
        await e2e(alice).connect(BOB)


async def test_connect_goes_by_the_terms_of_the_moment(env: Env) -> None:
    """Also by those that another process has set since this one looked last."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    with SQLStore.open(e2e(alice)._store.path) as store:
        store.set_policy(BOBS, PeerPolicy(trust_model=TrustModel.SERVER_UNTRUSTED))
    link = await until(e2e(alice).connect(BOB))
    assert link is not ours
    assert (link.min_assurance, link.is_open) == (Assurance.VERIFIED, False)


async def test_a_session_ends_whose_peer_may_not_open_one_any_more(env: Env) -> None:
    """Those that we have opened ourselves go on."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    from_bob, _ = await env.session(bob, alice)
    to_carol, _ = await env.session(alice, carol)
    e2e(alice).set_accept_from(["carol@localhost"])
    assert await until(from_bob.wait_closed()) is None
    e2e(alice).set_accept_from([])
    await env.settle(alice, bob, carol)
    assert to_carol.is_open


async def test_a_session_ends_whose_peer_leaves_the_roster(env: Env) -> None:
    alice, bob = await env.pair()
    from_bob, _ = await env.session(bob, alice)
    env.server.set_subscription("alice@localhost", BOBS, Subscription.NONE)
    assert await until(from_bob.wait_closed()) is not None or not from_bob.is_open


async def test_plaintext_is_allowed_and_is_not_again(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    env.unload(bob)
    await env.settle(alice, bob)
    read, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    for allowed in (True, False, True):
        e2e(alice).allow_plaintext(BOB, allowed)
        alice.send_message(mto=BOB, mbody="in plaintext")
        if allowed:
            assert await read.bodies(1) == ["in plaintext"]
        else:
            await failed.take()
    assert len(read) == len(failed) == 0

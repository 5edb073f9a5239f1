"""Attack 29: an outgoing filter of another plugin is slow or raises. Order is kept, nothing goes in clear, and the loss of one
stanza is the loss of that one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slixmpp_e2e.messages import outgoing
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events
from xmpp_loopback import online

SECRET = "attack at daybreak"
LONGER = 1.1
"""Seconds after which slixmpp no longer waits for an asynchronous filter, and lets later stanzas go first."""


def faulty(stanza: Any) -> Any:
    """Another plugin's filter with a bug."""
    if stanza.name == "message" and "poison" in stanza["body"]:
        raise ZeroDivisionError
    return stanza


async def test_a_slow_filter_reorders_nothing_that_carries_a_session(env: Env) -> None:
    """It is before ours and takes over a second for whatever it sees: it sees the message, and none of our iqs."""
    alice, bob = env.make(ALICE, load=False), await env.client(BOB)
    seen: list[str] = []

    async def slow(stanza: Any) -> Any:
        seen.append(stanza.name)
        if stanza.name == "message":
            await asyncio.sleep(LONGER)
        return stanza

    alice.add_filter("out", slow)
    env.load(alice)
    await online(alice, env.server)
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET)
    assert await heard.bodies(1) == [SECRET]
    assert "iq" not in seen[seen.index("message") + 1 :]
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("mode", ["out", "out_sync", "out_sce"])
async def test_a_filter_that_raises_loses_its_own_stanza(env: Env, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Before ours slixmpp drops the stanza and logs it; behind ours it never sees what goes inside. What follows arrives."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    add: Any = alice.add_filter
    add(mode, faulty)
    heard = Events(bob, "message")
    bodies = ["well before", "poison in it", "well behind"]
    for body in bodies:
        alice.send_message(mto=BOB, mbody=body)
    expected = bodies if mode != "out" else [bodies[0], bodies[2]]
    assert await heard.bodies(len(expected)) == expected
    assert ("Exception raised in send queue" in caplog.text) is (mode == "out")
    assert env.in_clear(*bodies) == []


@pytest.mark.parametrize("mode", ["out_sync", "out_sce"])
async def test_a_filter_that_raises_behind_ours_in_clear(env: Env, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Towards a peer without encryption, after the way to them has been found out: the others arrive, in order."""
    alice, bob = await env.client(ALICE), await env.client(BOB, "xep_0030", load=False)
    await env.settle(alice, bob)
    add: Any = alice.add_filter
    add(mode, faulty)
    heard = Events(bob, "message")
    for body in ("well before", "poison in it", "well behind"):
        alice.send_message(mto=BOB, mbody=body)
    assert await heard.bodies(2) == ["well before", "well behind"]
    assert "ZeroDivisionError" in caplog.text
    assert env.in_clear("poison") == []


async def test_an_error_in_our_own_filter_fails_closed(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were there a bug in it, slixmpp would drop the stanza; it is not passed on unjudged."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard = Events(bob, "message")

    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(outgoing, "never_encrypted", broken)
        alice.send_message(mto=BOB, mbody=SECRET)
        alice.send_presence()
        await asyncio.wait_for(alice.waiting_queue.join(), 20)
    alice.send_message(mto=BOB, mbody="later on")
    assert await heard.bodies(1) == ["later on"]
    assert env.in_clear(SECRET, "later on") == []


async def test_control_an_ordinary_filter_of_ours_would_leak(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: had our place been among the asynchronous filters, and slow, slixmpp would go on to later stanzas before it."""
    alice, bob = await env.client(ALICE, load=False), await env.client(BOB, "xep_0030", load=False)
    await env.settle(alice, bob)

    async def ours(stanza: Any) -> Any:
        if stanza.name == "message" and stanza["body"] == "one":
            await asyncio.sleep(LONGER)
        return stanza

    alice.add_filter("out", ours)
    heard = Events(bob, "message")
    for body in ("one", "two"):
        alice.send_message(mto=BOB, mbody=body)
    assert await heard.bodies(2) == ["two", "one"]

"""Attack 56: whoever sits on the path shows a key of their own, or cuts it, to get what is sent under ``opportunistic`` in
plaintext. A path that is cut gets it, and that is told; a key that is doubted never does."""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.errors import PeerOffline
from tests.slixmpp_e2e.env import ALICE, BOB, SECRET, Env, Events, e2e, echo, jingle, turns, until
from tests.slixmpp_e2e.messages.test_opportunistic import Told, assurance
from xmpp_e2e.errors import UntrustedKey
from xmpp_loopback import offline
from xmpp_loopback.hostile import swap_fingerprint

BOBS = "bob@localhost"


@pytest.mark.parametrize("to", [BOB, BOBS])
async def test_a_changed_key_is_never_written_to_in_plaintext(env: Env, to: str) -> None:
    """It is held; and whoever cuts the path meanwhile, or makes us wait, gets nothing."""
    alice, bob = await env.pair(alices={"policy": "opportunistic", "user_seconds": 1.0})
    await e2e(alice).trust.pin(BOBS, type(e2e(alice).fingerprint)(bytes(32)))
    told, required = Told(alice), Events(alice, "e2e_verification_required")
    alice.send_message(mto=to, mbody=SECRET)
    await required.take()
    report = await told.failed.take()
    assert not isinstance(report.error, PeerOffline)
    alice.send_message(mto=to, mbody=SECRET)
    await required.take()
    await offline(bob)
    await told.failed.take()
    assert env.in_clear(SECRET) == []
    assert told.nothing()


async def test_a_swapped_fingerprint_and_a_rejected_key_are_reasons_to_say_nothing(env: Env) -> None:
    alice, bob = await env.pair(alices={"policy": "opportunistic", "on_key_change": "reject"})
    told = Told(alice)
    env.server.hooks.append(swap_fingerprint(":".join(["AB"] * 32), actions=("session-accept",)))
    alice.send_message(mto=BOB, mbody=SECRET)
    await told.failed.take()
    env.server.hooks.clear()
    await e2e(alice).trust.block(BOBS, e2e(bob).fingerprint)
    alice.send_message(mto=BOB, mbody=SECRET)
    assert isinstance((await told.failed.take()).error, UntrustedKey)
    assert env.in_clear(SECRET) == []
    assert told.nothing()


async def test_control_a_failed_proof_would_leave_in_plaintext(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if every failure counted as one of the path, a server that shows a key of its own would read it."""
    alice, _ = await env.pair(alices={"policy": "opportunistic"})
    told = Told(alice)
    monkeypatch.setattr("slixmpp_e2e.messages.endings.is_for_want_of_path", lambda error, hellos_checked: True)
    env.server.hooks.append(swap_fingerprint(":".join(["AB"] * 32), actions=("session-accept",)))
    alice.send_message(mto=BOB, mbody=SECRET)
    await told.plaintext.take()
    await turns()
    assert env.in_clear(SECRET)


@pytest.mark.parametrize("met", [True, False])
async def test_the_limit_whoever_cuts_the_path_reads_and_that_is_told(env: Env, met: bool) -> None:
    alice, bob = await env.pair(alices={"policy": "opportunistic", "step_seconds": 0.5})
    if met:
        ours, _ = await env.session(alice, bob)
        await until(ours.close())
    told, heard, hold = Told(alice), Events(bob, "message"), env.hold(jingle("session-initiate"))
    alice.send_message(mto=BOB, mbody=SECRET)
    await until(hold.caught())
    hold.discard()
    assert assurance(await heard.take()) == "none"
    await told.plaintext.take()
    assert env.in_clear(SECRET)


async def test_a_forged_message_takes_no_answer_out_of_an_open_session(env: Env) -> None:
    alice, bob = await env.pair(alices={"policy": "opportunistic"})
    await env.session(alice, bob)
    echo(alice)
    answered = Events(bob, "message")
    env.server.inject(ALICE, f"<message type='chat' from='{BOB}' to='{ALICE}'><body>{SECRET}</body></message>")
    message: Any = await answered.take()
    assert assurance(message) == "vouched"
    assert env.in_clear(f"echo: {SECRET}") == []

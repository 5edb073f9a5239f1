"""Attack 40: the server shows a key of its own at first contact, and goes on with it when the true key is verified.

A key that was taken as ``vouched`` must not stay accepted as ``known`` beside a verified one: neither in the session that is
open, nor in the next, nor in another process with the same store.
"""

from __future__ import annotations

import time

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import E2ESession
from slixmpp_e2e.store import SQLStore
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.types import Assurance, Fingerprint, KnownKey

SECRET = "the treasure is under the oak"
TRUE_DEVICE = "bob@localhost/true"


async def read_by_mallory(env: Env) -> tuple[ClientXMPP, ClientXMPP, E2ESession]:
    """Return Alice, somebody with another key at Bob's address whom she took for Bob, and her session with them."""
    alice = await env.client(ALICE)
    mallory = await env.client(BOB, store_path=str(env._folder / "mallory.db"))
    await env.settle(alice, mallory)
    ours, _ = await env.session(alice, mallory)
    assert ours.assurance is Assurance.VOUCHED
    return alice, mallory, ours


async def assert_held(env: Env, alice: ClientXMPP, mallory: ClientXMPP) -> None:
    """Neither side's messages get through. The alarm has come; each session says what would let it go on."""
    told, required = Events(alice, "e2e_key_changed"), Events(alice, "e2e_verification_required")
    read, heard = Events(mallory, "message"), Events(alice, "message")
    for _ in range(2):
        link = await until(e2e(alice).connect(BOB))
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        mallory.send_message(mto=ALICE, mbody="it is me", mtype="chat")
        await env.settle(alice, mallory)
        assert not link.is_open
        await until(link.close())
        event = await required.take()
        assert (event.status, event.fingerprint) == ("changed", e2e(mallory).fingerprint)
        for command in ("pin", "accept"):
            assert f"xmpp-e2e trust {command} bob@localhost {event.fingerprint}" in event.text
    assert (len(told), len(read), len(heard)) == (0, 0, 0)


async def test_pinning_the_true_key_ends_what_the_other_reads(env: Env) -> None:
    alice, mallory, ours = await read_by_mallory(env)
    told, true_key = Events(alice, "e2e_other_key_held"), Fingerprint(bytes(32))
    for _ in range(2):
        await e2e(alice).trust.pin(BOB, true_key)
    error = await until(ours.wait_closed())
    assert isinstance(error, UntrustedKey)
    held = await told.take()
    assert (held.peer, held.fingerprint, len(told)) == ("bob@localhost", e2e(mallory).fingerprint, 0)
    assert f"xmpp-e2e trust block bob@localhost {held.fingerprint}" in str(held)
    await assert_held(env, alice, mallory)


async def test_so_does_another_process(env: Env) -> None:
    """The command ``xmpp-e2e trust pin`` beside a running program: within about a second."""
    alice, mallory, ours = await read_by_mallory(env)
    told = Events(alice, "e2e_other_key_held")
    with SQLStore.open(e2e(alice)._store.path) as store:
        store.pin("bob@localhost", Fingerprint(bytes(32)), time.time())
    assert isinstance(await until(ours.wait_closed()), UntrustedKey)
    assert (await told.take()).fingerprint == e2e(mallory).fingerprint
    await assert_held(env, alice, mallory)


@pytest.mark.parametrize("process", ["this", "another"])
async def test_so_does_a_proof_with_another_device(env: Env, process: str) -> None:
    alice, mallory, ours = await read_by_mallory(env)
    prover = alice
    if process == "another":
        prover = await env.client("alice@localhost/other", store_path=str(e2e(alice)._store.path))
    bob = await env.client(TRUE_DEVICE, ask_sas=lambda prompt: True)
    await env.settle(alice, prover, bob)
    told = Events(alice, "e2e_other_key_held")
    link = await until(e2e(prover).connect(TRUE_DEVICE))
    await until(link.verify_sas(lambda prompt: True))
    assert isinstance(await until(ours.wait_closed()), UntrustedKey)
    assert (await told.take()).fingerprint == e2e(mallory).fingerprint
    assert link.is_open
    await assert_held(env, alice, mallory)


async def test_a_device_that_the_user_accepts_goes_on(env: Env) -> None:
    """Not verified, and never shown as such; a key that was met by chance before it is accepted says so afterwards."""
    alice, mallory, ours = await read_by_mallory(env)
    another = e2e(mallory).fingerprint
    await e2e(alice).trust.accept(BOB, another)
    await e2e(alice).trust.pin(BOB, Fingerprint(bytes(32)))
    heard = Events(mallory, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert ours.is_open
    await until(ours.close())
    link = await until(e2e(alice).connect(BOB))
    await until(link.wait_open())
    assert link.assurance is Assurance.KNOWN
    [key] = [key for key in e2e(alice).trust.show(BOB).keys if key.fingerprint == another]
    assert (key.verified_by, key.assurance) == ("accept", Assurance.VOUCHED)


async def test_accepting_lets_go_on_what_is_held(env: Env) -> None:
    alice, mallory, ours = await read_by_mallory(env)
    await e2e(alice).trust.pin(BOB, Fingerprint(bytes(32)))
    await until(ours.wait_closed())
    heard = Events(mallory, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await env.settle(alice, mallory)
    assert len(heard) == 0
    await e2e(alice).trust.accept(BOB, e2e(mallory).fingerprint)
    assert await heard.bodies(1) == [SECRET]
    assert env.in_clear(SECRET) == []


async def test_control_without_the_rule_the_other_reads_on(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where every remembered key counts as decided, as once it did, pinning the true key changes nothing."""
    alice, mallory, ours = await read_by_mallory(env)
    monkeypatch.setattr(KnownKey, "decided", True)
    await e2e(alice).trust.pin(BOB, Fingerprint(bytes(32)))
    heard = Events(mallory, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    await turns()
    assert ours.is_open

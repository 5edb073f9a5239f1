"""Methods that are set up run before a stanza flows, users are asked for passwords, and attempts are counted."""

from __future__ import annotations

import asyncio

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from tests.slixmpp_e2e.verification.users import ALICES, BOBS, KEY, of, says, share
from xmpp_e2e.authenticate.psk import WeakKey
from xmpp_e2e.errors import AuthenticationFailed, E2EError, LocalError, PeerRefused
from xmpp_e2e.types import Assurance, Role


@pytest.mark.parametrize(("method", "secret"), [("psk", KEY), ("srp", of("correct horse"))], ids=["psk", "srp"])
async def test_what_is_set_up_runs_before_a_stanza_flows(env: Env, method: str, secret: bytes) -> None:
    alice, bob = await env.pair()
    share(alice, BOBS, method, secret)
    share(bob, ALICES, method, secret)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="Now I know you.")
    message = await heard.take()
    assert message["e2e"]["assurance"] is Assurance.VERIFIED
    [key] = e2e(alice)._store.known_keys(BOBS).keys
    assert (key.assurance, key.verified_by) == (Assurance.VERIFIED, method)


async def test_a_wrong_password_sends_nothing_and_is_locked_in_the_end(env: Env) -> None:
    """Each attempt is counted on both sides; after the fifth none is made, and the error says what unlocks it."""
    alice, bob = await env.pair()
    share(alice, BOBS, "srp", of("right"))
    share(bob, ALICES, "srp", of("wrong"))
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    for count in range(1, MAX_PASSWORD_ATTEMPTS + 1):
        alice.send_message(mto=BOB, mbody="in vain")
        told: SendFailed = await failed.take()
        assert isinstance(told.error, AuthenticationFailed)
        stores = [e2e(client)._store for client in (alice, bob)]
        assert [stores[0].failed_attempts(BOBS, "srp"), stores[1].failed_attempts(ALICES, "srp")] == [count, count]
    alice.send_message(mto=BOB, mbody="in vain")
    told = await failed.take()
    assert isinstance(told.error, PasswordLocked)
    assert f"xmpp-e2e trust unlock {BOBS}" in explain(told.error)
    assert len(heard) == 0
    assert env.in_clear("in vain") == []


async def test_an_offer_of_a_locked_peer_is_refused(env: Env) -> None:
    alice, bob = await env.pair()
    share(bob, ALICES, "srp", of("right"))
    for _ in range(MAX_PASSWORD_ATTEMPTS):
        e2e(bob)._store.count_failed_attempt(ALICES, "srp")
    failed, refused, lost = Events(alice, "e2e_send_failed"), Events(bob, "e2e_session_refused"), Events(bob, "disconnected")
    alice.send_message(mto=BOB, mbody="in vain")
    told: SendFailed = await failed.take()
    assert isinstance(told.error, PeerRefused)
    report = await refused.take()
    assert report.peer == ALICES
    assert f"xmpp-e2e trust unlock {ALICES}" in str(report)
    await env.settle(alice, bob)
    assert len(lost) == 0
    assert env.in_clear("in vain") == []


async def test_another_password_ends_the_session(env: Env) -> None:
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_password=lambda peer: says("wrong"))
    ours, _ = await env.session(alice, bob)
    with pytest.raises(AuthenticationFailed):
        await until(ours.verify_password("right"))


@pytest.mark.parametrize("asks", list(Role))
@pytest.mark.parametrize("method", ["psk", "srp"])
async def test_a_secret_for_one_session(env: Env, method: str, asks: Role) -> None:
    """Either side may give it, though the other side has pinned the key and needs no verification."""
    alice, bob = await env.pair()
    other, peer, key = (bob, ALICES, alice) if asks is Role.INITIATOR else (alice, BOBS, bob)
    share(other, peer, method, KEY if method == "psk" else of("correct horse"))
    await e2e(other).trust.pin(peer, e2e(key).fingerprint)
    link = next(link for link in await env.session(alice, bob) if link.role is asks)
    await until(link.verify_key(KEY) if method == "psk" else link.verify_password("correct horse"))
    await env.settle(alice, bob)
    assert link.is_open
    assert link.assurance is Assurance.VERIFIED


async def test_the_key_that_is_set_up_serves_an_open_session(env: Env) -> None:
    """Whatever its id in the store, and though it was stored after the session had opened."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    with pytest.raises(LocalError, match=f"no key is shared with {BOBS}"):
        await until(ours.verify_key())
    e2e(alice)._store.put_secret(BOBS, "psk", "7", KEY)
    theirs = next(link for link in e2e(bob).sessions())
    await until(asyncio.gather(ours.verify_key(), theirs.verify_key(KEY)))
    assert ours.assurance is Assurance.VERIFIED


async def test_a_password_is_no_key(env: Env) -> None:
    """A password in place of a key, or an empty one, is refused before anything is sent, and the session goes on."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    for link in (ours, theirs):
        with pytest.raises(WeakKey):
            await until(link.verify_key(b"correct horse"))
        with pytest.raises(LocalError, match="cannot be a password"):
            await until(link.verify_password(""))
        assert link.is_open


async def test_a_text_that_cannot_be_a_password_counts_as_none(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    """It ends the verification at once, as if the user had typed nothing, and the log does not repeat it."""
    alice, bob = await env.client(ALICE), await env.client(BOB, ask_password=lambda peer: "tabs\tmoretabs")
    ours, _ = await env.session(alice, bob)
    with pytest.raises(E2EError):
        await until(ours.verify_password("correct horse"))
    assert "cannot be used" in caplog.text
    assert "moretabs" not in caplog.text


async def test_a_locked_password_is_not_tried(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    for _ in range(MAX_PASSWORD_ATTEMPTS):
        e2e(alice)._store.count_failed_attempt(BOBS, "srp")
    with pytest.raises(PasswordLocked):
        await until(ours.verify_password("correct horse"))
    assert ours.is_open

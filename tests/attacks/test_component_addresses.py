"""The addresses of a component are strangers: what is proved, decided, shared or guessed at one is not at another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP, ComponentXMPP

from slixmpp_e2e import E2E, SasPrompt
from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import ConfigError, PasswordLocked
from slixmpp_e2e.session import E2ESession
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification import attempt_limiter
from slixmpp_e2e.verification.attempt_limiter import MAX_ATTEMPTS_AT_ALL_ADDRESSES, MAX_PASSWORD_ATTEMPTS
from tests.slixmpp_e2e.env import ALICE, BOTS, PATIENCE, Env, Events, e2e, turns, until
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Fingerprint

ECHO, HELP = f"echo@{BOTS}/bot", f"help@{BOTS}/bot"
ALICES = "alice@localhost"
SHARED = {ECHO: "correct horse", HELP: "battery staple"}
OTHER = Fingerprint(bytes(32))


async def together(env: Env, **config: Any) -> tuple[ClientXMPP, ComponentXMPP]:
    bots = await env.component(accept_from=["localhost"], **config)
    return await env.client(ALICE, accept_from=[BOTS]), bots


async def opened(alice: ClientXMPP, address: str) -> E2ESession:
    session = await e2e(alice).connect(address)
    await until(session.wait_open())
    return session


async def fails(alice: ClientXMPP, address: str) -> None:
    with pytest.raises(E2EError):
        await opened(alice, address)


async def share(alice: ClientXMPP, bots: ComponentXMPP, typed: dict[str, str] | None = None) -> None:
    for address, password in SHARED.items():
        await e2e(bots).secrets.put_password(ALICE, password, own_jid=address)
        await e2e(alice).secrets.put_password(address, (typed or {}).get(address, password))


def guesses(plugin: E2E) -> list[int]:
    return [plugin.secrets.failed_attempts(ALICE, address) for address in (ECHO, HELP)]


# --- passwords -------------------------------------------------------------------------------------------------------


async def test_the_right_password_works_at_each_address(env: Env) -> None:
    alice, bots = await together(env)
    await share(alice, bots)
    for address in SHARED:
        session = await opened(alice, address)
        assert session.assurance is Assurance.VERIFIED
        await verified(bots, address)
        for client in (alice, bots):
            await e2e(client)._store.run(int)  # what was to be written before is written
        assert e2e(alice).secrets.failed_attempts(address) == 0
    assert guesses(e2e(bots)) == [0, 0]
    assert e2e(bots).secrets.forget(ALICE, "srp", ECHO)
    assert [e2e(bots).secrets.has(ALICE, "srp", address) for address in (ECHO, HELP)] == [False, True]


async def test_guesses_at_one_address_lock_no_other(env: Env) -> None:
    alice, bots = await together(env)
    await share(alice, bots, {ECHO: "wrong"})
    refused = Events(bots, "e2e_session_refused")
    for count in range(1, MAX_PASSWORD_ATTEMPTS + 1):
        await fails(alice, ECHO)
        assert guesses(e2e(bots)) == [count, 0]
    e2e(alice).secrets.unlock_password(ECHO)
    await e2e(alice).secrets.put_password(ECHO, SHARED[ECHO])
    await fails(alice, ECHO)
    error = (await refused.take()).error
    assert isinstance(error, PasswordLocked)
    assert f"the password that echo@{BOTS} shares with {ALICES} is locked" in explain(error)
    assert (await opened(alice, HELP)).assurance is Assurance.VERIFIED
    assert guesses(e2e(bots)) == [MAX_PASSWORD_ATTEMPTS, 0]
    assert e2e(bots).secrets.unlock_password(ALICE, ECHO) == MAX_PASSWORD_ATTEMPTS
    assert (await opened(alice, ECHO)).assurance is Assurance.VERIFIED


async def guesser_of_many(env: Env, tmp_path: Path) -> tuple[ClientXMPP, ComponentXMPP]:
    """Return Alice, who knows the password, when all guesses but one are made, and the bots, who share it by a trust file."""
    for name, content in (("password", "correct horse"), ("trust.toml", f'["{ALICES}"]\npassword_file = "password"\n')):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    alice, bots = await together(env, trust_file=str(tmp_path / "trust.toml"))
    for number in range(MAX_ATTEMPTS_AT_ALL_ADDRESSES - 1):
        e2e(bots)._store.count_failed_attempt(ALICES, "srp", f"{number}@{BOTS}")
    await e2e(alice).secrets.put_password(ECHO, "wrong")
    await fails(alice, ECHO)
    await e2e(alice).secrets.put_password(HELP, "correct horse")
    return alice, bots


async def test_guesses_at_many_addresses_lock_all(env: Env, tmp_path: Path) -> None:
    """A trust file shares one password with every address, and a made-up one is an address too."""
    alice, bots = await guesser_of_many(env, tmp_path)
    refused = Events(bots, "e2e_session_refused")
    await fails(alice, HELP)
    assert isinstance((await refused.take()).error, PasswordLocked)
    assert guesses(e2e(bots)) == [1, 0]
    assert e2e(bots).secrets.unlock_password(ALICE) == MAX_ATTEMPTS_AT_ALL_ADDRESSES
    assert (await opened(alice, HELP)).assurance is Assurance.VERIFIED


async def test_control_without_the_bound_for_all(env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: each address that is made up has guesses of its own."""
    monkeypatch.setattr(attempt_limiter, "MAX_ATTEMPTS_AT_ALL_ADDRESSES", 1000)
    alice, _ = await guesser_of_many(env, tmp_path)
    assert (await opened(alice, HELP)).assurance is Assurance.VERIFIED


async def test_a_password_that_is_asked_for_is_of_the_address(env: Env) -> None:
    """A user is asked at an address that is not locked, though another one is."""
    alice, bots = await together(env, ask_password=lambda peer, own_jid: SHARED[f"{own_jid}/bot"])
    for _ in range(MAX_PASSWORD_ATTEMPTS):
        e2e(bots)._store.count_failed_attempt(ALICES, "srp", f"echo@{BOTS}")
    session = await opened(alice, HELP)
    await until(session.verify_password(SHARED[HELP]))
    assert session.assurance is Assurance.VERIFIED
    with pytest.raises(E2EError):
        await until((await opened(alice, ECHO)).verify_password(SHARED[HELP]))


# --- keys ------------------------------------------------------------------------------------------------------------


async def compare(session: E2ESession) -> None:
    """Alice sees the same string, whatever the bots see."""
    await until(session.verify_sas(lambda _: True))


async def verified(bots: ComponentXMPP, *addresses: str, is_verified: bool = True) -> None:
    """Wait until the bots' keys of Alice are so."""
    async with asyncio.timeout(PATIENCE):
        for address in addresses:
            while e2e(bots).trust.show(ALICE, address).any_verified is not is_verified:
                await turns()


async def test_a_comparison_at_one_address_verifies_at_no_other(env: Env) -> None:
    asked: list[str] = []

    def agrees(prompt: SasPrompt) -> bool:
        asked.append(prompt.own_jid)
        return True

    alice, bots = await together(env, ask_sas=agrees)
    sessions = {address: await opened(alice, address) for address in (ECHO, HELP)}
    await compare(sessions[ECHO])
    await verified(bots, ECHO)
    assert asked == [ECHO]
    assert {s.own_jid: s.assurance for s in e2e(bots).sessions()} == {ECHO: Assurance.VERIFIED, HELP: Assurance.VOUCHED}
    await verified(bots, HELP, is_verified=False)
    for address, session in sessions.items():
        await until(session.close())
        await opened(alice, address)
    assert {s.own_jid: s.assurance for s in e2e(bots).sessions()} == {ECHO: Assurance.VERIFIED, HELP: Assurance.KNOWN}
    await verified(bots, HELP, is_verified=False)


async def test_strings_that_differ_at_one_address_are_doubted_at_no_other(env: Env) -> None:
    alice, bots = await together(env, ask_sas=lambda prompt: False)
    for address in (ECHO, HELP):
        await e2e(bots).trust.pin(ALICE, e2e(alice).fingerprint, address)
    doubted = Events(bots, "e2e_key_doubted")
    await compare(await opened(alice, ECHO))
    event = await doubted.take()
    assert (event.peer, event.own_jid) == (ALICES, f"echo@{BOTS}")
    await verified(bots, ECHO, is_verified=False)
    await verified(bots, HELP)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "another process"])
async def test_a_decision_at_one_address_touches_no_session_of_another(env: Env, elsewhere: bool) -> None:
    """Alice's key is held where another one is verified, her session there ends; with the other address it goes on."""
    alice, bots = await together(env)
    for address in (ECHO, HELP):
        await opened(alice, address)
    held, failed = Events(bots, "e2e_other_key_held"), Events(bots, "e2e_session_closed")
    if elsewhere:
        with SQLStore.open(e2e(bots)._store.path) as store:
            store.component = BOTS
            store.pin(ALICES, OTHER, 1.0, f"echo@{BOTS}")
    else:
        await e2e(bots).trust.pin(ALICE, OTHER, ECHO)
    event = await held.take()
    assert (event.peer, event.fingerprint, event.own_jid) == (ALICES, e2e(alice).fingerprint, f"echo@{BOTS}")
    assert (await failed.take()).session.own_jid == ECHO
    assert [session.own_jid for session in e2e(bots).sessions()] == [HELP]
    assert len(held) == 0
    await e2e(bots).trust.block(ALICE, e2e(alice).fingerprint, HELP)
    assert (await failed.take()).session.own_jid == HELP
    await e2e(bots).trust.accept(ALICE, e2e(alice).fingerprint, ECHO)
    assert [key.blocked for key in e2e(bots).trust.show(ALICE, ECHO).keys] == [False, False]
    assert await e2e(bots).trust.forget(ALICE, own_jid=ECHO) == 2
    assert [len(e2e(bots).trust.show(ALICE, address).keys) for address in (ECHO, HELP)] == [0, 1]
    assert [change.what for change in e2e(bots).trust.history(ALICE, HELP)] == ["accepted", "blocked"]


async def test_each_address_is_told(env: Env) -> None:
    """A key is held at two addresses, by what was decided before or during its session: that is told of each."""
    alice, bots = await together(env)
    held, changed = Events(bots, "e2e_other_key_held"), Events(bots, "e2e_key_changed")
    for address in (ECHO, HELP):
        await opened(alice, address)
        await e2e(bots).trust.pin(ALICE, OTHER, address)
    assert [(await held.take()).own_jid for _ in range(2)] == [f"echo@{BOTS}", f"help@{BOTS}"]
    await e2e(bots).trust.forget(ALICE, e2e(alice).fingerprint, ECHO)
    await e2e(bots).trust.forget(ALICE, e2e(alice).fingerprint, HELP)
    for address in ("new@", "other@"):
        await e2e(bots).trust.pin(ALICE, OTHER, f"{address}{BOTS}")
        await e2e(alice).connect(f"{address}{BOTS}/bot")
    assert [(await changed.take()).session.own_jid for _ in range(2)] == [f"new@{BOTS}/bot", f"other@{BOTS}/bot"]


async def test_an_offer_of_one_address_lets_nobody_in_at_another(env: Env) -> None:
    bots = await env.component(accept_from=[])
    alice = await env.client(ALICE, accept_from=[BOTS])
    target = await e2e(bots)._client.registry.connect((ECHO, ALICE), Assurance.NONE)
    await until(e2e(bots)._client.sessions.of(target).wait_open())
    await fails(alice, HELP)
    await until(e2e(bots)._client.sessions.of(target).close())
    await opened(alice, ECHO)


# --- whose is meant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_jid", [None, "echo@localhost", f"echo@other.{BOTS}"])
async def test_a_component_names_its_address(env: Env, own_jid: str | None) -> None:
    """A password for no address would be derived for none that has sessions."""
    plugin = e2e(await env.component())
    trust, secrets = plugin.trust, plugin.secrets
    words = "is not ours" if own_jid else f"own_jid='bot@{BOTS}'"
    for decide in (trust.pin, trust.accept, trust.block, trust.forget):
        with pytest.raises(ConfigError, match=words):
            await decide(ALICE, OTHER, own_jid)
    for ask in (trust.show, trust.history):
        with pytest.raises(ConfigError, match=words):
            ask(ALICE, own_jid)
    with pytest.raises(ConfigError, match=words):
        await secrets.put_password(ALICE, "correct horse", own_jid)
    with pytest.raises(ConfigError, match=words):
        secrets.put_key(ALICE, bytes(32), own_jid)
    for about in (secrets.has, secrets.forget):
        with pytest.raises(ConfigError, match=words):
            about(ALICE, "psk", own_jid)
    if own_jid:
        with pytest.raises(ConfigError, match=words):
            secrets.unlock_password(ALICE, own_jid)


async def test_a_client_has_one_address(env: Env) -> None:
    plugin = e2e(await env.client(ALICE))
    await plugin.trust.pin(ECHO, OTHER, ALICE)
    assert plugin.trust.show(ECHO).any_verified
    with pytest.raises(ConfigError, match="is not ours: we are alice@localhost"):
        await plugin.trust.pin(ECHO, OTHER, "bob@localhost")


# --- from before -----------------------------------------------------------------------------------------------------


async def test_a_key_that_was_shared_before_must_prove_at_each_address(env: Env) -> None:
    """Else an update of the program would let in whoever has no key."""
    alice, bots = await together(env)
    e2e(bots)._store.put_secret(ALICES, "psk", "1", bytes(range(32)))
    await fails(alice, ECHO)
    for address in (ECHO, HELP):
        assert e2e(bots).secrets.has(ALICE, "psk", address)
        e2e(alice).secrets.put_key(address, bytes(range(32)))
        assert (await opened(alice, address)).assurance is Assurance.VERIFIED
    assert e2e(bots).secrets.forget(ALICE, "psk", ECHO)
    assert not e2e(bots).secrets.has(ALICE, "psk", HELP)


async def test_a_password_that_was_stored_before_is_no_guess(env: Env) -> None:
    """It was derived for the domain of the component, and would be wrong at each address, however right it was typed."""
    alice, bots = await together(env)
    e2e(bots)._store.put_secret(ALICES, "srp", "1", bytes(32))
    refused = Events(bots, "e2e_session_refused")
    await fails(alice, ECHO)
    assert f"put_password('{ALICES}', …, own_jid='echo@{BOTS}')" in str((await refused.take()).error)
    await share(alice, bots)
    assert (await opened(alice, ECHO)).assurance is Assurance.VERIFIED
    assert guesses(e2e(bots)) == [0, 0]

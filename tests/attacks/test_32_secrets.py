"""Attack 32: whoever reads logs, events, tracebacks and reprs looks for keys, passphrases and shared secrets.

The main paths run with every logger at DEBUG, and with everything that goes wrong on them. Then all that was said is searched:
lines of logs and their parts; events; exceptions, with what they hold and whatever they came from; callbacks of the event loop,
with the outcomes of futures and tasks; and the repr of every object of ours that was made and is alive.
"""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from pathlib import Path
from types import CoroutineType

import pytest

from slixmpp_e2e.store import (
    Passphrase,
)
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.trust_file.secret_file import encode_psk
from tests.attacks.secret_search import SHARED, WORDS, WRONG, Search, finish, remember, watch_loop
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance
from xmpp_loopback import online
from xmpp_loopback.hostile import swap_fingerprint


async def test_sessions_that_open_and_that_fail(env: Env, search: Search, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation; a fingerprint swapped on the way; a blocked key; the plugin unloaded in the middle."""
    watch_loop(search)
    alice, bob = await env.pair()
    for name, client in (("alice", alice), ("bob", bob)):
        remember(search, name, e2e(client).own_key.private_key)
        search.secrets[f"{name}'s key file"] = e2e(client)._store.path.with_suffix(".key").read_bytes()
        for event in ("session_opened", "session_closed", "session_failed", "key_changed", "send_failed"):
            client.add_event_handler(f"e2e_{event}", lambda data: search.texts.append(f"{data!r} {data}"))
    for client, other in ((alice, "bob"), (bob, "alice")):
        e2e(client)._store.put_secret(f"{other}@localhost", "psk", "1", SHARED)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="hello")
    search.texts.append(repr((await heard.take())["e2e"]["session"]))
    assert any(name.startswith("EXPORTER_SECRET") for name in search.secrets)
    search.every_repr()
    await until(e2e(alice).close())

    env.server.hooks.append(swap_fingerprint("AA:" * 31 + "AA"))
    alice.send_message(mto=BOB, mbody="hello")
    search.said((await failed.take()).error)
    env.server.hooks.clear()

    await e2e(alice).trust.block(BOB, e2e(bob).fingerprint)
    alice.send_message(mto=BOB, mbody="hello")
    search.said((await failed.take()).error)
    await e2e(alice).trust.forget(BOB)
    alice.send_message(mto=BOB, mbody="hello")
    await heard.take()
    env.unload(alice)
    await env.settle(bob)
    finish(search, caplog)


async def test_proofs_that_succeed_and_that_fail(
    env: Env, search: Search, caplog: pytest.LogCaptureFixture
) -> None:
    """A password, right and wrong, set up and asked for; a key; strings that are compared: what people share, what is made of
    it, what it is bound to, and the numbers that are thrown for it."""
    watch_loop(search)
    words = {"alice": WORDS, "bob": WORDS}
    search.secrets["derive_srp_secret"] = derive_srp_secret(WORDS, "alice@localhost", "bob@localhost")
    search.secrets["wrong, derive_srp_secret"] = derive_srp_secret(WRONG, "alice@localhost", "bob@localhost")
    alice = await env.client(ALICE)
    bob = await env.client(BOB, ask_password=lambda _: words["bob"], ask_sas=lambda _: True)
    for client in (alice, bob):
        for event in ("session_opened", "session_closed", "session_failed", "send_failed", "verification_requested"):
            client.add_event_handler(f"e2e_{event}", lambda data: search.texts.append(f"{data!r} {data}"))
    link, _ = await env.session(alice, bob)
    await until(link.verify_password(words["alice"]))
    await until(link.verify_sas(lambda _: True))
    search.every_repr()
    await until(link.close())
    link, _ = await env.session(alice, bob)
    words["bob"] = WRONG
    with pytest.raises(E2EError) as caught:
        await until(link.verify_password(words["alice"]))
    search.said(caught.value)

    for client, other in ((alice, "bob"), (bob, "alice")):
        await e2e(client).trust.forget(f"{other}@localhost")
        e2e(client)._store.put_secret(f"{other}@localhost", "psk", "1", SHARED)
    link, _ = await env.session(alice, bob)
    await until(link.close())
    await e2e(alice).trust.forget("bob@localhost")
    e2e(bob)._store.put_secret("alice@localhost", "psk", "1", SHARED[::-1])
    failed = Events(alice, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="hello")
    search.said((await failed.take()).error)
    await env.settle(alice, bob)
    assert sum(name.startswith("agreed key") for name in search.secrets) == 8
    assert {"SAS in decimal", "user's S", "server's b", "token"} <= {name.rpartition(" ")[0] for name in search.secrets}
    search.secrets["shared, reversed"] = SHARED[::-1]
    finish(search, caplog)


async def test_secrets_of_a_trust_file(env: Env, search: Search, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A key and a password, read when the client starts, and derived in a thread before a session needs it."""
    watch_loop(search)
    for name, text in (("key", encode_psk(SHARED)), ("words", WORDS)):
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o600)
    rules = tmp_path / "trust.toml"
    rules.write_text('["bob@localhost"]\npassword_file = "words"\n["carol@localhost"]\npsk_file = "key"\n')
    rules.chmod(0o600)
    search.secrets["derived"] = derive_srp_secret(WORDS, "alice@localhost", "bob@localhost")
    alice, bob = await env.pair({"trust_file": str(rules)}, {"ask_password": lambda _: WORDS})
    link, _ = await env.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED
    finish(search, caplog)


async def test_what_runs_in_threads(env: Env, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a password is derived: the partials, tasks, coroutines and futures that are under way for it."""
    looked: set[str] = set()

    def derive(password: str, our_jid: str, peer: str) -> bytes:
        found = [each for each in gc.get_objects() if isinstance(each, partial | asyncio.Future | CoroutineType)]
        search.texts += map(repr, found)
        looked.update(type(each).__name__ for each in found)
        return derive_srp_secret(password, our_jid, peer)

    for module in ("trust.secrets", "session", "verification.verifier"):
        monkeypatch.setattr(f"slixmpp_e2e.{module}.derive_srp_secret", derive)
    alice, bob = await env.pair({}, {"ask_password": lambda _: WORDS})
    link, _ = await env.session(alice, bob)
    await until(link.verify_password(WORDS))
    await until(e2e(alice).secrets.put_password(BOB, WORDS))
    assert {"partial", "Task", "coroutine"} <= looked
    assert search.found() == set()


async def test_a_plugin_that_cannot_open_its_store(
    env: Env, search: Search, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong passphrase; and one that somebody has put where none belongs."""
    right = env.make(ALICE, key_protection=Passphrase(WORDS))
    await until(e2e(right).wait_ready())
    remember(search, "alice", e2e(right).own_key.private_key)
    env.unload(right)
    alice = env.make(ALICE, key_protection=Passphrase(lambda: WRONG))
    told, failed = Events(alice, "e2e_store_failed"), Events(alice, "e2e_send_failed")
    await online(alice, env.server)
    report = await told.take()
    search.texts += [repr(report), str(report)]
    search.said(report.error)
    alice.send_message(mto=BOB, mbody="hello")
    search.said((await failed.take()).error)
    env.unload(alice)
    with pytest.raises(E2EError) as caught:
        env.load(alice, key_protection=WORDS)
    search.said(caught.value)
    finish(search, caplog)

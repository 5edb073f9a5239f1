"""A slow protection is opened in a thread. Stanzas wait for it, and nothing is sent as plaintext if it stays closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import PeerWithoutE2E, StoreLocked
from slixmpp_e2e.store import Passphrase, SQLStore, StoreError, StoreReason
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.store.expect import store_error
from xmpp_e2e.errors import PeerRefused
from xmpp_loopback import online
from xmpp_loopback.client import reconnect

pytestmark = pytest.mark.usefixtures("quick_derivation")

WORDS = "correct horse battery staple"


class SlowUser:
    """A user who is asked for the passphrase, and takes their time."""

    def __init__(self, answer: str = WORDS) -> None:
        self.answer = answer
        self.threads: list[threading.Thread] = []
        self.asked, self.answers = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.threads.append(threading.current_thread())
        self.asked.set()
        assert self.answers.wait(20)
        return self.answer


@pytest.fixture
def user() -> SlowUser:
    return SlowUser()


async def make_store(env: Env) -> None:
    alice = env.make(ALICE, key_protection=Passphrase(WORDS))
    await until(e2e(alice).wait_ready())
    env.unload(alice)


async def test_messages_wait_until_the_store_is_open(env: Env, user: SlowUser) -> None:
    await make_store(env)
    alice, bob = await env.pair(alices={"key_protection": Passphrase(user)})
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    await env.settle(alice, bob)
    assert len(heard) == 0
    with pytest.raises(StoreLocked, match="has not been opened yet") as caught:
        _ = e2e(alice).fingerprint
    assert "await e2e.wait_ready()" in explain(caught.value)
    user.answers.set()
    assert await heard.bodies(1) == ["for Bob only"]
    assert env.in_clear("for Bob only") == []
    assert e2e(alice).fingerprint
    assert len(user.threads) == 1
    assert user.threads[0] is not threading.main_thread()


async def test_no_session_opens_before_the_key_is_loaded(env: Env, user: SlowUser) -> None:
    """We do not advertise E2E, and answer an offer as a resource without it. Afterwards it works."""
    _, bob = await env.pair(alices={"key_protection": Passphrase(user)})
    driver = e2e(bob)._client.registry.ensure((BOB, ALICE))
    with pytest.raises(PeerRefused, match="service-unavailable"):
        await until(asyncio.shield(driver.opened))
    with pytest.raises(PeerWithoutE2E):
        await e2e(bob)._client.router.best_device(BOB, ALICE)
    there = Events(bob, "presence_available")
    user.answers.set()
    assert (await there.take())["from"].full == ALICE  # said again, with what this client can do now
    assert (await until(e2e(bob).connect("alice@localhost"))).peer == ALICE


async def test_loading_the_key_sends_no_presence_before_the_client(env: Env, user: SlowUser) -> None:
    """The client has logged in and not sent its first presence yet."""
    alice, bob = env.make(ALICE, key_protection=Passphrase(user)), await env.client(BOB)
    there = Events(bob, "presence_available")
    await env.settle(bob)
    before = len(there)
    await reconnect(alice, env.server)
    user.answers.set()
    await until(e2e(alice).wait_ready())
    await turns()
    await env.settle(alice, bob)
    assert len(there) == before
    alice.send_presence()
    assert (await until(e2e(bob).connect(ALICE))).peer == ALICE


def no_file() -> str:
    raise FileNotFoundError(2, "No such file", "/run/secrets/bot")


def no_variable() -> str:
    return {"HOME": "/"}["BOT_PASSPHRASE"]


def no_text() -> str:
    return b"hunter2\xff".decode()


def _origins(error: BaseException) -> list[BaseException]:
    """Return the error and everything that a traceback would print with it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [error, *(_origins(before) if before is not None else [])]


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("wrong horse", StoreReason.WRONG_PASSPHRASE, "is not the one"),
        (no_file, StoreReason.PROTECTION_UNAVAILABLE, "FileNotFoundError"),
        (no_variable, StoreReason.PROTECTION_UNAVAILABLE, "KeyError"),
        (no_text, StoreReason.PROTECTION_UNAVAILABLE, "UnicodeDecodeError"),
        (str, StoreReason.PROTECTION_UNAVAILABLE, "no passphrase was given"),
    ],
)
async def test_no_plaintext_is_sent_if_the_store_stays_closed(
    env: Env, source: str | Callable[[], str], reason: StoreReason, words: str
) -> None:
    """Not even a stranger without encryption gets plaintext under `prefer`, and the user is told."""
    await make_store(env)
    alice = env.make(ALICE, key_protection=Passphrase(source))
    told, failed = Events(alice, "e2e_store_failed"), Events(alice, "e2e_send_failed")
    carol = await env.client("carol@localhost/plain", "xep_0030", load=False)
    await online(alice, env.server)
    report = await told.take()
    assert report.error.reason is reason
    assert words in str(report)
    assert "hunter2" not in str(report)
    assert "hunter2" not in "".join(map(repr, _origins(report.error)))
    alice.send_message(mto=carol.boundjid.full, mbody="for Carol only")
    assert (await failed.take()).error is report.error
    assert not e2e(alice)._own_key.is_loaded
    with store_error(reason):
        await e2e(alice).wait_ready()
    with store_error(reason):
        _ = e2e(alice).fingerprint
    assert env.in_clear("for Carol only") == []
    assert len(told) == 0


async def test_a_missing_key_file_is_reported_at_once(env: Env, tmp_path: Path) -> None:
    alice = env.make(ALICE)
    path = e2e(alice)._store.path
    key = path.with_suffix(".key")
    content = key.read_bytes()
    env.unload(alice)
    key.unlink()
    with store_error(StoreReason.KEY_FILE_MISSING):
        env.load(alice)
    assert "e2e" not in alice.plugin
    assert not path.with_name(f"{path.name}-wal").exists()  # it was closed
    key.write_bytes(content)
    env.load(alice)


async def test_the_plugin_is_unloaded_while_the_key_loads(env: Env, user: SlowUser) -> None:
    alice = env.make(ALICE, key_protection=Passphrase(user))
    told = Events(alice, "e2e_store_failed")
    own = e2e(alice)._own_key
    await asyncio.to_thread(user.asked.wait, 20)
    wrong: list[object] = []
    alice.loop.set_exception_handler(lambda loop, context: wrong.append(context))
    env.unload(alice)
    user.answers.set()
    await turns()
    assert not wrong
    assert own._loading.cancelled()
    assert not own.is_loaded
    assert len(told) == 0


async def test_a_new_key_is_logged(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "slixmpp_e2e")
    env.make(ALICE)
    await turns()
    said = [record.getMessage() for record in caplog.records]
    assert len([text for text in said if text.startswith("A random key was written to /")]) == 1


async def test_a_stanza_that_cannot_be_judged_is_dropped_and_reported(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = await env.client(ALICE), await env.client(BOB, load=False)
    told, heard = Events(alice, "e2e_store_failed"), Events(alice, "message")

    def damaged(*_: object) -> object:
        raise StoreError(Path("store.db"), "the disk cannot be read")

    monkeypatch.setattr(e2e(alice)._store, "policy", damaged)
    bob.send_message(mto=ALICE, mbody="hello")
    assert "the disk cannot be read" in str((await told.take()).error)
    assert len(heard) == 0


def test_loading_the_key_does_not_block_the_store(tmp_path: Path, user: SlowUser) -> None:
    """Policies are needed for every stanza meanwhile."""
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", b"secret")
    with SQLStore.open(tmp_path / "store.db", Passphrase(user)) as store:
        thread = threading.Thread(target=store.load_key)
        thread.start()
        user.asked.wait(20)
        assert not store.has_used_e2e("bob@localhost")
        store.record_e2e_use("bob@localhost", 1.0)
        assert store.has_used_e2e("bob@localhost")
        user.answers.set()
        thread.join()
        assert store.secret("bob@localhost", "psk", "1") == b"secret"

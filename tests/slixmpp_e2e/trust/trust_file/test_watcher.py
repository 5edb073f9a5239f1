"""The trust file adds to the store, and a change of the file reaches sessions that are open."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import TrustFileFailed
from slixmpp_e2e.errors import TrustFileError
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.trust_file import watcher
from slixmpp_e2e.trust.trust_file.parse import TrustFileRules
from slixmpp_e2e.trust.trust_file.secret_file import encode_psk
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from tests.slixmpp_e2e.env import ALICE, BOB, PATIENCE, Env, Events, e2e, turns, until
from tests.slixmpp_e2e.trust.trust_file.test_parse import secret, trust
from xmpp_e2e.errors import LocalError
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, Role, TrustModel

ALICES, BOBS = "alice@localhost", "bob@localhost"
KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
PSK = bytes(range(32))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "POLL_SECONDS", 0.01)


def trust_file(folder: Path, text: str) -> TrustFile:
    return TrustFile(trust(folder, text))


async def alice_with(env: Env, folder: Path, text: str) -> ClientXMPP:
    return await env.client(ALICE, trust_file=str(trust(folder, text)))


def pinned(key: Fingerprint | None) -> str:
    return f'["{BOBS}"]\ntrust_model = "server-untrusted"\npin = "{key}"\n'


def derive(file: TrustFile, our_jid: str) -> bytes:
    """As the verifier does it, in a thread."""
    key = file.password(BOBS, our_jid)
    assert key is not None
    derived = file.derive(key)
    file.keep(key, derived)
    return derived


def test_secrets_of_the_file(tmp_path: Path) -> None:
    secret(tmp_path, "psk", encode_psk(PSK))
    secret(tmp_path, "password", "correct horse")
    file = trust_file(tmp_path, f'["{BOBS}"]\npsk_file = "psk"\npassword_file = "password"\n')
    assert file.secrets(BOBS, ALICES) == {"psk": PSK, "srp": b""}
    assert file.password("eve@localhost", ALICES) is None
    derived = derive(file, ALICES)
    assert derived == derive_srp_secret("correct horse", ALICES, BOBS)
    assert file.secrets(BOBS, ALICES) == {"psk": PSK, "srp": derived}
    assert derive(file, ALICES) is derived
    assert derive(file, "bot@localhost") != derived


async def test_a_session_gets_the_settings_of_the_file(env: Env, tmp_path: Path) -> None:
    text = f'''
        ["{BOBS}"]
        trust_model = "server-untrusted"
        on_key_change = "reject"
        min_assurance = "vouched"
        psk_file = "psk"
    '''
    secret(tmp_path, "psk", encode_psk(PSK))
    board = e2e(env.make(ALICE, trust_file=trust(tmp_path, text)))._client
    config = board._factory.create(Role.INITIATOR, ALICE, BOB).config
    assert (config.trust_model, config.on_key_change) == (TrustModel.SERVER_UNTRUSTED, OnKeyChange.REJECT)
    wanted = (config.min_assurance, config.required_methods, dict(config.shared_secrets))
    assert wanted == (Assurance.VOUCHED, ("psk",), {"psk": PSK})
    higher = board._factory.create(Role.INITIATOR, ALICE, BOB, Assurance.VERIFIED).config
    assert higher.min_assurance is Assurance.VERIFIED


async def test_secrets_of_the_file_replace_those_of_the_store(env: Env, tmp_path: Path) -> None:
    secret(tmp_path, "password", "correct horse")
    board = e2e(env.make(ALICE, trust_file=trust(tmp_path, f'["{BOBS}"]\npassword_file = "password"\n')))._client
    board._store.put_secret(BOBS, "psk", "1", PSK)
    board._store.put_secret(BOBS, "srp", "1", bytes(32))
    assert list(board._verifier.shared_secrets(BOBS, ALICES).items()) == [("psk", PSK), ("srp", b"")]
    derived = derive(board._trust_file, ALICES)
    assert list(board._verifier.shared_secrets(BOBS, ALICES).items()) == [("psk", PSK), ("srp", derived)]


@pytest.mark.parametrize("fails", [None, LocalError("no Argon2id"), MemoryError("no memory")])
async def test_a_password_that_a_session_needs_at_once(
    env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Exception | None
) -> None:
    """It was not derived ahead, as none is for a component: the session waits for a thread, and the event loop does not."""
    threads: list[int] = []

    def derived(password: str, ours: str, peer: str) -> bytes:
        threads.append(threading.get_ident())
        if fails is not None:
            raise fails
        return derive_srp_secret(password, ours, peer)

    monkeypatch.setattr(watcher, "derive_srp_secret", derived)
    monkeypatch.setattr(TrustFile, "_derive_next", lambda _: None)
    secret(tmp_path, "password", "correct horse")
    alice = await alice_with(env, tmp_path, f'["{BOBS}"]\npassword_file = "password"\n')
    bob = await env.client(BOB, ask_password=lambda _: "correct horse")
    await env.settle(alice, bob)

    async def connected() -> Assurance:
        link = await until(e2e(alice).connect(BOB))
        await until(link.wait_open())
        return link.assurance

    if fails is None:
        for _ in range(2):  # the second time it is there
            assert await connected() is Assurance.VERIFIED
            await until(e2e(alice).close())
            await e2e(alice).trust.forget(BOBS)
    else:
        with pytest.raises(LocalError, match=r"no Argon2id|a password could not be derived: MemoryError$"):
            await connected()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_pin_in_the_file_releases_a_message(env: Env, tmp_path: Path) -> None:
    """This needs no user under `server-untrusted`, and the store does not keep the pin."""
    bob = await env.client(BOB)
    alice = await alice_with(env, tmp_path, pinned(e2e(bob).fingerprint))
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    assert await heard.bodies(1) == ["for Bob only"]
    link = await until(e2e(alice).connect(BOB))
    await until(link.wait_open())
    assert link.assurance is Assurance.VERIFIED
    assert [key.assurance for key in e2e(alice).trust.show(BOBS).keys] == [Assurance.VOUCHED]


async def test_both_peers_share_a_key_and_a_password(env: Env, tmp_path: Path) -> None:
    for name, text in (("psk", encode_psk(PSK)), ("password", "correct horse")):
        secret(tmp_path, name, text)
    text = '["{}"]\npsk_file = "psk"\npassword_file = "password"\n'
    path = trust(tmp_path, text.format(BOBS) + text.format(ALICES))
    alice, bob = await env.client(ALICE, trust_file=path), await env.client(BOB, trust_file=path)
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="Now I know you.")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED


async def test_a_bad_file_keeps_the_plugin_from_loading(env: Env, tmp_path: Path) -> None:
    alice = env.make(ALICE, load=False)
    with pytest.raises(TrustFileError, match="line 1"):
        env.load(alice, trust_file=str(trust(tmp_path, "nonsense\n")))
    assert "e2e" not in alice.plugin
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".db")]


async def test_an_added_pin_releases_a_queued_message(env: Env, tmp_path: Path) -> None:
    bob = await env.client(BOB)
    alice = await alice_with(env, tmp_path, pinned(KEY))
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    trust(tmp_path, pinned(e2e(bob).fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    await until(link.wait_open())


async def test_changed_rules_close_a_session(env: Env, tmp_path: Path) -> None:
    bob = await env.client(BOB)
    alice = await alice_with(env, tmp_path, "")
    await env.settle(alice, bob)
    ended, heard = Events(alice, "e2e_session_closed"), Events(bob, "message")
    await env.session(alice, bob)
    trust(tmp_path, '["localhost"]\ntrust_model = "server-untrusted"\n')
    assert (await ended.take()).clean
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    await env.settle(alice, bob)
    assert not link.is_open
    assert len(heard) == 0
    assert env.in_clear("for Bob only") == []


async def test_a_known_route_is_looked_up_again(env: Env, tmp_path: Path) -> None:
    await env.client(BOB, load=False)
    alice = await alice_with(env, tmp_path, "")
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="yesterday")
    while not env.in_clear("yesterday"):
        await turns(1)
    trust(tmp_path, '["localhost"]\npolicy = "require"\n')
    while e2e(alice)._client.peers.of(BOBS).policy is not Policy.REQUIRE:
        await turns(1)
    alice.send_message(mto=BOB, mbody="today")
    await failed.take()
    assert env.in_clear("today") == []


async def test_a_file_that_became_bad_is_reported_once(env: Env, tmp_path: Path) -> None:
    alice = await alice_with(env, tmp_path, '["localhost"]\npolicy = "require"\n')
    board, failed = e2e(alice)._client, Events(alice, "e2e_trust_file_failed")
    path = trust(tmp_path, '["localhost"]\npolicy = "requires"\n')
    told: TrustFileFailed = await failed.take()
    assert "line 2, localhost / policy" in str(told)
    assert "keeps the rules" in str(told)
    assert board.peers.of(BOBS).policy is Policy.REQUIRE
    trust(tmp_path, f'["{BOBS}"]\npolicy = "off"\npsk_file = "psk"\n')
    assert "psk_file" in str(await failed.take())
    assert board.peers.of(BOBS).policy is Policy.REQUIRE
    secret(tmp_path, "psk", encode_psk(PSK))
    while board.peers.of(BOBS).policy is not Policy.OFF:
        await turns(1)
    path.unlink()
    assert "No such file" in str(await failed.take())
    assert board.peers.of(BOBS).policy is Policy.OFF
    assert len(failed) == 0


def start(file: TrustFile, our_jid: str | None) -> asyncio.Queue[TrustFileRules]:
    changes: asyncio.Queue[TrustFileRules] = asyncio.Queue()
    errors: list[TrustFileError] = []
    loop = asyncio.get_running_loop()
    file.start(loop, our_jid, on_change=lambda old, new: changes.put_nowait(new), on_error=errors.append)
    return changes


async def test_passwords_are_derived_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str, str]] = []

    def slow(*key: str) -> bytes:
        made.append((key[0], key[1], key[2]))
        return ":".join(key).encode()

    monkeypatch.setattr(watcher, "derive_srp_secret", slow)
    secret(tmp_path, "one", "correct")
    secret(tmp_path, "two", "horse")
    file = trust_file(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n["eve@localhost"]\npassword_file = "two"\n')
    changes = start(file, ALICES)
    while len(file._derived) < 2:
        await turns(1)
    assert made == [("correct", ALICES, BOBS), ("horse", ALICES, "eve@localhost")]
    replacement = secret(tmp_path, "new", "battery")
    os.replace(replacement, tmp_path / "two")
    await until(changes.get())
    while len(made) < 3 or len(file._derived) < 2:
        await turns(1)
    assert file.secrets("eve@localhost", ALICES) == {"srp": b"battery:alice@localhost:eve@localhost"}
    assert len(made) == 3
    file.stop()


async def test_a_component_derives_none_ahead(env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has many accounts, so the pair is known only when the password is used. A client derives it."""
    made: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def slow(*key: str) -> bytes:
        loop.call_soon_threadsafe(made.put_nowait, key)
        return bytes(32)

    monkeypatch.setattr(watcher, "derive_srp_secret", slow)
    secret(tmp_path, "one", "correct")
    text = f'["{BOBS}"]\npassword_file = "one"\n'
    bots = await env.component(trust_file=str(trust(tmp_path, text)))
    await alice_with(env, tmp_path, text)
    alices = ("correct", ALICES, BOBS)
    assert await until(made.get()) == alices
    assert e2e(bots)._trust_file._deriving is None
    assert made.empty() or made.get_nowait() == alices  # again, if the stream began while it was derived


async def test_a_password_that_is_replaced_while_it_is_derived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(password: str, ours: str, peer: str) -> bytes:
        begun.set()
        assert password != "correct" or go_on.wait(PATIENCE)
        return password.encode()

    monkeypatch.setattr(watcher, "derive_srp_secret", slow)
    secret(tmp_path, "one", "correct")
    file = trust_file(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    changes = start(file, ALICES)
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    secret(tmp_path, "one", "battery")
    await until(changes.get())
    go_on.set()
    while not file._derived:
        await turns(1)
    assert list(file._derived.values()) == [b"battery"]
    file.stop()


async def test_a_password_that_cannot_be_derived_fails_when_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenSSL without Argon2id does not make the file bad."""

    def impossible(password: str, ours: str, peer: str) -> bytes:
        raise LocalError("no Argon2id")

    monkeypatch.setattr(watcher, "derive_srp_secret", impossible)
    secret(tmp_path, "one", "correct")
    file = trust_file(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    start(file, ALICES)
    while file._deriving is not None:
        await turns(1)
    with pytest.raises(LocalError, match="no Argon2id"):
        derive(file, ALICES)
    file.stop()


async def test_the_number_of_derived_passwords_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component may write from many addresses."""
    monkeypatch.setattr(watcher, "derive_srp_secret", lambda *key: b"x")
    monkeypatch.setattr(watcher, "DERIVED_PASSWORDS", 2)
    secret(tmp_path, "one", "correct")
    file = trust_file(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    for number in range(4):
        derive(file, f"{number}@bots.localhost")
    assert [key[1] for key in file._derived] == ["2@bots.localhost", "3@bots.localhost"]


async def test_the_plugin_ends_while_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    file = trust_file(tmp_path, "")

    def slow(path: Path, versions: object, trust_model: object) -> TrustFileRules:
        begun.set()
        go_on.wait(PATIENCE)
        return TrustFileRules()

    monkeypatch.setattr(watcher, "read_trust_file", slow)
    trust(tmp_path, "# more")
    changes = start(file, None)
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    file.stop()
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    await turns(3)
    assert changes.empty()


def test_a_program_that_ends_while_passwords_are_derived_logs_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio logs a callback that raises with its arguments; these bring a password, and what was derived from it."""
    secret(tmp_path, "one", "correct horse")
    secret(tmp_path, "two", "correct donkey")
    file = trust_file(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n["carol@localhost"]\npassword_file = "two"\n')

    async def program() -> None:
        start(file, ALICES)

    asyncio.run(program())
    assert caplog.text == ""
    (key,) = file._derived
    assert "correct" not in repr(key)


async def test_an_unloaded_plugin_does_not_watch_the_file(env: Env, tmp_path: Path) -> None:
    alice = await alice_with(env, tmp_path, "")
    timer = e2e(alice)._client._trust_file._timer
    assert timer is not None
    env.unload(alice)
    assert timer.cancelled()

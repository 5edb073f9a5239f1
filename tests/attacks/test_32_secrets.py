"""Attack 32: whoever reads logs, events, tracebacks and reprs looks for keys, passphrases and shared secrets.

The main paths run at the log level DEBUG, slixmpp's own log included, with everything that goes wrong on them; then all that
was said, every exception as Python prints it, and the repr of every object of ours that was made and is alive, are searched.
Control: the search finds what is planted, in each form.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import secrets
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CoroutineType

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import (
    KeyFile,
    Passphrase,
    SQLStore,
    StoredOwnKey,
    StoreReason,
)
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.trust import passwords
from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.pair import identity
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from tests.slixmpp_e2e.store.expect import store_error
from tests.slixmpp_e2e.store.processes import execute
from xmpp_e2e.authenticate import sas
from xmpp_e2e.authenticate.base import ChannelBinding, Effect, Proof
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.errors import E2EError
from xmpp_e2e.tls import connection
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli.__main__ import main
from xmpp_loopback import online
from xmpp_loopback.hostile import swap_fingerprint

OURS = ("xmpp_e2e", "slixmpp_e2e", "xmpp_e2e_cli")
WORDS, WRONG, SHARED = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_bytes(32)
"""As no other test has them, whose objects may still be alive."""
PIECE = 12
"""Bytes of a secret in a row that count as a leak of it: nobody hits upon 96 bits by chance."""


def forms(secret: bytes) -> Iterator[str]:
    """How a piece of a secret may be written."""
    for start in range(0, len(secret) - PIECE + 1, 3):
        piece = secret[start : start + PIECE]
        yield piece.hex()
        yield piece.hex().upper()
        yield piece.hex(":")
        yield ", ".join(map(str, piece))
        yield repr(piece)[2:-1]
        yield piece.decode("latin-1")
    for start in range(3):  # whatever stands before it
        whole = secret[start : start + (len(secret) - start) // 3 * 3]
        for encoded in (base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode()):
            yield from (encoded[at : at + PIECE * 4 // 3] for at in range(0, len(encoded) - PIECE * 4 // 3 + 1, 4))
    yield str(int.from_bytes(secret, "big"))


@dataclass
class Search:
    """What is secret, and what was said."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def said(self, error: BaseException) -> None:
        """An exception, with those that it came from, as Python prints it, and as a debugger names it."""
        self.texts += [*traceback.format_exception(error), repr(error)]
        if isinstance(error, E2EError):
            self.texts.append(explain(error))

    def every_repr(self) -> int:
        """Look at each object of ours that was made since the test began and is alive; their number."""
        found = [each for each in gc.get_objects() if str(type(each).__module__).partition(".")[0] in OURS]
        self.texts += map(repr, found)
        return len(found)

    def found(self) -> set[str]:
        """The names of the secrets that were said."""
        said = "\n".join(set(self.texts))
        return {name for name, secret in self.secrets.items() if any(form in said for form in forms(secret))}


@pytest.fixture
def search(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Search]:
    """With the secrets of every TLS session, and the passphrases; all logs are at DEBUG.

    (The tokens of markers are looked for in test_32_logs.)"""
    search = Search(secrets={"passphrase": WORDS.encode(), "wrong passphrase": WRONG.encode(), "shared": SHARED})
    caplog.set_level(logging.DEBUG)
    make = connection._context

    def context(*terms: object) -> SSL.Context:
        made = make(*terms)

        def key(_: object, line: bytes) -> None:
            label, _, secret = line.decode().split()
            search.secrets[f"{label} {len(search.secrets)}"] = bytes.fromhex(secret)

        made.set_keylog_callback(key)
        return made

    monkeypatch.setattr(connection, "_context", context)
    for module in (passphrase, passwords):
        monkeypatch.setattr(module, "MEMORY_KIB", 8)
    gc.freeze()  # what other tests have left knows none of these secrets, and may be a million objects
    yield search
    gc.unfreeze()


def remember(search: Search, name: str, private_key: bytes) -> None:
    """A private key: the number in it. What else there is in its encoding is in every certificate."""
    key = serialization.load_der_private_key(private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    search.secrets[f"{name}'s key"] = key.private_numbers().private_value.to_bytes(32, "big")


def finish(search: Search, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str] | None = None) -> None:
    """Nothing secret was said, to anybody."""
    search.texts.append(caplog.text)
    if capsys is not None:
        search.texts += capsys.readouterr()
    search.every_repr()
    assert search.found() == set()


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_sessions_that_open_and_that_fail(env: Env, search: Search, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation; a fingerprint swapped on the way; a blocked key; the plugin unloaded in the middle."""
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
    env: Env, search: Search, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password, right and wrong, set up and asked for; a key; strings that are compared: what people share, what is made of
    it, what it is bound to, and the numbers that are thrown for it."""
    confirm, short_code = ProofExchange.confirm_key, sas.sas_code

    def keyed(
        self: ProofExchange, key: bytes, assurance: Assurance, *, counted: bool = False
    ) -> Generator[Effect, bytes, Proof]:
        search.secrets[f"agreed key {len(search.secrets)}"] = key
        search.secrets[f"exporter {len(search.secrets)}"] = self._binding.exporter
        return (yield from confirm(self, key, assurance, counted=counted))

    def compared(evidence: ChannelBinding, initiators: bytes, responders: bytes) -> bytes:
        search.secrets["initiator's number"], search.secrets["responder's number"] = initiators, responders
        return short_code(evidence, initiators, responders)

    monkeypatch.setattr(ProofExchange, "confirm_key", keyed)
    monkeypatch.setattr(sas, "sas_code", compared)
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
    assert "responder's number" in search.secrets
    search.secrets["shared, reversed"] = SHARED[::-1]
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


async def test_control_a_partial_is_found(search: Search) -> None:
    """As asyncio.to_thread() makes one of a function's arguments."""
    careless = partial(derive_srp_secret, WORDS)
    search.texts += [repr(each) for each in gc.get_objects() if isinstance(each, partial)]
    assert search.found() == {"passphrase"}
    assert careless


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


# --- the store -------------------------------------------------------------------------------------------------------


def wrong_passphrase(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WRONG)) as store:
        store.load_key()


def altered_row(path: Path) -> None:
    execute(path, "UPDATE secrets SET value = randomblob(60)")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.secret("bob@localhost", "psk", "1")


def refused_row(path: Path) -> None:
    execute(path, "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", SHARED)


def full_disk(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store._database._driver.execute("PRAGMA max_page_count = 1")
        for number in range(64):
            store.put_secret("bob@localhost", "psk", str(number), SHARED * 100)


def refused_change(path: Path) -> None:
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.change_protection(KeyFile(path / "no folder" / "key"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])
    SQLStore.open(path, Passphrase(WORDS))


def silent(path: Path) -> None:
    def mistyped() -> str:
        return (WORDS.encode() + b"\xff").decode()

    with SQLStore.open(path, Passphrase(mistyped)) as store:
        store.load_key()


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (wrong_passphrase, StoreReason.WRONG_PASSPHRASE),
        (altered_row, StoreReason.SECRET_DAMAGED),
        (refused_row, StoreReason.UNUSABLE),
        (full_disk, StoreReason.FULL),
        (refused_change, StoreReason.NO_ACCESS),
        (cut_short, StoreReason.DAMAGED),
        (silent, StoreReason.PROTECTION_UNAVAILABLE),
    ],
)
def test_stores_that_fail(
    tmp_path: Path, search: Search, caplog: pytest.LogCaptureFixture, fails: Callable[[Path], None], reason: StoreReason
) -> None:
    """SQLAlchemy would quote the parameters of a statement, and a decoder what it could not read."""
    path, alice = tmp_path / "store.db", identity("alice")
    remember(search, "alice", alice.private_key)
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        store.own_key(lambda: StoredOwnKey(alice.certificate, alice.private_key))
        store.put_secret("bob@localhost", "psk", "1", SHARED)
        protection = store._protection
        assert isinstance(protection, Passphrase)
        search.secrets["the key of the protection"] = protection._read_key()
    with store_error(reason) as caught:
        fails(path)
    search.said(caught.value)
    finish(search, caplog)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command(
    tmp_path: Path,
    search: Search,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it prints when it succeeds, when the passphrase is wrong, and when it has a bug: Python's own traceback."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XMPP_E2E_JID", "alice@localhost")
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    assert main(["init", "alice@localhost", "--protection", "passphrase"]) == 0
    assert main(["trust", "show", "bob@localhost", "--json"]) == 0
    with SQLStore.for_jid("alice@localhost", protection=Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", SHARED)
        remember(search, "alice", store.own_key(lambda: StoredOwnKey(b"", b"")).private_key)
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WRONG)
    assert main(["fingerprint"]) == 1
    assert main(["protection", "key-file", "--json"]) == 1
    monkeypatch.setenv("XMPP_E2E_PASSPHRASE", WORDS)
    with monkeypatch.context() as patch:
        patch.setattr("slixmpp_e2e.trust.own_key.OwnKey", lambda certificate, private_key: certificate / private_key)
        assert main(["fingerprint"]) == 2
    assert main(["protection", "key-file"]) == 0
    finish(search, caplog, capsys)


# --- control ---------------------------------------------------------------------------------------------------------

PLANTED = bytes.fromhex("9f3ac41b7e05d86290aa5b1c3de7f4886b21507c0e9d4fa3b8165ae2d37c01f6")


@dataclass
class Careless:
    """As dataclasses are by default."""

    key: bytes


def in_log(secret: bytes) -> str:
    logging.getLogger("slixmpp_e2e").debug("derived %s", secret.hex())
    return ""


def in_traceback(secret: bytes) -> str:
    try:
        try:
            bytes([0xFF]).decode() if secret else None
        except UnicodeDecodeError:
            raise ValueError(secret) from None
    except ValueError as error:
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.parametrize(
    "plant",
    [
        in_log,
        in_traceback,
        lambda secret: repr(Careless(secret)),
        lambda secret: repr(secret[5:20]),
        lambda secret: base64.b64encode(b"x" + secret + b"y").decode(),
        lambda secret: base64.b64encode(b"xy" + secret).decode(),
        lambda secret: base64.urlsafe_b64encode(secret).decode(),
        lambda secret: secret.hex(":"),
        lambda secret: str(list(secret)),
        lambda secret: f"d={int.from_bytes(secret, 'big')}",
        lambda secret: secret.decode("latin-1"),
    ],
)
def test_control_what_is_planted_is_found(
    search: Search, caplog: pytest.LogCaptureFixture, plant: Callable[[bytes], str]
) -> None:
    """In a log, a traceback or a repr, in each way of writing; and nothing is found that is not there."""
    search.secrets["planted"] = PLANTED
    search.secrets["not planted"] = PLANTED[::-1]
    search.texts.append(plant(PLANTED))
    with pytest.raises(AssertionError):
        finish(search, caplog)
    assert search.found() == {"planted"}


async def test_control_every_object_is_looked_at(env: Env, search: Search) -> None:
    """Sessions, stores, keys and configurations are among them, and one that shows its secret is found."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    assert search.every_repr() > 50
    said = "\n".join(search.texts)
    for name in ("<E2ESession alice@localhost/a", "SQLStore(", "KeyFile(", "OwnKey(SHA256:", "Config("):
        assert name in said
    careless = Careless(PLANTED)
    Careless.__module__ = "slixmpp_e2e.careless"
    search.secrets["planted"] = PLANTED
    search.every_repr()
    assert search.found() == {"planted"}
    assert careless
    Careless.__module__ = __name__

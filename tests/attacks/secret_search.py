"""What is secret, and a search for it in all that is said: logs, events, tracebacks and reprs."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import secrets
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import CoroutineType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.client import Client
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.trust import passwords
from slixmpp_e2e.xmpp import marker
from slixmpp_e2e.xmpp.emitter import Emitter
from xmpp_e2e.authenticate import sas, sas_text, srp
from xmpp_e2e.authenticate.base import ChannelBinding, Effect, Proof
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import E2EError
from xmpp_e2e.tls import connection

OURS = ("xmpp_e2e", "slixmpp_e2e", "xmpp_e2e_cli")
WORDS, WRONG, SHARED = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_bytes(32)
"""As no other test has them, whose objects may still be alive."""
PIECE = 12
"""Bytes of a secret in a row that count as a leak of it: nobody hits upon 96 bits by chance. Shorter ones count as a whole."""
RUNNING = (partial, asyncio.Future, asyncio.Handle, CoroutineType, BaseException, threading.Thread)
"""Of whatever module: what runs something shows its arguments, or its outcome."""


def forms(secret: bytes) -> Iterator[str]:
    """How a piece of a secret may be written."""
    size = min(PIECE, len(secret))
    for start in range(0, len(secret) - size + 1, 3):
        piece = secret[start : start + size]
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

    def add(self, name: str, secret: bytes) -> None:
        """One more of this name."""
        self.secrets[f"{name} {len(self.secrets)}"] = bytes(secret)

    def said(self, error: BaseException | None) -> None:
        """An exception as Python prints it, as a debugger names it, and what it holds; and so those that it came from, also
        where Python would not print them."""
        seen: set[int] = set()
        waiting = [error]
        while waiting:
            if (each := waiting.pop()) is None or id(each) in seen:
                continue
            seen.add(id(each))
            self.texts += [*traceback.format_exception(each), repr(each), repr(each.args), repr(vars(each))]
            if isinstance(each, E2EError):
                self.texts.append(explain(each))
            waiting += [each.__cause__, each.__context__]

    def record(self, record: logging.LogRecord) -> None:
        """A line of a log, and what a handler of another program may do with its parts."""
        self.texts += [record.getMessage(), repr(vars(record))]
        if record.exc_info:
            self.said(record.exc_info[1])

    def every_repr(self) -> int:
        """Look at each object of ours, and each that runs something for us, that was made since the test began and is alive;
        return their number."""
        found = [each for each in gc.get_objects() if _is_ours(each) or isinstance(each, RUNNING)]
        self.texts += map(repr, found)
        for each in found:
            if isinstance(each, BaseException):
                self.said(each)
            elif isinstance(each, asyncio.Future):
                self.outcome(each)
        return len(found)

    def outcome(self, future: asyncio.Future[Any]) -> None:
        """What asyncio logs of a future or a task that is done, but not cut short."""
        if future.done() and not future.cancelled():
            self.said(future.exception())
            self.texts.append(repr(future.exception() or future.result()))

    def found(self) -> set[str]:
        """The names of the secrets that were said."""
        said = "\n".join(set(self.texts))
        return {name for name, secret in self.secrets.items() if any(form in said for form in forms(secret))}


def _is_ours(each: object) -> bool:
    return str(type(each).__module__).partition(".")[0] in OURS


class Listening(logging.Handler):
    """Hears each record of every logger."""

    def __init__(self, search: Search) -> None:
        super().__init__(logging.DEBUG)
        self._search = search

    def emit(self, record: logging.LogRecord) -> None:
        self._search.record(record)


@pytest.fixture
def search(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """With the secrets of every TLS session and every proof, the tokens of markers, and the passphrases; all logs are at DEBUG,
    and every event is looked at, of the core and of the plugin."""
    search = Search(secrets={"passphrase": WORDS.encode(), "wrong passphrase": WRONG.encode(), "shared": SHARED})
    caplog.set_level(logging.DEBUG)
    for module in (passphrase, passwords):
        monkeypatch.setattr(module, "MEMORY_KIB", 8)
    _watch_sessions(search, monkeypatch)
    _watch_proofs(search, monkeypatch)
    gc.freeze()  # what other tests have left knows none of these secrets, and may be a million objects
    listening = Listening(search)
    with _at_debug(listening):
        yield search
    gc.unfreeze()


@contextmanager
def _at_debug(listening: logging.Handler) -> Iterator[None]:
    """Every logger that there is says everything, and hands it on."""
    root = logging.getLogger()
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    levels = {logger: (logger.level, logger.propagate) for logger in loggers}
    root.addHandler(listening)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    try:
        yield
    finally:
        root.removeHandler(listening)
        for logger, (level, propagate) in levels.items():
            logger.setLevel(level)
            logger.propagate = propagate


def watch_loop(search: Search) -> None:
    """Look at each callback of the event loop, with its arguments, as asyncio logs them in debug mode; but not cut short."""
    loop: Any = asyncio.get_running_loop()
    for name in ("call_soon", "call_soon_threadsafe", "call_at"):
        setattr(loop, name, _looked_at(search, getattr(loop, name)))


def _looked_at(search: Search, call: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
    def called(*arguments: Any, **context: Any) -> asyncio.Handle:
        search.texts.append(repr(arguments))
        for each in arguments:
            if isinstance(each, asyncio.Future):
                search.outcome(each)
        return call(*arguments, **context)

    return called


def _watch_sessions(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of TLS, the tokens of markers, and what sessions tell."""
    make, register = connection._context, marker.register
    on_event, emit = Client.on_session_event, Emitter.emit

    def context(*terms: object) -> SSL.Context:
        made = make(*terms)

        def key(_: object, line: bytes) -> None:
            label, _, secret = line.decode().split()
            search.add(label, bytes.fromhex(secret))

        made.set_keylog_callback(key)
        return made

    def registered(session: Any) -> str:
        token = register(session)
        search.add("token", token.encode())
        return token

    def told(client: Client, driver: Any, event: Any) -> None:
        search.texts += [repr(event), str(event), repr(driver), repr(getattr(event, "error", None))]
        search.said(getattr(event, "error", None))
        on_event(client, driver, event)

    def emitted(emitter: Emitter, event: Any) -> None:
        search.texts += [repr(event), str(event)]
        search.said(getattr(event, "error", None))
        emit(emitter, event)

    monkeypatch.setattr(connection, "_context", context)
    monkeypatch.setattr(marker, "register", registered)
    monkeypatch.setattr(Client, "on_session_event", told)
    monkeypatch.setattr(Emitter, "emit", emitted)


def _watch_proofs(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """What proofs are made of: the private numbers and the key of SRP, and the numbers, the code and the strings of SAS."""
    confirm, short_code, library = ProofExchange.confirm_key, sas.sas_code, srp._srp
    user, server = library.User.process_challenge, library.Verifier._derive_H_AMK

    def keyed(self: ProofExchange, key: bytes, *terms: Any, **more: Any) -> Generator[Effect, bytes, Proof]:
        search.add("agreed key", key)
        search.add("exporter", self._binding.exporter)
        return (yield from confirm(self, key, *terms, **more))

    def compared(binding: ChannelBinding, initiators: bytes, responders: bytes) -> bytes:
        code = short_code(binding, initiators, responders)
        for name, secret in {"initiator's": initiators, "responder's": responders, "SAS": code}.items():
            search.add(name, secret)
        for form in SasForm:
            search.add(f"SAS in {form.value}", " ".join(sas_text.render(code, form)).encode())
        return code

    def numbers(name: str, computed: Callable[..., Any]) -> Callable[..., Any]:
        def compute(self: Any, *arguments: Any) -> Any:
            result = computed(self, *arguments)
            for number in ("a", "b", "v", "x", "S"):
                if hasattr(self, number):
                    search.add(f"{name}'s {number}", library.long_to_bytes(getattr(self, number)))
            search.add(f"{name}'s K", self.K)
            return result

        return compute

    monkeypatch.setattr(ProofExchange, "confirm_key", keyed)
    monkeypatch.setattr(sas, "sas_code", compared)
    monkeypatch.setattr(library.User, "process_challenge", numbers("user", user))
    monkeypatch.setattr(library.Verifier, "_derive_H_AMK", numbers("server", server))


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

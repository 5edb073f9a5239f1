"""Log a slixmpp client in, and verify the server's certificate (RFC 6120 §13.7.1.2)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from slixmpp import JID, ClientXMPP

import slixmpp_e2e
from slixmpp_e2e import E2E
from xmpp_e2e_cli.errors import ConnectionFailed, ConnectionReason, UsageError
from xmpp_loopback import no_tls, offline

T = TypeVar("T")
LOGIN_SECONDS = 60.0
"""Timeout of a login, enough for a slow server on a slow line."""
CLOSE_SECONDS = 5.0
"""How long a command that has done its work, or was interrupted, waits for a peer at each step of the end, which takes a round
trip. A peer that is gone must not keep us waiting."""
PASSING = (ConnectionReason.UNREACHABLE, ConnectionReason.CONNECTION_LOST)
"""What another attempt may cure."""
_STARTTLS, _DIRECT_TLS = 5222, 5223


@dataclass(frozen=True)
class Server:
    """The server's address, and how to authenticate it."""

    host: str | None = None
    """None looks it up in DNS."""
    port: int | None = None
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""
    direct_tls: bool = False
    """Use TLS from the first byte (XEP-0368), not STARTTLS."""
    plaintext: bool = False
    """Use no TLS, for the embedded server on this machine only."""

    def __post_init__(self) -> None:
        if self.plaintext and not _is_loopback(self.host):
            raise UsageError("without TLS, only a loopback address is allowed: --host 127.0.0.1")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise UsageError(f"the file {self.ca_file} with certificate authorities does not exist")

    def address(self, domain: str) -> tuple[str, int] | None:
        """Return host and port if either was given; None if DNS decides."""
        if self.host is None and self.port is None:
            return None
        return self.host or domain, self.port or (_DIRECT_TLS if self.direct_tls else _STARTTLS)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context that verifies the server. Raises UsageError if the CA file has no certificate."""
        if self.plaintext:
            return no_tls()
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise UsageError(f"{self.ca_file} has no certificates in PEM format ({error.reason})") from None


def _is_loopback(host: str | None) -> bool:
    """Return whether the host is a loopback IP address. Names are not accepted: a resolver could lie."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command; SIGTERM ends it in order, as Ctrl-C does, and then the process, with exit code 143."""

    async def until_terminated() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(until_terminated())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


def make_client(account: JID, password: str, server: Server, settings: dict[str, Any] | None = None) -> ClientXMPP:
    """Create a client with the plugin, not yet connected. It refuses slixmpp's default of accepting every subscription."""
    client = ClientXMPP(account.full, password, ssl_context=server.context())
    client.auto_authorize = None
    client.auto_subscribe = False
    client.register_plugin("e2e", {"disconnect_seconds": CLOSE_SECONDS} | (settings or {}), module=slixmpp_e2e)
    return client


async def log_in(client: ClientXMPP, server: Server) -> None:
    """Connect and bind. Raises ConnectionFailed."""
    if server.plaintext:
        client.enable_starttls, client.enable_plaintext = False, True
        login = client.plugin["feature_mechanisms"]
        login.unencrypted_plain = login.unencrypted_scram = True
    address = server.address(client.boundjid.domain)
    if address is not None:
        client.enable_direct_tls = server.direct_tls
        client.enable_starttls = client.enable_starttls and not server.direct_tls
    with _login_result(client, server) as bound:
        client.connect(*address or ())
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                await bound
        except TimeoutError:
            raise ConnectionFailed(
                f"{_server_name(client, address)} did not finish the login in time", ConnectionReason.UNREACHABLE
            ) from None
        finally:
            if not bound.done() or bound.exception() is not None:
                client.cancel_connection_attempt()  # slixmpp itself would go on for ever
                if client.transport is not None:
                    client.abort()


@contextlib.contextmanager
def _login_result(client: ClientXMPP, server: Server) -> Iterator[asyncio.Future[None]]:
    """Yield a future with the result of the login. slixmpp retries for ever; here the first failed round counts."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failures: list[object] = []

    def fail(message: str, reason: ConnectionReason) -> None:
        if not future.done():
            future.set_exception(ConnectionFailed(message, reason))

    def untrusted(reason: object) -> None:
        text = f"the certificate of {client.boundjid.domain} is not valid: {reason}"
        fail(text, ConnectionReason.CERTIFICATE_REFUSED)

    def gave_up(_: object) -> None:
        for failure in failures:
            if isinstance(failure, ssl.SSLCertVerificationError):
                untrusted(failure.verify_message)
        where = _server_name(client, client.custom_address)
        reason = f" ({failures[-1]})" if failures else ""
        fail(f"{where} cannot be reached{reason}", ConnectionReason.UNREACHABLE)

    def ended(reason: object) -> None:
        failures.append(reason or "it ended the connection")
        gave_up(reason)

    def refused_once(failure: Any) -> None:
        if failure["condition"] == "temporary-auth-failure":  # RFC 6120 §6.5.11
            fail(f"{_server_name(client, client.custom_address)} cannot check passwords now", ConnectionReason.UNREACHABLE)

    def refused(_: object) -> None:
        # Without TLS slixmpp has sent nothing.
        if not server.plaintext and (client.transport is None or client.transport.get_extra_info("ssl_object") is None):
            fail(f"{_server_name(client, client.custom_address)} offers no TLS", ConnectionReason.TLS_NOT_OFFERED)
        fail(f"the server refused the password of {client.boundjid.bare}", ConnectionReason.LOGIN_REFUSED)

    def bound(_: object) -> None:
        if not future.done():
            future.set_result(None)

    handlers: dict[str, Callable[[Any], None]] = {
        "session_start": bound,
        "connection_failed": failures.append,
        "reconnect_delay": gave_up,
        "ssl_invalid_chain": lambda error: untrusted(getattr(error, "verify_message", error)),
        "failed_auth": refused_once,
        "failed_all_auth": refused,
        "disconnected": ended,
    }
    with handling(client, handlers):
        yield future


@contextlib.contextmanager
def handling(client: ClientXMPP, handlers: Mapping[str, Callable[[Any], None]]) -> Iterator[None]:
    """Handle these events of the client for a while."""
    for event, handler in handlers.items():
        client.add_event_handler(event, handler)
    try:
        yield
    finally:
        for event, handler in handlers.items():
            client.del_event_handler(event, handler)


def _server_name(client: ClientXMPP, address: tuple[str, int] | None) -> str:
    domain = str(client.boundjid.domain)
    return f"the server of {domain}" + (f" at {address[0]} port {address[1]}" if address else "")


@contextlib.asynccontextmanager
async def online(client: ClientXMPP, server: Server) -> AsyncIterator[E2E]:
    """Log in; at the end close the sessions, the store and the connection."""
    try:
        e2e = slixmpp_e2e.of(client)
        await e2e.wait_ready()
        await log_in(client, server)
        yield e2e
    finally:
        await go_offline(client)


@contextlib.asynccontextmanager
async def logged_in(
    account: JID, password: str, server: Server, settings: dict[str, Any]
) -> AsyncIterator[tuple[ClientXMPP, E2E]]:
    """Make a client, log it in, and yield it with its plugin; at the end close everything."""
    client = make_client(account, password, server, settings)
    async with online(client, server) as e2e:
        yield client, e2e


async def go_offline(client: ClientXMPP) -> None:
    """Wait for what was sent, end the sessions, disconnect and unload the plugin. May be called twice."""
    await offline(client)
    if "e2e" in client.plugin:
        cast(Any, client.plugin).disable("e2e")

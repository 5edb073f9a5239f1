"""From an account to a slixmpp client that is online, with the server's certificate verified (RFC 6120 §13.7.1.2)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from slixmpp import JID, ClientXMPP

import slixmpp_e2e
from slixmpp_e2e import E2E
from xmpp_e2e.errors import E2EError
from xmpp_e2e_cli.codes import CertificateRefused, NoTLS, PasswordRefused, ServerUnreachable, UsageProblem
from xmpp_loopback import no_tls, offline

LOGIN_SECONDS = 60.0
"""A slow server on a slow line has answered by then."""
FAREWELL_SECONDS = 10.0
"""Farewells take a round trip; a peer who is gone must not keep us."""
_STARTTLS, _DIRECT_TLS = 5222, 5223


@dataclass(frozen=True)
class Server:
    """Where to find the server, and how to know it."""

    host: str | None = None
    """None: as DNS says."""
    port: int | None = None
    ca_file: Path | None = None
    """The authorities to believe in place of the system's, PEM."""
    direct_tls: bool = False
    """TLS from the first byte at ``port`` (XEP-0368); without, STARTTLS."""
    plaintext: bool = False
    """No TLS at all, on this very machine only: for the embedded server."""

    def __post_init__(self) -> None:
        if self.plaintext and not _is_loopback(self.host):
            raise UsageProblem("without TLS only a loopback address is allowed, as a number: --host 127.0.0.1")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise UsageProblem(f"the file of authorities {self.ca_file} is not there")

    def address(self, domain: str) -> tuple[str, int] | None:
        """Host and port if either was given; None where DNS decides."""
        if self.host is None and self.port is None:
            return None
        return self.host or domain, self.port or (_DIRECT_TLS if self.direct_tls else _STARTTLS)

    def context(self) -> ssl.SSLContext:
        """What verifies the server's certificate. UsageProblem if the file of authorities holds none."""
        if self.plaintext:
            return no_tls()
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise UsageProblem(f"{self.ca_file} holds no certificates in PEM ({error.reason})") from None


def _is_loopback(host: str | None) -> bool:
    """A number is needed: a name is whatever some resolver says."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_client(account: JID, password: str, server: Server, settings: dict[str, Any] | None = None) -> ClientXMPP:
    """A client with the plugin, not yet connected. Nobody is let into its roster unasked, as slixmpp would."""
    client = ClientXMPP(account.full, password, ssl_context=server.context())
    client.auto_authorize = None
    client.auto_subscribe = False
    client.register_plugin("e2e", settings or {}, module=slixmpp_e2e)
    return client


def plugin_of(client: ClientXMPP) -> E2E:
    """Its e2e plugin."""
    plugin = cast(dict[str, object], client.plugin)["e2e"]
    assert isinstance(plugin, E2E)
    return plugin


async def log_in(client: ClientXMPP, server: Server) -> None:
    """Connect and bind; ServerUnreachable, CertificateRefused or PasswordRefused."""
    if server.plaintext:
        client.enable_starttls, client.enable_plaintext = False, True
        login = client.plugin["feature_mechanisms"]
        login.unencrypted_plain = login.unencrypted_scram = True
    address = server.address(client.boundjid.domain)
    if address is not None:
        client.enable_direct_tls = server.direct_tls
        client.enable_starttls = client.enable_starttls and not server.direct_tls
    with _outcome(client, server) as bound:
        client.connect(*address or ())
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                await bound
        except TimeoutError:
            raise ServerUnreachable(f"{_where(client, address)} did not finish the login in time") from None


@contextlib.contextmanager
def _outcome(client: ClientXMPP, server: Server) -> Iterator[asyncio.Future[None]]:
    """A future that follows the login. slixmpp would try for ever; the first full round that fails is enough for us."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    troubles: list[object] = []

    def fail(error: E2EError) -> None:
        if not future.done():
            future.set_exception(error)

    def untrusted(reason: object) -> None:
        fail(CertificateRefused(f"the certificate of {client.boundjid.domain} is not accepted: {reason}"))

    def gave_up(_: object) -> None:
        for trouble in troubles:
            if isinstance(trouble, ssl.SSLCertVerificationError):
                untrusted(trouble.verify_message)
        where = _where(client, client.custom_address)
        reason = f" ({troubles[-1]})" if troubles else ""
        fail(ServerUnreachable(f"{where} cannot be reached{reason}"))

    def ended(reason: object) -> None:
        troubles.append(reason or "it ended the connection")
        gave_up(reason)

    def refused(_: object) -> None:
        # slixmpp has then refused by itself to send anything.
        if not server.plaintext and (client.transport is None or client.transport.get_extra_info("ssl_object") is None):
            fail(NoTLS(f"{_where(client, client.custom_address)} offers no TLS"))
        fail(PasswordRefused(f"the server refused the password of {client.boundjid.bare}"))

    def bound(_: object) -> None:
        if not future.done():
            future.set_result(None)

    handlers: dict[str, Callable[[Any], None]] = {
        "session_start": bound,
        "connection_failed": troubles.append,
        "reconnect_delay": gave_up,
        "ssl_invalid_chain": lambda error: untrusted(getattr(error, "verify_message", error)),
        "failed_all_auth": refused,
        "disconnected": ended,
    }
    for event, handler in handlers.items():
        client.add_event_handler(event, handler)
    try:
        yield future
    finally:
        for event, handler in handlers.items():
            client.del_event_handler(event, handler)


def _where(client: ClientXMPP, address: tuple[str, int] | None) -> str:
    domain = str(client.boundjid.domain)
    return f"the server of {domain}" + (f" at {address[0]} port {address[1]}" if address else "")


@contextlib.asynccontextmanager
async def online(client: ClientXMPP, server: Server) -> AsyncIterator[E2E]:
    """Logged in; at the end the sessions are closed by farewells, the store is closed, and nothing is left."""
    try:
        await plugin_of(client).unlocked()
        await log_in(client, server)
        yield plugin_of(client)
    finally:
        await leave(client)


async def leave(client: ClientXMPP) -> None:
    """Farewells, then the end of everything. Twice does no harm."""
    if "e2e" in client.plugin:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await plugin_of(client).close()
        cast(Any, client.plugin).disable("e2e")
    await offline(client)

"""Connect slixmpp clients to the loopback server, which has no TLS.

Create clients with ``ClientXMPP(jid, password, ssl_context=no_tls())``. That takes 3 ms instead of 120: by default slixmpp
loads every root certificate of the system for each client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.basexmpp import BaseXMPP

from .server import LOOPBACK, LoopbackServer

LOGIN_SECONDS = 30.0
"""Timeout of a login, which takes milliseconds on an idle machine."""


class LoginFailed(Exception):
    """The client could not log in; the message says why."""


def no_tls() -> ssl.SSLContext:
    """Return a TLS context that trusts nobody, for a client that never uses TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def connect(client: ClientXMPP, server: LoopbackServer) -> None:
    """Start connecting ``client`` without TLS. `online` also waits for the result.

    slixmpp refuses to send a password without TLS, and its 4,096 rounds of SCRAM take longer than all the rest. So this
    allows PLAIN, and uses it unless the client chose another mechanism. Nothing leaves the machine.
    """
    client.enable_direct_tls = False
    client.enable_starttls = False
    client.enable_plaintext = True
    login = client.plugin["feature_mechanisms"]
    login.unencrypted_plain = True
    login.unencrypted_scram = True
    if login.use_mech is None:
        login.use_mech = "PLAIN"
    client.connect(LOOPBACK, server.port)


async def online(client: ClientXMPP, server: LoopbackServer, seconds: float = LOGIN_SECONDS) -> None:
    """Connect ``client``; return when it is bound, has sent presence and has its roster.

    Raises LoginFailed if the password is wrong or the connection ends before, TimeoutError.
    """
    await reconnect(client, server, seconds)
    client.send_presence()
    await client.get_roster(timeout=seconds)


async def reconnect(client: ClientXMPP, server: LoopbackServer, seconds: float = LOGIN_SECONDS) -> bool:
    """Connect ``client`` and send nothing; return True if it resumed its session (XEP-0198), False if it is newly bound.

    Raises the same errors as `online`.
    """
    with _login(client) as bound:
        connect(client, server)
        async with asyncio.timeout(seconds):
            return await bound


async def component_online(component: ComponentXMPP, server: LoopbackServer, seconds: float = LOGIN_SECONDS) -> None:
    """Connect a component; return when the server has accepted it. Raises the same errors as `online`."""
    component.enable_direct_tls = False
    with _login(component) as bound:
        component.connect(LOOPBACK, server.port)
        async with asyncio.timeout(seconds):
            await bound


async def offline(client: BaseXMPP) -> None:
    """Close the client's stream; return when the connection is gone and no task of slixmpp is left."""
    if client.is_connected():
        await client.disconnect()
    client.cancel_connection_attempt()
    await _end_send_task(client)


async def _end_send_task(client: BaseXMPP) -> None:
    """Cancel the task that sends slixmpp's queue. slixmpp leaves it running, and starts another one when it reconnects."""
    task = client._run_out_filters
    if task is not None:
        task.cancel()
        await asyncio.wait({task})


@contextmanager
def _login(client: BaseXMPP) -> Iterator[asyncio.Future[bool]]:
    """Yield a future for the login: True for a resumed session, False for a newly bound one."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def bound(_: object) -> None:
        if not future.done():
            future.set_result(False)

    def resumed(_: object) -> None:
        if not future.done():
            future.set_result(True)

    def refused(_: object) -> None:
        fail("the server refused the password")

    def ended(reason: object) -> None:
        fail(f"the connection ended: {reason or 'no reason given'}")

    def fail(why: str) -> None:
        if not future.done():
            future.set_exception(LoginFailed(f"{client.requested_jid.bare}: {why}"))

    handlers = {
        "session_start": bound,
        "session_resumed": resumed,
        "failed_all_auth": refused,
        "connection_failed": ended,
        "disconnected": ended,
    }
    for event, handler in handlers.items():
        client.add_event_handler(event, handler)
    try:
        yield future
    finally:
        for event, handler in handlers.items():
            client.del_event_handler(event, handler)
        if future.done() and not future.cancelled():
            future.exception()  # mark it as retrieved: it was raised, or the caller has given up

"""Puts slixmpp clients on the loopback server, which speaks no TLS.

A client made as ``ClientXMPP(jid, password, ssl_context=no_tls())`` is made in 3 ms instead of 120: by default slixmpp
loads every root certificate of the system for each client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.xmpp import adapter

from .server import LOOPBACK, LoopbackServer

LOGIN = 30.0
"""Seconds after which a login is given up; on an idle machine it takes milliseconds."""


class LoginFailed(Exception):
    """The client did not get in; the message says why."""


def no_tls() -> ssl.SSLContext:
    """A context that trusts nobody, for a client that will never use it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def connect(client: ClientXMPP, server: LoopbackServer) -> None:
    """Let ``client`` connect without TLS. It fires its events as ever; `online` waits for them.

    slixmpp refuses to send a password without TLS, and 4,096 rounds of SCRAM in Python take it longer than all the
    rest: so PLAIN is allowed, and used unless the client was told which mechanism to use. Nothing leaves the machine.
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


async def online(client: ClientXMPP, server: LoopbackServer, patience: float = LOGIN) -> None:
    """Connect ``client``; return when it is bound, has sent presence and has its roster.

    LoginFailed if the password is wrong or the connection ends before; TimeoutError.
    """
    await back_online(client, server, patience)
    client.send_presence()
    await client.get_roster(timeout=patience)


async def back_online(client: ClientXMPP, server: LoopbackServer, patience: float = LOGIN) -> bool:
    """Connect ``client`` and send nothing: True if it resumed its session (XEP-0198), False if it is newly bound.

    Errors as for `online`.
    """
    with _login(client) as bound:
        connect(client, server)
        async with asyncio.timeout(patience):
            return await bound


async def component_online(component: ComponentXMPP, server: LoopbackServer, patience: float = LOGIN) -> None:
    """Connect a component; return when the server has accepted it. Errors as for `online`."""
    component.enable_direct_tls = False
    with _login(component) as bound:
        component.connect(LOOPBACK, server.port)
        async with asyncio.timeout(patience):
            await bound


async def offline(client: BaseXMPP) -> None:
    """Close the client's stream; return when the connection is gone and no task of slixmpp is left."""
    if client.is_connected():
        await client.disconnect()
    client.cancel_connection_attempt()
    await adapter.end_sender(client)


@contextmanager
def _login(client: BaseXMPP) -> Iterator[asyncio.Future[bool]]:
    """A future that follows the client's login: True when its session is resumed, False when it is bound anew."""
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
            future.exception()  # it was raised, or the caller gave up: either way nobody else asks

"""The embedded XMPP server, for tests and demonstrations, not for production.

It listens on 127.0.0.1 without TLS and keeps everything in memory. Its hooks can change any stanza, so it is also the
hostile server of the tests. RFC 6120, RFC 6121, XEP-0030, XEP-0114, XEP-0198, XEP-0199.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from .connection import Connection
from .directory import Directory, Subscription
from .hooks import Hook, through
from .paths import BytePath, direct
from .routing import Router
from .sasl import mechanisms
from .session import ClientSession
from .shaper import RateLimit
from .stanza_log import Direction, HandledStanza, Observer, Predicate, StanzaLog
from .wire import to_text

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
RESUMPTION = 60.0
"""Seconds for which a client that vanished may come back and resume."""
_CLOSING = 2.0
"""Seconds for open connections to end before they are cut."""


class LoopbackServer:
    """One domain on a free port of 127.0.0.1, for tests and demonstrations, not for production.

    ``accounts`` maps user names to passwords; None accepts any user with any password. ``mutual`` subscribes all accounts
    to each other, until `set_subscription` changes that. ``resumption`` is in seconds; 0 refuses resumption (XEP-0198).
    ``components`` maps the domains of components to their secrets (XEP-0114). They connect to the same port, and ``mutual``
    does not apply to them.

    >>> async with LoopbackServer(accounts={"alice": "secret"}) as server: ...
    """

    def __init__(
        self,
        domain: str = "localhost",
        accounts: Mapping[str, str] | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        mutual: bool = True,
        resumption: float = RESUMPTION,
        components: Mapping[str, str] | None = None,
    ) -> None:
        if host != LOOPBACK:
            raise ValueError(f"this server has no TLS and binds {LOOPBACK} only, not {host!r}")
        self.stanza_log = StanzaLog()
        self.hooks: list[Hook] = []
        """Hooks that see every stanza in this order; each gets what the one before returned."""
        self.path: BytePath = direct
        """The path of bytes to clients that connect from now on: see `paths`."""
        self.limit: RateLimit | None = None
        """What is read of each client from now on; None for no limit."""
        self._directory = Directory(domain, accounts, mutual=mutual)
        self._router = Router(self._directory, self._send, self._send_abroad)
        self.components = dict(components or {})
        self.neighbours: dict[str, Callable[[Element], None]] = {}
        """Other domains, each with a function that takes a stanza: connected components, and servers (`Federation`)."""
        self.domain = self._directory.domain
        password_of = None if self._directory.open else self._directory.password
        self.mechanisms = mechanisms(self._verify, password_of)
        self.resumable = resumption > 0
        self._resumption = resumption
        self._wanted_port = port
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._closing = False

    # start and stop

    async def __aenter__(self) -> LoopbackServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start listening. Raises OSError if the requested port is taken."""
        self._closing = False
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), LOOPBACK, self._wanted_port)
        log.warning(
            "XMPP server for %s on %s port %d: for demonstration and tests, not for production",
            self.domain,
            LOOPBACK,
            self.port,
        )

    async def close(self) -> None:
        """End every stream and stop listening. Nothing is left when this returns."""
        if self._listener is None:
            return
        self._closing = True
        self._listener.close()
        for session in self._directory.sessions():
            if session.expiry is not None:
                session.expiry.cancel()
            self._directory.remove(session)  # no presence is sent while the server closes
        for connection in list(self._connections):
            connection.fail("system-shutdown")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._until_all_closed()
        for connection in list(self._connections):
            connection.cut()
        await self._until_all_closed()
        await self._listener.wait_closed()
        self._listener = None

    @property
    def port(self) -> int:
        """The TCP port. Raises RuntimeError while the server is not running."""
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the loopback server is not running")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _until_all_closed(self) -> None:
        if self._connections:
            await self._all_closed.wait()

    # for tests and demonstrations

    @property
    def handled(self) -> list[HandledStanza]:
        """Every stanza since the start, as text on the wire, in order."""
        return self.stanza_log.stanzas

    @property
    def observers(self) -> list[Observer]:
        """Callbacks that get each `HandledStanza` at once."""
        return self.stanza_log.observers

    async def wait_for(self, predicate: Predicate) -> HandledStanza:
        """Return the first handled stanza, past or future, for which ``predicate`` is true."""
        return await self.stanza_log.wait_for(predicate)

    def find_text(self, word: str) -> list[HandledStanza]:
        """Return the handled stanzas in which ``word`` can be read, in base64 too. Raises RuntimeError if the log is
        incomplete."""
        return self.stanza_log.find_text(word)

    @property
    def online(self) -> list[str]:
        """The full JIDs of all sessions, including those that may still be resumed."""
        return [session.jid for session in self._directory.sessions()]

    def inject(self, to: str, stanza: Element | str | bytes) -> None:
        """Send anything to a client (full JID), from any claimed sender. A str is sent unchanged, XML or not.

        Bytes, which may be no UTF-8, do not count as a stanza (XEP-0198). Raises KeyError if nobody is bound to ``to``.
        """
        session = self._session(to)
        if isinstance(stanza, bytes):
            self.stanza_log.add(Direction.SENT, session.jid, stanza.decode(errors="replace"))
            if session.connection is not None:
                session.connection.write_raw(stanza)
            return
        text = stanza if isinstance(stanza, str) else to_text(stanza)
        self._deliver(session, text)

    def route(self, stanza: Element, sender: str) -> None:
        """Handle ``stanza`` as if it had just arrived from ``sender`` (full JID) and passed the hooks."""
        self._router.route(stanza, sender)

    def disconnect(self, jid: str, *, abruptly: bool = True) -> None:
        """End a client's connection: cut it, so that the client may resume, or close the stream and the session.

        Raises KeyError if nobody is bound to ``jid``.
        """
        connection = self._session(jid).connection
        if connection is not None:
            if abruptly:
                connection.cut()
            else:
                connection.close()

    def set_subscription(self, owner: str, contact: str, state: Subscription | str) -> None:
        """Set ``contact`` in the roster of ``owner`` (bare JIDs) to none, to, from or both, as the owner sees it.

        Pushes rosters, and sends or withdraws presence of those who are online.
        """
        state = Subscription(state)
        owner, contact = JID(owner).bare, JID(contact).bare
        self._router.presences.watch(owner, contact, state.watches)
        self._router.presences.watch(contact, owner, state.watched)

    def _session(self, jid: str) -> ClientSession:
        session = self._directory.session(JID(jid).full)
        if session is None:
            raise KeyError(f"nobody is bound to {jid}")
        return session

    def _send(self, session: ClientSession, stanza: Element) -> None:
        self._deliver(session, to_text(stanza))

    def _send_abroad(self, domain: str, stanza: Element) -> bool:
        deliver = self.neighbours.get(domain)
        if deliver is None:
            return False
        self.stanza_log.add(Direction.SENT, domain, to_text(stanza))
        deliver(stanza)
        return True

    def _deliver(self, session: ClientSession, text: str) -> None:
        self.stanza_log.add(Direction.SENT, session.jid, text)
        if not session.deliver(text):
            self._expel(session, "policy-violation")

    def _expel(self, session: ClientSession, condition: str) -> None:
        """End a session, whether its client is connected or away."""
        if session.connection is not None:
            session.connection.fail(condition)
        self._end(session)

    # for connections

    def _verify(self, user: str, password: str) -> bool:
        expected = self._directory.password(user)
        if expected is None:
            return self._directory.open
        return hmac.compare_digest(expected.encode(), password.encode())

    def admit(self, user: str) -> str:
        """Return the bare JID of a user who has logged in."""
        return self._directory.admit(user)

    def bind(self, connection: Connection, jid: str) -> ClientSession:
        """Create a session. An older one with the same JID gets ``<conflict/>`` (RFC 6120 §7.7.2.2)."""
        older = self._directory.session(jid)
        if older is not None:
            self._expel(older, "conflict")
        session = ClientSession(jid, jid.partition("/")[0], connection)
        self._directory.add(session)
        return session

    def handle(self, session: ClientSession, element: Element, text: str) -> None:
        """Log and stamp a client's stanza, pass it through the hooks, and route the result."""
        self.stanza_log.add(Direction.RECEIVED, session.jid, text)
        element.set("from", session.jid)
        for stanza in through(self.hooks, element, session.jid):
            self._router.route(stanza, session.jid)

    def arrive(self, domain: str, stanza: Element, text: str = "") -> bool:
        """Handle a stanza from another domain. Return False if its sender is not in that domain (RFC 6120 §8.1.2.2), or
        if it has no recipient."""
        self.stanza_log.add(Direction.RECEIVED, domain, text or to_text(stanza))
        try:
            sender, to = JID(stanza.get("from", "")), JID(stanza.get("to", ""))
        except InvalidJID:
            return False
        if sender.domain != domain or not to.domain:
            return False
        for passed in through(self.hooks, stanza, sender.full):
            self._router.route(passed, sender.full)
        return True

    def joined(self, connection: Connection, domain: str) -> bool:
        """Register a component that has proved its secret. Return False if it is connected already."""
        if domain in self.neighbours:
            return False
        self.neighbours[domain] = lambda stanza: connection.write(to_text(stanza))
        return True

    def parted(self, domain: str) -> None:
        """Forget a component whose connection has ended."""
        del self.neighbours[domain]

    def resume(self, connection: Connection, bare: str, token: str) -> ClientSession | None:
        """Return the session with this token, if it belongs to this account (XEP-0198 §5)."""
        for session in self._directory.sessions(bare):
            if session.acks is None or session.acks.token != token:
                continue
            older, session.connection = session.connection, connection
            if older is not None:
                older.fail("conflict")
            if session.expiry is not None:
                session.expiry.cancel()
                session.expiry = None
            return session
        return None

    def lost(self, connection: Connection, session: ClientSession, *, orderly: bool) -> None:
        """Wait for a resumption, or end the session."""
        if session.connection is not connection:
            return  # resumed elsewhere
        session.connection = None
        if not orderly and session.acks is not None and session.acks.resumable:
            loop = asyncio.get_running_loop()
            session.expiry = loop.call_later(self._resumption, self._end, session)
        else:
            self._end(session)

    def _end(self, session: ClientSession) -> None:
        if session.expiry is not None:
            session.expiry.cancel()
        if self._directory.session(session.jid) is session:
            self._directory.remove(session)
            self._router.presences.gone(session)

    def opened(self, connection: Connection) -> None:
        """Register a connection. One that comes while the server closes is cut."""
        self._connections.add(connection)
        self._all_closed.clear()
        if self._closing:
            connection.cut()

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

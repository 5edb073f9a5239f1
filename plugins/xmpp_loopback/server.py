"""The embedded XMPP server: for demonstration and tests, not for production.

It listens on 127.0.0.1 without TLS, keeps everything in memory, and does to stanzas whatever its hooks say: it is
also the hostile server of the tests. RFC 6120, RFC 6121, XEP-0030, XEP-0114, XEP-0198, XEP-0199.
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
from .paths import Path, straight
from .record import Handled, Predicate, Record, Tap, Way
from .routing import Router
from .sasl import mechanisms
from .session import Session
from .wire import to_text

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
RESUMPTION = 60.0
"""Seconds for which a client that vanished may come back and resume."""
_CLOSING = 2.0
"""Seconds that open connections get to end before they are cut."""


class LoopbackServer:
    """One domain on a free port of 127.0.0.1, for demonstration and tests, not for production.

    ``accounts`` maps user names to passwords; None lets anybody in with any password. ``mutual`` is the subscription
    that holds between any two accounts until `set_subscription` says otherwise: both ways, or none.
    ``resumption`` is in seconds, 0 refuses resumption (XEP-0198). ``components`` maps the domains of components to their
    secrets (XEP-0114); they connect to the same port, and nobody is subscribed to them or they to anybody by ``mutual``.

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
        self.record = Record()
        self.interfere: list[Hook] = []
        """Hooks, called in this order; what one returns the next one gets."""
        self.path: Path = straight
        """How bytes come to the clients that connect from now on: `paths`."""
        self._directory = Directory(domain, accounts, mutual=mutual)
        self._router = Router(self._directory, self._send, self._send_abroad)
        self.components = dict(components or {})
        self.neighbours: dict[str, Callable[[Element], None]] = {}
        """Other domains, and what takes a stanza there: components that are connected, and servers (`Federation`)."""
        self.domain = self._directory.domain
        password_of = None if self._directory.open else self._directory.password
        self.mechanisms = mechanisms(self._verify, password_of)
        self.resumable = resumption > 0
        self._resumption = resumption
        self._wanted_port = port
        self._listener: asyncio.Server | None = None
        self._links: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._closing = False

    # running

    async def __aenter__(self) -> LoopbackServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen. OSError if a port was asked for and is taken."""
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
        """End every stream and stop listening; nothing is left when this returns."""
        if self._listener is None:
            return
        self._closing = True
        self._listener.close()
        for session in self._directory.sessions():
            if session.expiry is not None:
                session.expiry.cancel()
            self._directory.remove(session)  # nobody is told who else leaves
        for link in list(self._links):
            link.fail("system-shutdown")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._until_all_closed()
        for link in list(self._links):
            link.cut()
        await self._until_all_closed()
        await self._listener.wait_closed()
        self._listener = None

    @property
    def port(self) -> int:
        """The TCP port; RuntimeError while the server does not run."""
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the loopback server is not running")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _until_all_closed(self) -> None:
        if self._links:
            await self._all_closed.wait()

    # what tests and demonstrations do with it

    @property
    def seen(self) -> list[Handled]:
        """Every stanza handled since the start, as text on the wire, in order."""
        return self.record.seen

    @property
    def taps(self) -> list[Tap]:
        """Callbacks that get each `Handled` as it happens."""
        return self.record.taps

    async def saw(self, predicate: Predicate) -> Handled:
        """The first handled stanza, past or to come, for which ``predicate`` holds."""
        return await self.record.saw(predicate)

    def mentions(self, word: str) -> list[Handled]:
        """The handled stanzas in which ``word`` can be read, in base64 too; RuntimeError if the record has gaps."""
        return self.record.mentions(word)

    @property
    def online(self) -> list[str]:
        """The full JIDs of all sessions, available or not, those that may yet be resumed included."""
        return [session.jid for session in self._directory.sessions()]

    def inject(self, to: str, stanza: Element | str | bytes) -> None:
        """Send a client (full JID) anything, from whomever it claims to be; a str goes out as it is, XML or not.

        Bytes, which need not even be UTF-8, count as no stanza (XEP-0198). KeyError if nobody is bound to ``to``.
        """
        session = self._session(to)
        if isinstance(stanza, bytes):
            self.record.add(Way.SENT, session.jid, stanza.decode(errors="replace"))
            if session.link is not None:
                session.link.write_raw(stanza)
            return
        text = stanza if isinstance(stanza, str) else to_text(stanza)
        self._deliver(session, text)

    def route(self, stanza: Element, sender: str) -> None:
        """Handle ``stanza`` as if it had just come from ``sender`` (full JID) and passed the hooks."""
        self._router.route(stanza, sender)

    def disconnect(self, jid: str, *, abruptly: bool = True) -> None:
        """End a client's connection: cut (it may resume), or with ``</stream:stream>`` (its session ends).

        KeyError if nobody is bound to ``jid``.
        """
        link = self._session(jid).link
        if link is not None:
            if abruptly:
                link.cut()
            else:
                link.close()

    def set_subscription(self, owner: str, contact: str, state: Subscription | str) -> None:
        """Set ``contact`` in the roster of ``owner`` (bare JIDs) to none, to, from or both, as the owner sees it.

        Rosters are pushed, and presence is sent to and withdrawn from whoever is online.
        """
        state = Subscription(state)
        owner, contact = JID(owner).bare, JID(contact).bare
        self._router.presences.watch(owner, contact, state.watches)
        self._router.presences.watch(contact, owner, state.watched)

    def _session(self, jid: str) -> Session:
        session = self._directory.session(JID(jid).full)
        if session is None:
            raise KeyError(f"nobody is bound to {jid}")
        return session

    def _send(self, session: Session, stanza: Element) -> None:
        self._deliver(session, to_text(stanza))

    def _send_abroad(self, domain: str, stanza: Element) -> bool:
        deliver = self.neighbours.get(domain)
        if deliver is None:
            return False
        self.record.add(Way.SENT, domain, to_text(stanza))
        deliver(stanza)
        return True

    def _deliver(self, session: Session, text: str) -> None:
        self.record.add(Way.SENT, session.jid, text)
        if not session.deliver(text):
            self._expel(session, "policy-violation")

    def _expel(self, session: Session, condition: str) -> None:
        """End a session, whether its client is here or away."""
        if session.link is not None:
            session.link.fail(condition)
        self._end(session)

    # what connections ask for: connection.Host

    def _verify(self, user: str, password: str) -> bool:
        expected = self._directory.password(user)
        if expected is None:
            return self._directory.open
        return hmac.compare_digest(expected.encode(), password.encode())

    def admit(self, user: str) -> str:
        """The bare JID of a user who has logged in."""
        return self._directory.admit(user)

    def bind(self, link: Connection, jid: str) -> Session:
        """A new session; the older one of the same name gets ``<conflict/>`` (RFC 6120 §7.7.2.2)."""
        older = self._directory.session(jid)
        if older is not None:
            self._expel(older, "conflict")
        session = Session(jid, jid.partition("/")[0], link)
        self._directory.add(session)
        return session

    def handle(self, session: Session, element: Element, text: str) -> None:
        """Record, stamp, interfere, route."""
        self.record.add(Way.RECEIVED, session.jid, text)
        element.set("from", session.jid)
        for stanza in through(self.interfere, element, session.jid):
            self._router.route(stanza, session.jid)

    def arrive(self, domain: str, stanza: Element, text: str = "") -> bool:
        """A stanza came from another domain, a component's or a server's. False, and it goes nowhere, if it is in the name
        of another one than that (RFC 6120 §8.1.2.2), or to nobody."""
        self.record.add(Way.RECEIVED, domain, text or to_text(stanza))
        try:
            sender, to = JID(stanza.get("from", "")), JID(stanza.get("to", ""))
        except InvalidJID:
            return False
        if sender.domain != domain or not to.domain:
            return False
        for passed in through(self.interfere, stanza, sender.full):
            self._router.route(passed, sender.full)
        return True

    def joined(self, link: Connection, domain: str) -> bool:
        """A component has proved its secret. False if it is here already."""
        if domain in self.neighbours:
            return False
        self.neighbours[domain] = lambda stanza: link.write(to_text(stanza))
        return True

    def parted(self, domain: str) -> None:
        """A component's connection has ended."""
        del self.neighbours[domain]

    def resume(self, link: Connection, bare: str, token: str) -> Session | None:
        """XEP-0198 §5: the session named by ``token``, if it belongs to this account."""
        for session in self._directory.sessions(bare):
            if session.acks is None or session.acks.token != token:
                continue
            older, session.link = session.link, link
            if older is not None:
                older.fail("conflict")
            if session.expiry is not None:
                session.expiry.cancel()
                session.expiry = None
            return session
        return None

    def lost(self, link: Connection, session: Session, *, orderly: bool) -> None:
        """Wait for a resumption, or end the session."""
        if session.link is not link:
            return  # resumed elsewhere
        session.link = None
        if not orderly and session.acks is not None and session.acks.resumable:
            loop = asyncio.get_running_loop()
            session.expiry = loop.call_later(self._resumption, self._end, session)
        else:
            self._end(session)

    def _end(self, session: Session) -> None:
        if session.expiry is not None:
            session.expiry.cancel()
        if self._directory.session(session.jid) is session:
            self._directory.remove(session)
            self._router.presences.gone(session)

    def opened(self, link: Connection) -> None:
        """A client has connected; one that comes while the server closes is sent away."""
        self._links.add(link)
        self._all_closed.clear()
        if self._closing:
            link.cut()

    def closed(self, link: Connection) -> None:
        """The connection is gone."""
        self._links.discard(link)
        if not self._links:
            self._all_closed.set()

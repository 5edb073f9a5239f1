"""The session that users hold: ``e2e.connect()`` returns it, and ``stanza["e2e"]["session"]`` is it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.jids import bare
from slixmpp_e2e.prompts import Prompts, SasPrompt
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDriver, SessionReleased
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.verification.verifier import Verifier
from slixmpp_e2e.xmpp import marker
from xmpp_e2e import events
from xmpp_e2e.authenticate.psk import check_key_length
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import E2EError, LocalError, SendBufferFull
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint, Role

ENDED_SESSIONS = 1024
"""Ended sessions whose stanzas can still tell how they came: a handler looks at a stanza soon after it was delivered."""


class E2ESession:
    """A session with one full JID."""

    def __init__(self, driver: SessionDriver, verifier: Verifier) -> None:
        self._driver, self._verifier = driver, verifier

    def __repr__(self) -> str:
        return f"<E2ESession {self.own_jid} {self.role.value} {self.peer} {self.state.value} {self.assurance}>"

    @property
    def peer(self) -> str:
        """The peer's full JID."""
        return self._driver.peer

    @property
    def own_jid(self) -> str:
        """Our own full JID."""
        return self._driver.own_jid

    @property
    def role(self) -> Role:
        """Who started it: ``Role.INITIATOR`` if we did."""
        return self._driver.role

    @property
    def sid(self) -> str:
        """The Jingle session id."""
        return self._driver.sid

    @property
    def state(self) -> State:
        """Where it is: OPEN while stanzas flow."""
        return self._driver.state

    @property
    def is_open(self) -> bool:
        """True while stanzas flow."""
        return self._driver.is_open

    @property
    def is_writable(self) -> bool:
        """True while stanzas may be sent, though they are lost if the peer refuses our key before the session is open."""
        return self._driver.is_writable

    @property
    def is_verifying(self) -> bool:
        """True while a verification runs, or waits for its turn."""
        return self._driver.core.is_verifying

    @property
    def assurance(self) -> Assurance:
        """What is proved of the peer's key."""
        return self._driver.assurance

    @property
    def min_assurance(self) -> Assurance:
        """What must be proved of the peer's key before our stanzas flow."""
        return self._driver.min_assurance

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The peer's key, once TLS has shown it."""
        return self._driver.key

    @property
    def protocol(self) -> str:
        """``TLSv1.3``, once TLS is up."""
        return self._driver.tls.protocol if self._driver.tls else ""

    @property
    def cipher(self) -> str:
        """The cipher suite, as OpenSSL names it, once TLS is up."""
        return self._driver.tls.cipher if self._driver.tls else ""

    @property
    def group(self) -> str:
        """The key exchange, once TLS is up. ``X25519MLKEM768`` is safe against quantum computers too."""
        return self._driver.tls.group if self._driver.tls else ""

    @property
    def acknowledged_bytes(self) -> int:
        """Bytes that have come to the peer so far, to show progress. That their program has a stanza, only its
        acknowledgement says."""
        return self._driver.acknowledged_bytes

    @property
    def unacknowledged(self) -> int:
        """Stanzas that were sent in it, and that the peer has not acknowledged."""
        return len(self._driver.core.unacknowledged)

    async def wait_authenticating(self) -> None:
        """Wait until both hellos are checked. Raises what made the session fail."""
        await asyncio.shield(self._driver.authenticating)

    async def wait_open(self) -> None:
        """Wait until stanzas flow: both sides accept the other's key. Raises what made the session fail."""
        await asyncio.shield(self._driver.opened)

    async def wait_closed(self) -> E2EError | None:
        """Wait until it is over; return None if it ended by farewells on both sides, else the reason."""
        return await asyncio.shield(self._driver.closed)

    async def verify_sas(self, confirm: Callable[[SasPrompt], Awaitable[bool] | bool], form: str = "decimal") -> None:
        """Let both users compare a short string; return when ours has said that it is the same.

        ``confirm`` gets a SasPrompt, whose ``.text`` has the ``form``: ``decimal``, ``emoji`` or ``words``. It returns True if
        the strings are the same. The event ``e2e_peer_sas_result`` tells what the peer's user says.

        This and the next two prove the peer's key as soon as both hellos are checked, for now and for later sessions. If the
        peer has asked for the same, they agree to that. They raise VerificationDeclined if the peer takes no part, LocalError
        if the method cannot run (it cannot run twice in one session), and whatever ended the session if the proof failed.
        """
        await self._verifier.verify(self._driver, "sas", Prompts(sas=confirm), form=SasForm(form))

    async def verify_password(self, password: str) -> None:
        """Prove to each other that both know the same password. A wrong one is counted; PasswordLocked after too many."""
        derived = await asyncio.to_thread(lambda: derive_srp_secret(password, bare(self.own_jid), bare(self.peer)))
        await self._verifier.verify(self._driver, "srp", secret=derived)

    async def verify_key(self, key: bytes | None = None) -> None:
        """Prove to each other that both hold the same random key: this one, or the one that is set up.

        WeakKey for fewer than 16 bytes; LocalError if there is none.
        """
        if key is None:
            account = bare(self.peer)
            key = self._verifier.shared_secrets(account, bare(self.own_jid)).get("psk")
            if key is None:
                raise LocalError(f"no key is shared with {account}")
        await self._verifier.verify(self._driver, "psk", secret=check_key_length(key))

    def decline(self, method: str) -> None:
        """Refuse what the peer has asked for (``e2e_verification_requested``); the session goes on.

        LocalError if they have not asked, or if it runs already.
        """
        self._driver.decline_verification(method)

    def send(self, stanza: StanzaBase) -> None:
        """Send one stanza through this session, or nowhere. LocalError if it cannot be taken now; then nothing is sent.

        Ordinary ``stanza.send()`` also waits for room, and for a session.
        """
        if not self._driver.send(stanza.xml):
            raise SendBufferFull(f"too much waits to be sent to {self.peer}")

    async def close(self) -> E2EError | None:
        """Say farewell, and wait for the peer's. Return None if both came, which acknowledges all, else why not: then the next
        session sends again what was not acknowledged."""
        self._driver.close()
        return await self.wait_closed()


class Sessions:
    """The E2ESession of each driver, and the tokens by which stanzas name it."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._sessions: WeakValueDictionary[SessionDriver, E2ESession] = WeakValueDictionary()
        self._opened: dict[SessionDriver, tuple[str, E2ESession]] = {}
        """Sessions that have opened and are not over, with their tokens: a marker keeps no session in memory."""
        self._ended: deque[E2ESession] = deque(maxlen=ENDED_SESSIONS)

    def of(self, driver: SessionDriver) -> E2ESession:
        """Return the session of a driver, always the same object while anybody has it."""
        if (session := self._sessions.get(driver)) is None:
            session = self._sessions[driver] = E2ESession(driver, self._verifier)
        return session

    def token_of(self, driver: SessionDriver) -> str:
        """Return the marker's token of a session that has opened and is not over; empty for any other."""
        return self._opened[driver][0] if driver in self._opened else ""

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Give a session that opens a token, and keep one that is over a little longer."""
        match event:
            case events.SessionOpened():
                session = self.of(driver)
                self._opened[driver] = (marker.register(session), session)
            case SessionReleased() if (opened := self._opened.pop(driver, None)) is not None:
                token, session = opened
                marker.retire(token)
                self._ended.append(session)

"""The data of those ``e2e_…`` events that are the host's own."""

from __future__ import annotations

from dataclasses import dataclass

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trustfile import TrustFileWrong
from xmpp_e2e.errors import E2EError


@dataclass(frozen=True)
class SendFailed:
    """``e2e_send_failed``: a stanza was not sent, neither encrypted nor in clear."""

    stanza: StanzaBase
    error: E2EError

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return f"Not sent to {self.stanza['to']}: {self.error.explain()}"


@dataclass(frozen=True)
class Plaintext:
    """``e2e_plaintext_refused`` (not delivered) and ``e2e_plaintext_received`` (delivered, but encryption was expected)."""

    stanza: StanzaBase
    error: E2EError

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return f"In clear from {self.stanza['from']}: {self.error.explain()}"


@dataclass(frozen=True)
class SessionRefused:
    """``e2e_session_refused``: a peer offered a session, and what should prove him cannot be used: it is locked, perhaps."""

    peer: str
    """His bare JID."""
    error: E2EError

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return f"No session with {self.peer}, who wants one: {self.error.explain()}"


@dataclass(frozen=True)
class StoreFailed:
    """``e2e_store_failed``: the store did not do what was asked, and no other event tells of it."""

    error: StoreError

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return self.error.explain()


@dataclass(frozen=True)
class TrustFileFailed:
    """``e2e_trust_file_failed``: the trust file was changed and is wrong now; what it said before holds."""

    error: TrustFileWrong

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return self.error.explain()

"""The data of those ``e2e_…`` events that are the host's own."""

from __future__ import annotations

from dataclasses import dataclass

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.trust_file.parse import TrustFileWrong
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
class VerifyCut:
    """``e2e_verify_cut``: short strings were shown, and it ended before both users had said whether they are the same."""

    peer: str
    """His full JID."""
    count: int
    """How often that has happened with his account since a comparison succeeded, this time included."""

    def __str__(self) -> str:
        """What happened, what it may mean and what to do."""
        return (
            f"A comparison of short strings with {self.peer} was cut before both of you had spoken (so often: {self.count})."
            " Most likely a connection was lost, or somebody took too long. Somebody in the middle, who sees that the strings"
            " differ, would do just that, to try again. If it goes on, compare fingerprints, or take another path."
        )


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

"""The events that a program can handle: one class for each, and the slixmpp event's name in the class.

``xmpp.add_event_handler(SessionOpened.name, handler)``; the handler gets an object of that class. ``str(event)`` is a text for
people. No event carries a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.alarms import doubt_alarm, explain, held_alarm, rotation_alarm
from slixmpp_e2e.jids import bare
from xmpp_e2e.errors import E2EError
from xmpp_e2e.key_decision import KeyStatus
from xmpp_e2e.types import Assurance, Fingerprint

if TYPE_CHECKING:  # it stands at the top of the plugin, and this module at the bottom
    from slixmpp_e2e.session import E2ESession


class E2EEvent:
    """Any event of the plugin."""

    name: ClassVar[str]
    """The name of the slixmpp event."""
    level: ClassVar[int] = logging.INFO
    """The level at which it is logged."""

    @property
    def told_once(self) -> Hashable:
        """What this is about, if it is told only once while the program runs; None if it is told each time."""
        return None


@dataclass(frozen=True)
class SessionEvent(E2EEvent):
    """An event of one session."""

    session: E2ESession

    @property
    def peer(self) -> str:
        """The peer's full JID."""
        return self.session.peer


@dataclass(frozen=True)
class SessionOpened(SessionEvent):
    """Stanzas flow: both sides accept the other's key."""

    name = "e2e_session_opened"
    assurance: Assurance
    """What is proved of the peer's key."""
    fingerprint: Fingerprint
    """The peer's key."""

    def __str__(self) -> str:
        return f"Session with {self.peer} is open ({self.assurance}, {self.fingerprint})."


@dataclass(frozen=True)
class AssuranceChanged(SessionEvent):
    """Another level holds for the key of an open session: it was verified, or is not any more."""

    name = "e2e_assurance_changed"
    before: Assurance
    assurance: Assurance

    def __str__(self) -> str:
        return f"The key of {self.peer} is {self.assurance} now; it was {self.before}."


@dataclass(frozen=True)
class SessionClosed(SessionEvent):
    """An open session has ended."""

    name = "e2e_session_closed"
    clean: bool
    """True if both sides said farewell. If not, the next session sends again what the peer has not acknowledged."""
    error: E2EError | None
    """Why, if it was not clean."""

    def __str__(self) -> str:
        return f"Session with {self.peer} has ended." + (f" {explain(self.error)}" if self.error else "")


@dataclass(frozen=True)
class SessionFailed(SessionEvent):
    """A session ended before it was open. Nothing was delivered here, and nothing was sent in plaintext."""

    name = "e2e_session_failed"
    error: E2EError

    def __str__(self) -> str:
        return f"No session with {self.peer}: {explain(self.error)}"


@dataclass(frozen=True)
class KeyChanged(SessionEvent):
    """The peer shows a key that is new here, though other keys of theirs are known; or one that is blocked."""

    name = "e2e_key_changed"
    level = logging.WARNING
    status: str
    """``new`` (none of the other keys is verified), ``changed`` (one is: act!) or ``blocked``."""
    fingerprint: Fingerprint
    """The key that the peer shows now."""
    known: tuple[Fingerprint, ...]
    """The keys that are known as theirs."""
    decision: str
    """``accept``, ``hold`` (until it is pinned or proved) or ``reject``."""
    text: str
    """The same for a person, with the command that resolves it."""

    @property
    def told_once(self) -> Hashable:
        """The key: it may be shown in many sessions."""
        return bare(self.session.own_jid), bare(self.peer), self.fingerprint, self.status

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class OtherKeyHeld(E2EEvent):
    """Another key of the peer is verified now, so nothing flows to this one any more: the user has not decided about it."""

    name = "e2e_other_key_held"
    level = logging.WARNING
    peer: str
    """The peer's bare JID."""
    fingerprint: Fingerprint
    """The key."""
    own_jid: str
    """Our bare JID, by which another key is verified: a component has several."""

    @property
    def told_once(self) -> Hashable:
        """The key: a session that shows it brings no second alarm."""
        return self.own_jid, self.peer, self.fingerprint, KeyStatus.CHANGED.value

    def __str__(self) -> str:
        return held_alarm(self.peer, self.fingerprint)


@dataclass(frozen=True)
class KeyDoubted(E2EEvent):
    """A key of the peer is not verified any more: short strings were compared, and one of the users says that they differ."""

    name = "e2e_key_doubted"
    level = logging.WARNING
    peer: str
    """The peer's bare JID."""
    fingerprint: Fingerprint
    """The key."""
    pinned: bool
    """True if the trust file still pins it, which only its author can change."""
    own_jid: str
    """Our bare JID, by which it was verified: a component has several."""

    def __str__(self) -> str:
        return doubt_alarm(self.peer, self.fingerprint, pinned=self.pinned)


@dataclass(frozen=True)
class KeyRotated(SessionEvent):
    """The peer has given up a verified key, and another takes its place, by the word of both: it is verified from now on."""

    name = "e2e_key_rotated"
    level = logging.WARNING
    old: Fingerprint
    """The key that is refused from now on."""
    new: Fingerprint
    """The key that takes its place."""

    @property
    def told_once(self) -> Hashable:
        """The keys: the peer may say it in many sessions."""
        return bare(self.session.own_jid), bare(self.peer), self.old, self.new

    def __str__(self) -> str:
        return rotation_alarm(bare(self.peer), self.old, self.new)


@dataclass(frozen=True)
class OwnKeyRotated(E2EEvent):
    """Our own key was rotated, here or by another process with this store; the sessions under the old one end by farewells."""

    name = "e2e_own_key_rotated"
    old: Fingerprint
    """The key that is given up."""
    new: Fingerprint
    """Our key from now on."""

    def __str__(self) -> str:
        return (
            f"Our own key was rotated: it is {self.new} from now on, and was {self.old}. Peers who have verified the old one"
            " are told in open sessions and in each new one; all others see a new key, and have to compare it."
        )


@dataclass(frozen=True)
class VerificationRequired(SessionEvent):
    """Nothing flows until the user pins the peer's key, or a verification succeeds."""

    name = "e2e_verification_required"
    level = logging.WARNING
    status: str
    """``first``, ``known``, ``new`` or ``changed``, as in KeyChanged."""
    fingerprint: Fingerprint
    """The key that the peer shows."""
    methods: tuple[str, ...]
    """Methods for which the peer has a secret, or can ask their user for one."""
    text: str
    """Why, for a person, with the command that resolves it."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class VerificationRequested(SessionEvent):
    """The peer asks for a verification. Call ``session.verify_…()`` to agree, or ``session.decline()``."""

    name = "e2e_verification_requested"
    method: str
    """``sas``, ``srp`` or ``psk``."""
    form: str
    """How a short string is shown: ``decimal``, ``emoji`` or ``words``."""
    running: bool
    """True if it runs already, because the settings agree to it."""

    def __str__(self) -> str:
        return f"{self.peer} asks for a verification by {self.method}."


@dataclass(frozen=True)
class PeerSasResult(SessionEvent):
    """The peer's user has compared the short strings. This is information: your own user's answer decides here."""

    name = "e2e_peer_sas_result"
    match: bool
    """True if they said that the strings are the same."""

    def __str__(self) -> str:
        return f"{self.peer} says that the strings {'are the same' if self.match else 'DIFFER'}."


@dataclass(frozen=True)
class VerificationInterrupted(E2EEvent):
    """Short strings were shown, and the comparison ended before both users had answered."""

    name = "e2e_verification_interrupted"
    level = logging.WARNING
    peer: str
    """The peer's full JID."""
    count: int
    """Interrupted comparisons with this account since one succeeded, this one included."""

    def __str__(self) -> str:
        return (
            f"The comparison of short strings with {self.peer} ended before both of you had answered; interrupted so far:"
            f" {self.count}. Most likely a connection was lost, or somebody took too long. An attacker in the middle, who sees"
            " that the strings differ, would interrupt it to try again. If it goes on, compare fingerprints, or take another"
            " path."
        )


@dataclass(frozen=True)
class SendFailed(E2EEvent):
    """A stanza was not sent, neither encrypted nor in plaintext; or it was, and the peer has not acknowledged it in time."""

    name = "e2e_send_failed"
    level = logging.WARNING
    stanza: StanzaBase
    error: E2EError

    def __str__(self) -> str:
        return f"Not sent to {self.stanza['to']}: {explain(self.error)}"


@dataclass(frozen=True)
class PlaintextEvent(E2EEvent):
    """A stanza came in plaintext from somebody from whom encryption was expected."""

    level = logging.WARNING
    stanza: StanzaBase
    error: E2EError

    def __str__(self) -> str:
        return f"In plaintext from {self.stanza['from']}: {explain(self.error)}"


@dataclass(frozen=True)
class PlaintextReceived(PlaintextEvent):
    """It was delivered: the policy ``prefer`` allows it."""

    name = "e2e_plaintext_received"


@dataclass(frozen=True)
class PlaintextRefused(PlaintextEvent):
    """It was not delivered."""

    name = "e2e_plaintext_refused"


@dataclass(frozen=True)
class PresenceMissing(E2EEvent):
    """Something goes to a bare JID, and the program sees nobody, as it has sent no presence of its own."""

    name = "e2e_presence_missing"
    level = logging.WARNING
    peer: str
    """The bare JID."""

    @property
    def told_once(self) -> Hashable:
        """The program's omission."""
        return PresenceMissing

    def __str__(self) -> str:
        return (
            f"No device of {self.peer} is known, since this program has sent no presence of its own: servers tell who is online"
            " only to those who are. Until it does (xmpp.send_presence()), whatever goes to a bare JID goes as to somebody who"
            " is offline: in plaintext, or not at all, as the policy says."
        )


@dataclass(frozen=True)
class SessionRefused(E2EEvent):
    """A peer offered a session, and the secret that should prove their key cannot be used: it may be locked."""

    name = "e2e_session_refused"
    level = logging.WARNING
    peer: str
    """The peer's bare JID."""
    error: E2EError

    def __str__(self) -> str:
        return f"Refused a session from {self.peer}: {explain(self.error)}"


@dataclass(frozen=True)
class StoreFailed(E2EEvent):
    """The store failed, and no other event tells of it."""

    name = "e2e_store_failed"
    level = logging.ERROR
    error: E2EError

    def __str__(self) -> str:
        return explain(self.error)


@dataclass(frozen=True)
class TrustFileFailed(E2EEvent):
    """The trust file was changed and is wrong now; what it said before stays in force."""

    name = "e2e_trust_file_failed"
    level = logging.ERROR
    error: E2EError

    def __str__(self) -> str:
        return explain(self.error)


RENAMED = {
    "e2e_session_start": SessionOpened.name,
    "e2e_session_end": SessionClosed.name,
    "e2e_key_held": VerificationRequired.name,
    "e2e_verify_request": VerificationRequested.name,
    "e2e_verify_result": PeerSasResult.name,
    "e2e_verify_cut": VerificationInterrupted.name,
}
"""Former names of events."""

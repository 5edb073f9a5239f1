"""The events of a session, for its host. No event carries key material, and none carries words for people."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from xmpp_e2e.authenticate.base import Computation, Prompt
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import E2EError
from xmpp_e2e.key_decision import KeyDecision
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.types import Assurance, Fingerprint


@dataclass(frozen=True)
class SessionOffered:
    """The peer offers a session that we could accept: call ``accept_offer()`` or ``close()``."""

    methods: tuple[str, ...]
    """The authentication methods that the peer allows."""


@dataclass(frozen=True)
class TransportAgreed:
    """Both sides agreed: set up the bytestream, then call ``bytestream_ready()``."""

    sid: str
    """The IBB session id (XEP-0047)."""
    block_size: int
    """At most this many raw bytes a block."""


@dataclass(frozen=True)
class TLSEstablished:
    """TLS is up and the certificate is the one that was signalled."""

    protocol: str
    """``TLSv1.3``."""
    cipher: str
    """The cipher suite, as OpenSSL names it."""
    group: str
    """The key exchange, as OpenSSL names it: ``X25519MLKEM768`` is safe against quantum computers too."""
    fingerprint: Fingerprint
    """The peer's key."""


@dataclass(frozen=True)
class _AboutKey:
    assessment: KeyDecision
    """The decision about the key, and the facts behind it."""

    @property
    def status(self) -> str:
        """``first``, ``known``, ``new``, ``changed`` or ``blocked``."""
        return self.assessment.status.value

    @property
    def fingerprint(self) -> Fingerprint:
        """The key that the peer shows now."""
        return self.assessment.fingerprint

    @property
    def decision(self) -> str:
        """``accept``, ``hold`` (until the user pins the key or a proof succeeds) or ``reject``."""
        return self.assessment.decision.value


@dataclass(frozen=True)
class KeyChanged(_AboutKey):
    """The peer shows a key that is new, though we know others, or that the user has blocked."""

    known: tuple[Fingerprint, ...]
    """The peer's keys that we know."""


@dataclass(frozen=True)
class PromptRequested:
    """An authenticator asks our side something: call ``answer_prompt()``. Until then it waits, for minutes if it must."""

    prompt: Prompt
    form: SasForm = SasForm.DECIMAL
    """The form in which strings are shown, on both sides."""


@dataclass(frozen=True)
class ComputationRequested:
    """An authenticator needs a computation of some tenths of a second: call ``answer_prompt()`` with its result."""

    computation: Computation


@dataclass(frozen=True)
class KeyVerified:
    """An authenticator has proved the peer's key, perhaps in a session that was open already: it is worth this much."""

    method: str
    assurance: Assurance
    fingerprint: Fingerprint


@dataclass(frozen=True)
class KeyDoubted:
    """A user has said that the short strings differ, here or there: whatever verified this key before, it counts no more."""

    fingerprint: Fingerprint
    """The peer's key."""


@dataclass(frozen=True)
class KeyRotated:
    """The peer has given up a verified key, and another takes its place, by the word of both: it is verified from now on.

    The session goes by that already. If it is one under the old key, it ends by a farewell.
    """

    old: Fingerprint
    new: Fingerprint


@dataclass(frozen=True)
class VerificationDeclined:
    """The peer does not take part in a method that we asked for."""

    method: str


@dataclass(frozen=True)
class VerificationRequested:
    """The peer wants a proof beyond what the hellos need."""

    method: str
    form: str
    """Of ``sas``: ``decimal``, ``emoji`` or ``words``."""
    started: bool
    """True if it runs already, as the config lets it. Otherwise it waits, for minutes, for ``request_verification()`` or
    ``decline_verification()``."""


@dataclass(frozen=True)
class PeerSasResult:
    """The peer's user has said whether the strings are the same. Information for our user, whose own answer counts."""

    method: str
    match: bool


@dataclass(frozen=True)
class SasInterrupted:
    """A comparison ended before both users had said whether the strings are the same. A man in the middle would cut it off,
    having seen that they differ."""

    method: str


@dataclass(frozen=True)
class VerificationRequired(_AboutKey):
    """Nothing flows until the user pins the peer's key, or something proves it: call ``request_verification()``."""

    methods: tuple[str, ...]
    """Methods with a secret that the peer has, or can ask its user for."""


@dataclass(frozen=True)
class SessionOpened:
    """Both sides are done: stanzas flow."""

    assurance: Assurance
    fingerprint: Fingerprint
    """The peer's key."""


@dataclass(frozen=True)
class StanzaReceived:
    """The peer sent a stanza; its from and to are those of the session, whatever it claimed."""

    stanza: Element


@dataclass(frozen=True)
class StanzasAcknowledged:
    """Stanzas of ours have arrived, in this session or in an earlier one with the same two keys."""

    stanzas: tuple[SentStanza, ...]
    """As ``send_stanza()`` returned them; those that were given up have no ``tag`` any more."""
    by_peer: bool
    """False if the peer cannot acknowledge: then it is only known that they have left."""


@dataclass(frozen=True)
class SessionSuperseded:
    """This session takes the place of another one with the same two keys, which is to be ended without a word."""

    sid: str
    """The other one's Jingle sid."""


@dataclass(frozen=True)
class SessionClosed:
    """An open session is over."""

    clean: bool
    """True if the peer's own close arrived inside TLS. If it did not, stanzas may be left that were not acknowledged."""
    error: E2EError | None
    """Why, if it was not clean."""


@dataclass(frozen=True)
class SessionFailed:
    """A session ended before it was open. Nothing was delivered here, and nothing was sent in plaintext. What we sent early may
    have been delivered there, if the peer was done."""

    error: E2EError


Event = (
    SessionOffered
    | TransportAgreed
    | TLSEstablished
    | KeyChanged
    | PromptRequested
    | ComputationRequested
    | KeyVerified
    | KeyDoubted
    | KeyRotated
    | VerificationDeclined
    | VerificationRequested
    | PeerSasResult
    | SasInterrupted
    | VerificationRequired
    | SessionOpened
    | StanzaReceived
    | StanzasAcknowledged
    | SessionSuperseded
    | SessionClosed
    | SessionFailed
)

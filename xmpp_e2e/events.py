"""What a session tells its host.

A host names its own events mechanically after these: ``SessionStart`` becomes ``e2e_session_start``. No event carries key
material.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from xmpp_e2e.authenticate.base import Computation, Question
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Assurance, Fingerprint


@dataclass(frozen=True)
class SessionOffered:
    """The peer offers a session that we could accept: call ``accept()`` or ``close()``."""

    methods: tuple[str, ...]
    """The authentication methods that the peer allows."""


@dataclass(frozen=True)
class TransportAgreed:
    """Both sides agreed: set up the bytestream, then call ``transport_ready()``."""

    sid: str
    """The IBB session id (XEP-0047)."""
    block_size: int
    """At most this many raw bytes a block."""


@dataclass(frozen=True)
class Secured:
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
class KeyChanged:
    """The peer shows a key that we have not seen, though we remember others of his."""

    kind: str
    """``new`` (none of his other keys is verified) or ``changed`` (one is: act!) or ``blocked``."""
    fingerprint: Fingerprint
    """The key that he shows now."""
    remembered: tuple[Fingerprint, ...]
    """The keys that we know as his."""
    decision: str
    """``accept``, ``hold`` (until he is pinned or proved) or ``reject``."""
    text: str
    """The same for a person, with the command that resolves it."""


@dataclass(frozen=True)
class Asked:
    """An authenticator asks our side something: call ``answer()``. Until then it waits, for minutes if it must."""

    question: Question
    form: Form = Form.DECIMAL
    """How strings are shown, on both sides."""


@dataclass(frozen=True)
class Computing:
    """An authenticator has something to compute that takes tenths of a second: call ``answer()`` with what it returns."""

    computation: Computation


@dataclass(frozen=True)
class Proved:
    """An authenticator has proved the peer's key, perhaps in a session that was open already: it is worth this much."""

    method: str
    assurance: Assurance
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Declined:
    """The peer does not take part in a method that we asked for."""

    method: str


@dataclass(frozen=True)
class VerifyRequest:
    """The peer wants a proof beyond what the hellos need."""

    method: str
    form: str
    """Of ``sas``: ``decimal``, ``emoji`` or ``words``."""
    begun: bool
    """Does it run, since the terms let it? Else call ``request()`` or ``decline()``: it waits for that, for minutes."""


@dataclass(frozen=True)
class VerifyResult:
    """What the peer's user says of the strings. It is for the user to know: his own answer counts."""

    method: str
    match: bool


@dataclass(frozen=True)
class VerifyCut:
    """The strings were shown, and it ended before both users had said whether they are the same. Whoever is in the middle, and
    sees that they differ, would do that."""

    method: str


@dataclass(frozen=True)
class KeyHeld:
    """Nothing flows until the user pins the peer's key, or something proves it: call ``request()``."""

    kind: str
    """``first``, ``known``, ``new`` or ``changed``, as for KeyChanged."""
    fingerprint: Fingerprint
    methods: tuple[str, ...]
    """Keyed methods for which the peer has a secret, or can ask its user."""
    text: str
    """Why, for a person, with the command that resolves it."""


@dataclass(frozen=True)
class SessionStart:
    """Both sides are done: stanzas flow."""

    assurance: Assurance
    fingerprint: Fingerprint
    """The peer's key."""


@dataclass(frozen=True)
class StanzaReceived:
    """The peer sent a stanza; its from and to are those of the session, whatever it claimed."""

    stanza: Element


@dataclass(frozen=True)
class SessionEnd:
    """An open session is over."""

    clean: bool
    """Did the peer's own farewell arrive inside TLS? If not, what was sent last may be lost."""
    error: E2EError | None
    """Why, if it was not clean."""


@dataclass(frozen=True)
class SessionFailed:
    """A session did not come to be. Nothing was delivered here, and nothing was sent in clear; what we sent early may have been
    delivered there, if the peer was done."""

    error: E2EError


Event = (
    SessionOffered
    | TransportAgreed
    | Secured
    | KeyChanged
    | Asked
    | Computing
    | Proved
    | Declined
    | VerifyRequest
    | VerifyResult
    | VerifyCut
    | KeyHeld
    | SessionStart
    | StanzaReceived
    | SessionEnd
    | SessionFailed
)

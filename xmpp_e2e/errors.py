"""The errors of the core: what happened (``str(error)``), and a code by which a host can explain it. None carries a secret."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmpp_e2e.key_decision import KeyDecision


class Code(enum.Enum):
    """The kinds of error, by which a host chooses its words."""

    ERROR = "error"
    LOCAL_ERROR = "local-error"
    SEND_BUFFER_FULL = "send-buffer-full"
    INVALID_STANZA = "invalid-stanza"
    """XML 1.0 cannot carry it."""
    STANZA_TOO_LARGE = "stanza-too-large"
    """It is larger than the inner stream carries."""
    WEAK_KEY = "weak-key"
    """A pre-shared key is too short."""
    PEER_INCOMPATIBLE = "peer-incompatible"
    """The peer signals other applications."""
    UNSUPPORTED_TRANSPORT = "unsupported-transport"
    """The peer offers no bytestream that we speak."""
    SECURITY_STRIPPED = "security-stripped"
    """The peer's half of the negotiation lacks our <security/>. The session ends; it never goes on in plaintext."""
    NO_COMMON_METHOD = "no-common-method"
    """The authentication methods that both sides allow do not overlap."""
    SESSION_CANCELLED = "session-cancelled"
    PEER_REFUSED = "peer-refused"
    PEER_BUSY = "peer-busy"
    """As PEER_REFUSED, but not for good."""
    PEER_MISBEHAVED = "peer-misbehaved"
    JINGLE_ERROR = "jingle-error"
    STREAM_ERROR = "stream-error"
    BYTESTREAM_FAILED = "bytestream-failed"
    BYTESTREAM_VIOLATION = "bytestream-violation"
    TLS_FAILED = "tls-failed"
    FINGERPRINT_MISMATCH = "fingerprint-mismatch"
    """The certificate in the handshake is not the one whose fingerprint was signalled."""
    REFLECTED_KEY = "reflected-key"
    """The peer shows our own key."""
    AUTHENTICATION_FAILED = "authentication-failed"
    PROOF_FAILED = "proof-failed"
    """The peer does not know the secret, or somebody is in between. One code for all causes: there is one on the wire."""
    SAS_MISMATCH = "sas-mismatch"
    """A user says that the strings are not the same."""
    NEGOTIATION_ALTERED = "negotiation-altered"
    """The two sides did not see the same negotiation."""
    METHOD_NOT_CONFIGURED = "method-not-configured"
    """One side requires a proof for which the other has nothing."""
    UNTRUSTED_KEY = "untrusted-key"
    TIMEOUT = "timeout"
    UNCLEAN_CLOSE = "unclean-close"


def quoted(text: str) -> str:
    """Return a stranger's text in a form that fits a message: short, and without control characters."""
    return repr(text[:40])


class E2EError(Exception):
    """The root of every error of this library."""

    code: Code = Code.ERROR
    """The kind of error: that of the class, unless it is made with another."""
    jingle_reason: str = "general-error"
    """The XEP-0166 §7.4 reason with which a session ends over this error."""

    def __init__(self, message: str = "", code: Code | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class LocalError(E2EError):
    """Our own side asked for something that cannot be done now. The session is unharmed."""

    code = Code.LOCAL_ERROR


class SendBufferFull(LocalError):
    """Too much waits to be sent."""

    code = Code.SEND_BUFFER_FULL


class InvalidStanza(LocalError):
    """A stanza cannot be sent as it is: XML 1.0 cannot carry it, or it is too large."""

    code = Code.INVALID_STANZA


class PeerIncompatible(E2EError):
    """The peer is honest, as far as we can tell, but shares no common ground with us."""

    code = Code.PEER_INCOMPATIBLE

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message, code)
        self.jingle_reason = _INCOMPATIBLE.get(self.code, "unsupported-applications")


_INCOMPATIBLE = {
    Code.UNSUPPORTED_TRANSPORT: "unsupported-transports",
    Code.SECURITY_STRIPPED: "security-error",
    Code.NO_COMMON_METHOD: "security-error",
}


class SessionCancelled(E2EError):
    """Our own side ended the session before it was open."""

    code = Code.SESSION_CANCELLED
    jingle_reason = "cancel"


class PeerRefused(E2EError):
    """The peer, or somebody on the path, said no."""

    code = Code.PEER_REFUSED
    jingle_reason = "cancel"


class PeerBusy(PeerRefused):
    """The peer, or a server on the path, cannot serve us now: it may, when it is tried again (RFC 6120 §8.3.2: ``wait``)."""

    code = Code.PEER_BUSY


class PeerMisbehaved(E2EError):
    """The peer, or somebody on the path, broke the protocol."""

    code = Code.PEER_MISBEHAVED
    jingle_reason = "security-error"


class JingleError(PeerMisbehaved):
    """A Jingle stanza that must be answered with an error (XEP-0166 §6, §10)."""

    code = Code.JINGLE_ERROR

    def __init__(self, message: str, condition: str, jingle_condition: str | None = None, *, type: str = "cancel") -> None:
        super().__init__(message)
        self.condition = condition
        """The stanza error condition (RFC 6120 §8.3.3)."""
        self.jingle_condition = jingle_condition
        """The Jingle condition beside it (XEP-0166 §10), or None."""
        self.type = type
        """The stanza error type (RFC 6120 §8.3.2)."""


class BytestreamFailed(E2EError):
    """The bytestream broke."""

    code = Code.BYTESTREAM_FAILED
    jingle_reason = "failed-transport"
    may_pass = False
    """Whether another one may do: a server on the path said so (RFC 6120 §8.3.2: ``wait``)."""


class BytestreamViolation(BytestreamFailed):
    """A bytestream stanza out of order, too large or malformed (XEP-0047 §2.2)."""

    code = Code.BYTESTREAM_VIOLATION

    def __init__(self, message: str, condition: str = "unexpected-request") -> None:
        super().__init__(message)
        self.condition = condition
        """The stanza error condition with which the block is answered."""


class TLSFailed(PeerMisbehaved):
    """The TLS handshake failed, or a record did not authenticate."""

    code = Code.TLS_FAILED


class StreamError(PeerMisbehaved):
    """The inner XML stream broke a rule (RFC 6120 §4.9.3)."""

    code = Code.STREAM_ERROR

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message)
        self.condition = condition
        """The stream error condition (RFC 6120 §4.9.3)."""


class AuthenticationFailed(E2EError):
    """An authenticator did not end with a proof. The wire never tells why."""

    code = Code.AUTHENTICATION_FAILED
    jingle_reason = "security-error"


class UntrustedKey(AuthenticationFailed):
    """The key is not good enough for the trust model, or contradicts the keys that are known."""

    code = Code.UNTRUSTED_KEY

    def __init__(self, reason: KeyDecision | str, peer: str = "") -> None:
        """``reason``: the decision about the key of ``peer``, or another one in words."""
        self.assessment = None if isinstance(reason, str) else reason
        """The decision about the key, if that is the reason."""
        self.peer = peer
        """The bare JID whose key it is."""
        super().__init__(reason if isinstance(reason, str) else f"the key of {peer} is not accepted ({reason.status.value})")


class Timeout(E2EError):
    """The other side did not answer in time."""

    code = Code.TIMEOUT
    jingle_reason = "timeout"


class UncleanClose(E2EError):
    """The stream ended without the peer's farewell inside TLS."""

    code = Code.UNCLEAN_CLOSE
    jingle_reason = "connectivity-error"

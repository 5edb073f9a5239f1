"""What can go wrong, who is at fault, and what a person can do about it.

Every error says four things: what happened (``str(error)``), the likely innocent cause, the attack that it might be, and
the way out; ``explain()`` puts them together. No error carries a secret.
"""

from __future__ import annotations

from typing import ClassVar


class E2EError(Exception):
    """The root of every error of this library."""

    jingle_reason: ClassVar[str] = "general-error"
    """The XEP-0166 §7.4 reason with which a session ends over this error."""
    likely: ClassVar[str] = ""
    """The innocent cause that is most likely."""
    attack: ClassVar[str] = ""
    """The attack that it might be, if any."""
    remedy: ClassVar[str] = ""
    """What helps."""

    def explain(self) -> str:
        """The whole story for a person, one sentence or two of each kind, separated by line breaks."""
        return "\n".join(part for part in (str(self), self.likely, self.attack, self.remedy) if part)


class LocalError(E2EError):
    """Our own side asked for something that cannot be done now. The session is unharmed."""


class NoRoom(LocalError):
    """Too much waits to be sent."""

    likely = "More was written than the path to the peer carries."
    remedy = "Wait until some of it has been taken, then send again."


class StanzaTooLarge(LocalError):
    """A stanza is larger than the inner stream carries."""

    likely = "A large body or an embedded picture was put into one stanza."
    remedy = "Send it in parts, or as a file."


class UnsendableStanza(LocalError):
    """A stanza holds something that XML 1.0 cannot carry."""

    likely = "A control character, or half of a surrogate pair, was put into a text."
    remedy = "Remove the character that the message names."


class PeerIncompatible(E2EError):
    """The peer is honest, as far as we can tell, but shares no common ground with us."""

    jingle_reason = "unsupported-applications"
    likely = "The peer runs another version of this software, or a policy that excludes ours."
    attack = "A server that edits the negotiation can cause this too; it gains nothing but the failure."
    remedy = "Compare versions and policies on both sides."


class UnsupportedTransport(PeerIncompatible):
    """The peer offers no bytestream that we speak."""

    jingle_reason = "unsupported-transports"


class SecurityStripped(PeerIncompatible):
    """The peer's half of the negotiation lacks our <security/>. The session ends; it never goes on in clear."""

    jingle_reason = "security-error"
    likely = "The peer's client speaks Jingle XML streams, but not with this encryption."
    attack = "A server that strips <security/> to keep you from encrypting looks exactly like this."


class NoCommonMethod(PeerIncompatible):
    """The authentication methods that both sides allow do not overlap."""

    jingle_reason = "security-error"


class GivenUp(E2EError):
    """Our own side ended the session before it was open."""

    jingle_reason = "cancel"
    remedy = "Nothing was sent in clear. What was written just before may have arrived, inside, all the same."


class PeerRefused(E2EError):
    """The peer, or somebody on the path, said no."""

    jingle_reason = "cancel"
    likely = "The peer is offline, does not run this software at that address, or does not accept sessions from you."
    attack = "A server can forge this answer to keep you from encrypting."
    remedy = "Nothing was sent in clear. Ask the peer by another way whether he is online and accepts you (accept_from)."


class PeerMisbehaved(E2EError):
    """The peer, or somebody on the path, broke the protocol."""

    jingle_reason = "security-error"
    likely = "A bug in the peer's software."
    attack = "Somebody on the path may be altering the conversation."
    remedy = "Try again; if it persists, compare fingerprints with the peer by another way and report the bug."


class JingleError(PeerMisbehaved):
    """A Jingle stanza that must be answered with an error (XEP-0166 §6, §10)."""

    def __init__(self, message: str, condition: str, jingle_condition: str | None = None, *, type: str = "cancel") -> None:
        super().__init__(message)
        self.condition = condition
        """The stanza error condition (RFC 6120 §8.3.3)."""
        self.jingle_condition = jingle_condition
        """The Jingle condition beside it (XEP-0166 §10), or None."""
        self.type = type
        """The stanza error type (RFC 6120 §8.3.2)."""


class TransportFailed(E2EError):
    """The bytestream broke."""

    jingle_reason = "failed-transport"
    likely = "A connection was lost, or a server limits what it carries."
    attack = "A server can cut a stream at any time; what it cannot do is make a cut look like an end."
    remedy = "Try again."


class TransportMisused(TransportFailed):
    """A bytestream stanza out of order, too large or malformed (XEP-0047 §2.2)."""

    attack = "Blocks replayed, reordered, dropped or altered on the path look like this."

    def __init__(self, message: str, condition: str = "unexpected-request") -> None:
        super().__init__(message)
        self.condition = condition
        """The stanza error condition with which the block is answered."""


class TLSFailed(PeerMisbehaved):
    """The TLS handshake failed, or a record did not authenticate."""

    likely = "The peer's TLS library is older than TLS 1.3, or the bytestream lost a block."
    attack = "Bytes altered, replayed or downgraded on the path look exactly like this."


class FingerprintMismatch(TLSFailed):
    """The certificate in the handshake is not the one whose fingerprint was signalled."""

    likely = "The peer changed its key in the middle of a negotiation (rare)."
    attack = "Somebody on the path swapped the fingerprint in the signalling, or answered with a certificate of his own."
    remedy = "Nothing was sent. Compare fingerprints with the peer by another way before you try again."


class ReflectedKey(TLSFailed):
    """The peer shows our own key."""

    likely = "One identity was copied to two devices; every device needs its own (`xmpp-e2e init`)."
    attack = "Somebody is reflecting our own bytes to us."
    remedy = "Give each device an identity of its own."


class StreamError(PeerMisbehaved):
    """The inner XML stream broke a rule (RFC 6120 §4.9.3)."""

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message)
        self.condition = condition
        """The stream error condition (RFC 6120 §4.9.3)."""


class AuthenticationFailed(E2EError):
    """An authenticator did not end with a proof. The wire never tells why."""

    jingle_reason = "security-error"
    likely = "The peer refuses our key, expects a method that is not set up here, or his program could not go on."
    attack = "Somebody in the middle, whose key the peer refuses in place of ours, causes exactly this."
    remedy = (
        "Nothing was sent in clear. What was written just before may have arrived, inside, all the same."
        " Ask the peer by another way, and compare fingerprints."
    )


class UntrustedKey(AuthenticationFailed):
    """The key is not good enough for the trust model, or contradicts what is remembered.

    Its message is the judge's, which says cause, attack and way out for this very peer and key.
    """

    likely = attack = remedy = ""


class TimedOut(E2EError):
    """The other side did not answer in time."""

    jingle_reason = "timeout"
    likely = "The peer's connection is slow or gone, or a person there has not answered yet."
    attack = "A server can hold back stanzas; it learns nothing by it."
    remedy = "Try again."


class Truncated(E2EError):
    """The stream ended without the peer's farewell inside TLS."""

    jingle_reason = "connectivity-error"
    likely = "A connection was lost, or the peer's program was killed."
    attack = "A server can cut a session at any time; what was sent last may not have arrived."
    remedy = "Messages without an answer may have been lost; ask the peer, or send them again."

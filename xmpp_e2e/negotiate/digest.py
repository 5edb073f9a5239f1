"""The digest over a negotiation, the common methods, and the choice between two crossed offers (XEP-0166 §7.2.16).

There is no XML here: the values that a server must not alter are left, and its white space is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xmpp_e2e.encoding import PROTOCOL, labelled_hash, length_prefixed
from xmpp_e2e.errors import Code, PeerIncompatible
from xmpp_e2e.negotiate.jingle import HASH, Jingle


@dataclass(frozen=True)
class SignalledHalf:
    """The values of one side's signalling that must not be altered on the way: one half of a negotiation.

    Left out on purpose: the flight (TLS covers it), transport, creator and senders (nothing depends on them).
    """

    version: str
    sid: str
    from_: str
    """The full JID of the iq's sender, exactly as their server stamped it."""
    to: str
    """The full JID of the iq's recipient."""
    content_name: str
    application: str
    """The namespace of the <description/>."""
    hash: str
    """The hash function of the fingerprint, as XEP-0300 names it."""
    fingerprint: bytes
    """32 bytes: the hash of the certificate in DER."""
    methods: tuple[str, ...]
    """In document order."""
    alpn: str
    """What TLS will announce (RFC 7301)."""
    nonce: bytes = field(repr=False)
    """16 bytes."""
    assertion: str = field(default="", repr=False)
    """As text; empty if there is none."""

    def encode(self) -> bytes:
        """The twelve fields, in this order, each after its length."""
        return length_prefixed(
            self.version.encode(),
            self.sid.encode(),
            self.from_.encode(),
            self.to.encode(),
            self.content_name.encode(),
            self.application.encode(),
            self.hash.encode(),
            self.fingerprint,
            ",".join(self.methods).encode(),
            self.alpn.encode(),
            self.nonce,
            self.assertion.encode(),
        )


def signalled_half(jingle: Jingle, from_: str, to: str) -> SignalledHalf:
    """Return what ``jingle`` signals in an iq between these full JIDs; PeerIncompatible if there is nothing of ours in it."""
    content = jingle.secured
    # no test fails without the second part, which is for mypy: `Jingle.secured` has <security/>
    if content is None or content.security is None:
        raise PeerIncompatible(f"{from_} signalled no XML stream with our <security/>", Code.SECURITY_STRIPPED)
    security = content.security
    return SignalledHalf(
        version=security.version,
        sid=jingle.sid,
        from_=from_,
        to=to,
        content_name=content.name,
        application=content.application or "",  # no test fails without `""`, which is for mypy: it is an XML stream
        hash=HASH,
        fingerprint=security.fingerprint,
        methods=security.methods,
        alpn=PROTOCOL,
        nonce=security.nonce,
        assertion=security.assertion or "",
    )


def negotiation_digest(initiate: SignalledHalf, accept: SignalledHalf) -> bytes:
    """The digest over both halves, 32 bytes: the two sides get the same, or somebody edited a half on the way."""
    return labelled_hash("neg", initiate.encode(), accept.encode())


def common_methods(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods that both sides allow, in our order; PeerIncompatible if there is none."""
    common = tuple(method for method in ours if method in theirs)
    if not common:
        raise PeerIncompatible(
            f"no authentication method is common: we allow {_spell(ours)}; the peer, {_spell(theirs)}", Code.NO_COMMON_METHOD
        )
    return common


def wins_tie_break(own_sid: str, peer_sid: str) -> bool:
    """Return whether our offer stands when two crossed: then answer theirs with conflict, else drop ours.

    The lower sid wins, compared as bytes of UTF-8. Of equal sids each side lets its own stand, so neither offer comes
    about: 128 random bits do not meet by chance, somebody copied ours; and two sessions under one key (own JID, peer,
    sid) could not be told apart.
    """
    return own_sid.encode() <= peer_sid.encode()


def _spell(methods: tuple[str, ...]) -> str:
    return ", ".join(methods) or "none at all"

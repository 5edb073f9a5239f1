"""What the host adds to the errors of the core: reasons why a stanza was not sent, or not delivered."""

from __future__ import annotations

from xmpp_e2e.errors import E2EError, LocalError, UntrustedKey


class PeerWithoutE2E(E2EError):
    """The peer is there and does not advertise end-to-end encryption."""

    jingle_reason = "unsupported-applications"
    likely = "The peer's client does not have this encryption, or an older version of it."
    attack = "A server that strips the feature to keep you from encrypting looks exactly like this."
    remedy = "Nothing was sent. Ask the peer by another way; `allow_plaintext(peer)` permits plain messages under `prefer`."


class PeerOffline(E2EError):
    """No resource of the peer could be reached."""

    jingle_reason = "gone"
    likely = "The peer is offline, or has not authorised you to see his presence (a full JID works without)."
    attack = "A server that hides the peer to keep you from encrypting looks exactly like this."
    remedy = "Nothing was sent. Both must be online: end-to-end streams do not store messages for later."


class RouteUnknown(E2EError):
    """It could not be found out whether the peer has end-to-end encryption."""

    likely = "A bug in this software or in another plugin; the log says more."
    remedy = "Nothing was sent. Try again, and report it if it persists."


class StoreLocked(LocalError):
    """Our own key was asked for before the store was opened."""

    likely = "A passphrase takes a fraction of a second to open the store; a keyring may wait for its user."
    remedy = "Wait for it first: await e2e.unlocked()."


class HoldQueueFull(E2EError):
    """Too much waits for one peer."""

    likely = "The session with the peer takes long to open and much was written meanwhile."
    remedy = "Wait for e2e_session_start before you send more."


class TooManySessions(E2EError):
    """We have opened as many sessions as we may."""

    jingle_reason = "busy"
    likely = "A program writes to more people at once than it was set up for."
    attack = "Many strangers may be making it answer them."
    remedy = "Close sessions that are not needed, or raise `sessions` in register_plugin('e2e', {…})."


class HeldTooLong(E2EError):
    """A stanza waited longer than its deadline."""

    jingle_reason = "timeout"
    likely = "The peer's connection is slow, or a person has not answered yet."
    attack = "A server can hold back stanzas; it learns nothing by it."
    remedy = "Nothing was sent. Try again."


class SessionGone(E2EError):
    """The session that a stanza belonged to has ended."""

    likely = "The peer or you went offline in the middle."
    attack = "A server can cut a session at any time; it cannot make us answer outside."
    remedy = "Nothing was sent in clear. Start again with the request."


class PlaintextRefused(E2EError):
    """A stanza came in clear from a peer from whom that is not accepted."""

    likely = "The peer wrote from a client without this encryption."
    attack = "A server that forges messages in his name would have to send them like this."
    remedy = "Ask the peer to use a client with it, or relax the policy for him: policy `prefer`."


class Unproved(UntrustedKey):
    """A key is held until it is proved, and the peer takes part in nothing that could."""

    likely = "His program has nobody to ask: no `sas`, no `password` in its settings, and no password or key for you."
    attack = "Somebody who shows a key of his own would rather not have it compared."
    remedy = "Nothing was sent. Compare fingerprints with him by another way and pin his key, or set up a key or a password."

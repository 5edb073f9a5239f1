"""The plugin's errors: why it cannot start, and why a stanza was not sent, or not delivered."""

from __future__ import annotations

import enum

from xmpp_e2e.errors import BytestreamFailed, Code, E2EError, LocalError, Timeout, TLSFailed, UntrustedKey


class ConfigError(LocalError):
    """The plugin's configuration is wrong."""

    remedy = "Correct the value that the message names in register_plugin('e2e', {…})."


class SlixmppUnsupported(LocalError):
    """The slixmpp that Python has loaded is not one that the plugin works with."""

    likely = "An older slixmpp is installed, or another package has overwritten its folder with a copy of its own."
    remedy = "Install it again: pip install --force-reinstall 'slixmpp>=1.17,<2', in an environment without that package."


class PeerWithoutE2E(E2EError):
    """The peer is online and does not advertise end-to-end encryption."""

    likely = "The peer's client does not have this encryption, or an older version of it."
    attack = "A server that strips the feature to keep you from encrypting looks exactly like this."
    remedy = (
        "Nothing was sent. Ask the peer by another way; `set_policy(peer, 'opportunistic')` reaches their devices without it in"
        " plaintext, and `allow_plaintext(peer)` permits that under `prefer` while no device has it."
    )


class PeerOffline(E2EError):
    """No resource of the peer could be reached."""

    likely = "The peer is offline, or has not authorised you to see their presence (a full JID works without)."
    attack = "A server that hides the peer to keep you from encrypting looks exactly like this."
    remedy = "Nothing was sent. Both must be online: end-to-end streams do not store messages for later."


class RefusedByPolicy(E2EError):
    """Our own policy for the peer is ``off``, so no session is opened with them."""

    likely = "You set it, or another program with the same store; or a rule of the trust file does, or `server-trusted`."
    remedy = "Nothing was sent. Set another policy: `set_policy(peer, 'prefer')`, or correct the rule in the trust file."


class NotSentReason(enum.StrEnum):
    """Why a stanza was not sent."""

    ROUTE_UNKNOWN = "route-unknown"
    """The plugin failed to find out whether the peer has end-to-end encryption."""
    QUEUE_FULL = "queue-full"
    """Too much waits for one peer, or in all."""
    QUEUED_TOO_LONG = "queued-too-long"
    """A stanza waited longer than its deadline."""
    TOO_MANY_SESSIONS = "too-many-sessions"
    """We have opened as many sessions as the limits allow."""
    UNACKNOWLEDGED = "unacknowledged"
    """It was sent, and the peer has not acknowledged it in time: it may have arrived."""
    DISCONNECTED = "disconnected"
    """The program has disconnected, and does not wait any longer."""
    CANCELLED = "cancelled"
    """The program has withdrawn it."""
    SESSION_CLOSED = "session-closed"
    """The session that a stanza belonged to has ended."""
    SESSION_OUTRANKED = "session-outranked"
    """A session of higher assurance, or an older one, is open with the same full JID under another key."""
    SERVER_WOULD_READ = "server-would-read"
    """A server or a room would have to read it, and the policy for whoever it is for is ``require``."""
    ROOM_NOT_ENTERED = "room-not-entered"
    """The account only says that it is a room, the policy for it is ``require``, and rooms alone would not take it."""


class NotSent(E2EError):
    """A stanza was not sent, for a reason on our own side, or its session ended. Nothing was sent in plaintext."""

    def __init__(self, message: str, reason: NotSentReason) -> None:
        super().__init__(message)
        self.reason = reason


def end_of_session(peer: str, error: E2EError | None) -> E2EError:
    """Return why what belonged to a session is over: what made the session fail, if it did."""
    return error or NotSent(f"the session with {peer} has ended", NotSentReason.SESSION_CLOSED)


_PATH = frozenset({Code.BYTESTREAM_FAILED, Code.BYTESTREAM_VIOLATION, Code.UNCLEAN_CLOSE})
"""What a lost path looks like: a block that was lost on the way shows as a violation."""
_PASSING = _PATH | {Code.SESSION_CANCELLED, Code.PEER_BUSY}
_PASSING_IF_OPEN = _PASSING | {Code.PEER_REFUSED, Code.TIMEOUT, Code.AUTHENTICATION_FAILED}
"""What else ends an open session, and not the next one: a peer that gives up does not say why."""


def is_passing(error: E2EError | None, *, opened: bool, hellos_checked: bool = True) -> bool:
    """Return whether a session ended over what may be over with the next one: its path, not trust, order or memory. A peer who
    refuses a session that is not open yet has decided; so has one who waits once the hellos are checked (``is_unanswered``)."""
    if error is None or isinstance(error, NotSent) or is_unanswered(error, hellos_checked=hellos_checked):
        return True
    return error.code in (_PASSING_IF_OPEN if opened else _PASSING)


def is_unanswered(error: E2EError, *, hellos_checked: bool) -> bool:
    """Return whether the peer's program said nothing: it is suspended, or cut off, and nobody was asked anything."""
    return error.code is Code.TIMEOUT and not hellos_checked


def may_come_later(error: E2EError) -> bool:
    """Return whether a session that came not to be ``is_for_want_of_path`` may come to be later by itself."""
    return error.code in _PATH or error.code is Code.TIMEOUT


_PEER = frozenset({Code.PEER_REFUSED, Code.PEER_BUSY, Code.PEER_INCOMPATIBLE, Code.UNSUPPORTED_TRANSPORT, Code.TIMEOUT})
_OURS = frozenset({NotSentReason.SESSION_CLOSED, NotSentReason.TOO_MANY_SESSIONS})


def is_for_want_of_path(error: E2EError, *, hellos_checked: bool) -> bool:
    """Return whether no session came to be because its path failed or the peer wants none, and not because a key or a proof was
    doubted. Once the hellos are checked, a peer that refuses, or waits, may doubt ours."""
    if isinstance(error, NotSent):
        return error.reason in _OURS
    return error.code in _PATH or (error.code in _PEER and not hellos_checked)


class OwnServerSilent(BytestreamFailed):
    """Our own server reads nothing of what we send."""

    likely = "The connection to our own server is dead, or the server stands still."
    attack = "Our own server can stop reading at any time; it learns nothing by it."
    remedy = "Connect anew. A longer `stall_seconds` waits longer."

    def __init__(self, seconds: float) -> None:
        super().__init__(f"our own server has read nothing for {seconds:.0f} seconds; the peer may be well")


class PeerSilent(Timeout):
    """What we send reaches the peer, or so their server says, and they do not acknowledge the stanzas in it."""

    likely = "The peer's program hangs, or it has a defect: it says that it acknowledges, and does not."
    attack = "A server that swallows what we send, and answers for the peer, looks exactly like this; it reads nothing."
    remedy = "What was not acknowledged goes once more, in the next session. If it fails again, tell the peer by another way."

    def __init__(self, peer: str, what: str) -> None:
        super().__init__(f"{peer} takes what we send and does not acknowledge it, though asked: {what}")


class MemoryExceeded(E2EError):
    """A session gave up because it, or others with it, held too much for a peer."""

    likely = "The peer is on a slow network and does not read what you send, or sends many large stanzas at once."
    attack = "Somebody wants to fill your memory: they take nothing of what waits for them, or begin stanzas and end none."
    remedy = "Connect again; send less at once. What was on its way may be lost."

    def __init__(self, whose: str, used: int, limit: int) -> None:
        super().__init__(f"{used} bytes were held for {whose}; the limit is {limit}, and this session held most")


class SharedKey(TLSFailed):
    """Another resource of our own account shows our own key: two programs with one store have one key."""

    code = Code.REFLECTED_KEY
    likely = (
        "Another program of this account uses the same store, and so has the same key. All programs of an account on one"
        " machine do, unless you say otherwise, and no session can be opened between two of them."
    )
    attack = "A server that reflects our own bytes to us looks exactly like this."
    remedy = (
        "Nothing was sent. Give one of the two a store, and so a key, of its own: the setting `store_path`, or another"
        " XDG_DATA_HOME for `xmpp-e2e`."
    )

    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer} shows our own key")


class StoreLocked(LocalError):
    """Our own key was asked for before the store was opened."""

    likely = "A passphrase takes a fraction of a second to open the store; a keyring may wait for its user."
    remedy = "Wait for it first: await e2e.wait_ready()."


class PlaintextNotAllowed(E2EError):
    """A stanza came in plaintext from a peer from whom encryption is expected."""

    likely = "The peer wrote from a client without this encryption."
    attack = "A server that forges messages in their name would have to send them like this."
    remedy = "Ask the peer to use a client with it, or relax their policy: `prefer`."


class VerificationUnavailable(UntrustedKey):
    """A key awaits verification, and the peer takes part in no method that could verify it."""

    likely = "Their program has nobody to ask: no `ask_sas`, no `ask_password`, and no password or key for you."
    attack = "Somebody who shows a key of their own would rather not have it compared."
    remedy = "Nothing was sent. Compare fingerprints by another way and pin their key, or set up a key or a password."


class VerificationDeclined(E2EError):
    """The peer does not take part in a verification."""

    likely = "Their program has nobody to ask, or no password for you, or the method has run in this session already."
    remedy = "Ask them to set it up, or compare fingerprints."


class PasswordLocked(E2EError):
    """Too many wrong passwords were tried with this peer."""

    likely = "The password was mistyped, here or there, or one of you has changed it."
    attack = "Somebody who poses as the peer guesses your password, one guess a session."
    remedy = "Agree on a new password by another way, and unlock it then."


class TooManyRuns(E2EError):
    """Too many proofs by password were begun, of this peer or in all, that have not succeeded."""

    likely = "The connection breaks again and again while a password is checked, or many devices verify at the same time."
    attack = "Somebody who poses as the peer begins proofs and cuts each one off, to keep this program busy."
    remedy = "Nothing was sent. Wait half a minute, and try again; or compare fingerprints by another way and pin the key."


class TrustFileError(LocalError):
    """The trust file, or a file that it names, cannot be used."""

    remedy = "Correct what the message names. A running program keeps the rules that it had before."

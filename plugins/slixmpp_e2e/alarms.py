"""What people are told about keys and errors: what likely happened, which attack it might be, and what helps.

The core says what happened by a code and facts; the words for people are here. The errors of the plugin and of the command
carry their own. No text carries a secret.
"""

from __future__ import annotations

import enum
import shlex
from typing import NamedTuple

from slixmpp_e2e.errors import NotSentReason
from xmpp_e2e.errors import Code, E2EError, UntrustedKey
from xmpp_e2e.key_decision import Decision, KeyDecision, KeyStatus
from xmpp_e2e.types import RETIRED, Assurance, Fingerprint


class Words(NamedTuple):
    """Explains one kind of error."""

    likely: str = ""
    """The most likely innocent cause."""
    attack: str = ""
    """The attack that it might be, if any."""
    remedy: str = ""
    """The way out."""


_PEER_INCOMPATIBLE = Words(
    likely="The peer runs another version of this software, or a policy that excludes ours.",
    attack="A server that edits the negotiation can cause this too; it gains nothing but the failure.",
    remedy="Compare versions and policies on both sides.",
)
_PEER_MISBEHAVED = Words(
    likely="A bug in the peer's software.",
    attack="Somebody on the path may be altering the conversation.",
    remedy="Try again; if it persists, compare fingerprints with the peer by another way and report the bug.",
)

WORDS: dict[enum.Enum, Words] = {
    Code.SEND_BUFFER_FULL: Words(
        likely="More was written than the path to the peer carries.",
        remedy="Wait until some of it has been taken, then send again.",
    ),
    Code.STANZA_TOO_LARGE: Words(
        likely="A large body or an embedded picture was put into one stanza.",
        remedy="Send it in parts, or as a file.",
    ),
    Code.INVALID_STANZA: Words(
        likely="A control character, or half of a surrogate pair, was put into a text.",
        remedy="Remove the character that the message names.",
    ),
    Code.PEER_INCOMPATIBLE: _PEER_INCOMPATIBLE,
    Code.UNSUPPORTED_TRANSPORT: _PEER_INCOMPATIBLE,
    Code.NO_COMMON_METHOD: _PEER_INCOMPATIBLE,
    Code.SECURITY_STRIPPED: Words(
        likely="The peer's client speaks Jingle XML streams, but not with this encryption.",
        attack="A server that strips <security/> to keep you from encrypting looks exactly like this.",
        remedy="Compare versions and policies on both sides.",
    ),
    Code.SESSION_CANCELLED: Words(
        remedy="Nothing was sent in plaintext. What was written just before may have arrived, inside, all the same.",
    ),
    Code.PEER_REFUSED: Words(
        likely="The peer is offline, does not run this software at that address, or does not accept sessions from you.",
        attack="A server can forge this answer to keep you from encrypting.",
        remedy=(
            "Nothing was sent in plaintext. Ask the peer by another way whether they are online and accept you (accept_from)."
        ),
    ),
    Code.PEER_BUSY: Words(
        likely="Many write to the peer at the same time, or a server on the way is starting again.",
        attack="A server can forge this answer to keep you from encrypting.",
        remedy="Nothing was sent in plaintext. It was tried for as long as stanzas may wait (queue_seconds). Try again later.",
    ),
    Code.PEER_MISBEHAVED: _PEER_MISBEHAVED,
    Code.JINGLE_ERROR: _PEER_MISBEHAVED,
    Code.STREAM_ERROR: _PEER_MISBEHAVED,
    Code.BYTESTREAM_FAILED: Words(
        likely="A connection was lost, or a server limits what it carries.",
        attack="A server can cut a stream at any time; what it cannot do is make a cut look like an end.",
        remedy="Try again.",
    ),
    Code.BYTESTREAM_VIOLATION: Words(
        likely="A connection was lost, or a server limits what it carries.",
        attack="Blocks replayed, reordered, dropped or altered on the path look like this.",
        remedy="Try again.",
    ),
    Code.TLS_FAILED: Words(
        likely="The peer's TLS library is older than TLS 1.3, or the bytestream lost a block.",
        attack="Bytes altered, replayed or downgraded on the path look exactly like this.",
        remedy="Try again; if it persists, compare fingerprints with the peer by another way and report the bug.",
    ),
    Code.FINGERPRINT_MISMATCH: Words(
        likely="The peer changed its key in the middle of a negotiation (rare).",
        attack=("Somebody on the path swapped the fingerprint in the signalling, or answered with a certificate of their own."),
        remedy="Nothing was sent. Compare fingerprints with the peer by another way before you try again.",
    ),
    Code.REFLECTED_KEY: Words(
        likely="One identity was copied to two devices; every device needs its own (`xmpp-e2e init`).",
        attack="Somebody is reflecting our own bytes to us.",
        remedy="Give each device an identity of its own.",
    ),
    Code.AUTHENTICATION_FAILED: Words(
        likely="The peer refuses our key, expects a method that is not set up here, or their program could not go on.",
        attack="Somebody in the middle, whose key the peer refuses in place of ours, causes exactly this.",
        remedy=(
            "Nothing was sent in plaintext. What was written just before may have arrived, inside, all the same. Ask the "
            "peer by another way, and compare fingerprints."
        ),
    ),
    Code.TIMEOUT: Words(
        likely="The peer's connection is slow or gone, or a person there has not answered yet.",
        attack="A server can hold back stanzas; it learns nothing by it.",
        remedy="Try again.",
    ),
    Code.UNCLEAN_CLOSE: Words(
        likely="A connection was lost, or the peer's program was killed.",
        attack="A server can cut a session at any time; what was sent last may not have arrived.",
        remedy="Messages without an answer may have been lost; ask the peer, or send them again.",
    ),
    Code.PROOF_FAILED: Words(
        likely=(
            "The secret that you share is not the same on both sides: mistyped, or changed on one of them; or the "
            "person there sees another string."
        ),
        attack=(
            "Somebody in the middle, with a session of their own to each of you, causes exactly this; so does "
            "somebody who poses as the peer and guesses."
        ),
        remedy=(
            "Nothing was sent in plaintext; but in a session that was open before, somebody in the middle has read along. "
            "Ask the peer by another way, and try again. If it fails with the right secret, do not use this path."
        ),
    ),
    Code.NEGOTIATION_ALTERED: Words(
        likely="The two sides run versions that disagree about the negotiation.",
        attack="A server on the path edited the negotiation: methods, fingerprints, nonces or addresses.",
        remedy="Nothing was delivered. Try again over another server; if it persists, do not trust the path.",
    ),
    Code.METHOD_NOT_CONFIGURED: Words(
        likely="A password or a key is set up on one side only, or that side has nobody to ask for it.",
        attack="Somebody who poses as the peer does not know it either.",
        remedy="Set up the same on both sides (xmpp-e2e password JID, xmpp-e2e psk add JID), or forget it on this one.",
    ),
    Code.WEAK_KEY: Words(
        likely="A password was given in the place of a key.",
        remedy=("Make a key with `xmpp-e2e psk new`, or use the password as one (method srp), which guessing does not break."),
    ),
    Code.SAS_MISMATCH: Words(
        likely="A string was misread, or that of another session was compared.",
        attack="Somebody is in the middle, with a session of their own to each of you: they would cause exactly this.",
        remedy=(
            "Whoever is in the middle has read what was said in this session. Open a new one and compare again. If it "
            "happens twice, do not use this path."
        ),
    ),
    NotSentReason.ROUTE_UNKNOWN: Words(
        likely="A bug in this software or in another plugin; the log says more.",
        remedy="Nothing was sent. Try again, and report it if it persists.",
    ),
    NotSentReason.QUEUE_FULL: Words(
        likely="The session with the peer takes long to open and much was written meanwhile.",
        remedy="Wait for e2e_session_opened before you send more.",
    ),
    NotSentReason.QUEUED_TOO_LONG: Words(
        likely="The peer's connection is slow, or a person has not answered yet.",
        attack="A server can hold back stanzas; it learns nothing by it.",
        remedy="Nothing was sent. Try again.",
    ),
    NotSentReason.UNACKNOWLEDGED: Words(
        likely="The path to the peer broke, or their program ended, and no session came to be since.",
        attack="A server can hold back stanzas, and what says that they arrived.",
        remedy="It may have arrived. Ask the peer before you send again what must not come twice.",
    ),
    NotSentReason.DISCONNECTED: Words(
        likely="The peer was offline or slow when your program ended.",
        attack="A server can hold back stanzas, and what says that they arrived.",
        remedy="Stay connected for longer, or raise `disconnect_seconds` in register_plugin('e2e', {…}).",
    ),
    NotSentReason.CANCELLED: Words(
        likely="Your program has called e2e.cancel(JID).",
        remedy="Nothing was sent. Send it again if it was withdrawn by mistake.",
    ),
    NotSentReason.TOO_MANY_SESSIONS: Words(
        likely="A program writes to more people at once than it was set up for.",
        attack="Many strangers may be making it answer them.",
        remedy="Close sessions that are not needed, or raise `sessions` or `sessions_per_peer` in register_plugin('e2e', {…}).",
    ),
    NotSentReason.SESSION_OUTRANKED: Words(
        likely="The peer's program was installed anew while it was connected.",
        attack="A server that shows a key of its own beside the peer's would ask through just such a session.",
        remedy="It ends by itself when the other session does. Compare the peer's keys: xmpp-e2e trust show JID",
    ),
    NotSentReason.ROOM_NOT_ENTERED: Words(
        likely="It is a room that your program entered before this plugin was loaded.",
        attack="The server of a person says that they are a room, to read what is for them.",
        remedy="If it is a room: enter it again while this plugin is loaded, or set the policy `off` for it.",
    ),
    NotSentReason.SERVER_WOULD_READ: Words(
        likely="It is for a server or a room to act on, and holds words: a status, a form, a reason of an invitation.",
        attack="Whoever runs that server or room would read them.",
        remedy="Leave the words out, write to the person's full JID, or invite them directly (XEP-0249).",
    ),
    NotSentReason.SESSION_CLOSED: Words(
        likely="The peer or you went offline in the middle.",
        attack="A server can end a session at any time; it cannot make us answer outside.",
        remedy="Nothing was sent in plaintext. Start again with the request.",
    ),
}
"""By the code of an error, or by the reason of a ``NotSent``."""


def reason_of(error: E2EError) -> enum.Enum:
    """Return why it happened, finer than the class: its reason if it has one, else its code."""
    reason: enum.Enum = getattr(error, "reason", error.code)
    return reason


def words(error: E2EError) -> Words:
    """Return the words about an error: those of its class, if it has any, or else those for its reason."""
    by_reason = WORDS.get(reason_of(error), Words())
    return Words(*(getattr(error, name, getattr(by_reason, name)) for name in Words._fields))


def summary(error: E2EError) -> str:
    """Return what happened, in a sentence or two."""
    if isinstance(error, UntrustedKey) and error.assessment is not None:
        return key_alarm(error.assessment, error.peer)
    return str(error)


def explain(error: E2EError) -> str:
    """Return the whole story for a person: what happened, the cause, the attack, the way out; a line each."""
    its = words(error)
    return "\n".join(part for part in (summary(error), its.likely, its.attack, its.remedy) if part)


# --- keys ------------------------------------------------------------------------------------------------------------

_STATUS = {
    KeyStatus.FIRST: "First contact with {peer}: the key is {shown}.",
    KeyStatus.KNOWN: "{peer} shows the same key as before, {shown} (accepted by {method}).",
    KeyStatus.NEW: "{peer} shows a key that is new to us, {shown}; none of the keys that we remember is verified.",
    KeyStatus.CHANGED: "THE KEY OF {peer} HAS CHANGED: it is {shown} now, and another one was verified.",
    KeyStatus.BLOCKED: "{peer} shows the key {shown}, which you have blocked.",
}

_REMEMBERED = (
    "{peer} shows the key {shown}, which was taken as theirs ({method}) before another one was verified. You have not decided"
    " about it."
)
"""CHANGED, of a key that was met before."""

_RETIRED = (
    "{peer} shows the key {shown}, which they gave up for another one. Most likely they have restored an old backup, or an old"
    " device of theirs still runs."
)
"""BLOCKED, of a key in whose place another is."""

_KEY_LIKELY = {
    KeyStatus.NEW: "Most likely the peer has another device, or has reinstalled.",
    KeyStatus.CHANGED: "Most likely the peer has another device, or has reinstalled.",
    KeyStatus.BLOCKED: "Most likely the peer still uses the device whose key you refused.",
}

_KEY_ATTACK = {
    KeyStatus.FIRST: "A server that reads along could show a key of its own.",
    KeyStatus.NEW: "A server that reads along would show just such a new key.",
    KeyStatus.CHANGED: "A server that reads along would show just such a new key.",
    KeyStatus.BLOCKED: "Somebody who stole that key would show it too.",
}

_DECISION = {
    Decision.ACCEPT: "Accepted as {assurance}.",
    Decision.HOLD: "Nothing is sent or delivered until {until}.",
    Decision.REJECT: "The session has ended; nothing more is sent or delivered.",
}

_PIN = "Compare the fingerprint with the peer by another way, then: xmpp-e2e trust pin {peer} {shown}"
_ACCEPT = "To use it without a comparison: xmpp-e2e trust accept {peer} {shown}"
_UNBLOCK = "If you blocked it by mistake: xmpp-e2e trust forget {peer} {shown}"
_UNRETIRE = "If they say by another way that they use it again: xmpp-e2e trust forget {peer} {shown}"


def key_alarm(assessment: KeyDecision, peer: str) -> str:
    """Return what a user must know of a peer's key: what happened, the cause, the attack, the decision, the command that helps.

    ``peer``: the bare JID that the commands name.
    """
    status, assurance, needed = assessment.status, assessment.assurance, assessment.needed
    calm = assurance is Assurance.VERIFIED  # nobody demands more than that
    attack = "" if calm else _KEY_ATTACK.get(status, "")
    retired = status is KeyStatus.BLOCKED and assessment.verified_by == RETIRED
    command = "" if calm else _UNRETIRE if retired else _UNBLOCK if status is KeyStatus.BLOCKED else _PIN
    acceptable = status is KeyStatus.CHANGED and not calm and needed < Assurance.VERIFIED
    what = _REMEMBERED if status is KeyStatus.CHANGED and assessment.verified_by else _STATUS[status]
    likely = _KEY_LIKELY.get(status, "")
    if retired:
        what, likely = _RETIRED, ""
    decision = _DECISION[assessment.decision]
    parts = (what, likely, attack, decision, command, _ACCEPT if acceptable else "")
    acts = "you pin or accept it, or a proof succeeds" if acceptable else "you pin it or a proof succeeds"
    until = acts if assurance >= needed else f"the key is {needed} (it is {assurance})"
    return " ".join(filter(None, parts)).format(
        peer=shlex.quote(peer),
        shown=assessment.fingerprint,
        method=assessment.verified_by,
        assurance=assurance,
        until=until,
    )


def held_alarm(peer: str, key: Fingerprint) -> str:
    """Return what a user must know of a key that is held because another one of the peer is verified.

    ``peer``: the bare JID that the commands name.
    """
    peer = shlex.quote(peer)
    return (
        f"{peer} has another key, {key}, about which you have not decided: since one of their keys is verified, nothing is sent"
        " to this one or taken from it. Most likely it is another device of theirs. A server that has read along so far would"
        f" have made it up. Compare the fingerprint with the peer by another way, then: xmpp-e2e trust pin {peer} {key}\n"
        f"To use it without a comparison: xmpp-e2e trust accept {peer} {key}\n"
        f"To refuse it: xmpp-e2e trust block {peer} {key}"
    )


def rotation_alarm(peer: str, old: Fingerprint, new: Fingerprint) -> str:
    """Return what a user must know of a key that takes the place of a verified one. ``peer``: a bare JID."""
    peer = shlex.quote(peer)
    return (
        f"{peer} has given up the key {old} for {new}, by the word of both keys: the new one is verified from now on, the old"
        " one refused. Most likely they have rotated their key (xmpp-e2e identity rotate). Somebody who stole the old key could"
        f" say so too: if they know nothing of it, xmpp-e2e trust block {peer} {new}"
    )


def doubt_alarm(peer: str, key: Fingerprint, *, pinned: bool) -> str:
    """Return what a user must know of a key that is not verified any more. ``pinned``: the trust file says that it is."""
    peer = shlex.quote(peer)
    said = f"You and {peer} have compared short strings, and one of you says that they differ."
    if pinned:
        result = f"Their key {key} stays verified all the same: the trust file pins it. Take it out, unless you know why."
    else:
        result = f"Their key {key} is not verified any more."
    return (
        f"{said} {result} Most likely one of you misread. Somebody in the middle, with a session of their own to each of you,"
        f" would cause exactly this. Compare again in a new session: xmpp-e2e trust verify {peer}"
    )

"""May stanzas flow to the key that a peer shows? One pure function over what is remembered, vouched for and proved.

Continuity of keys after RFC 4474's successors and SSH: a first key is taken at its own level, a key that contradicts a
verified one never is. Each device of a peer has a key of its own and is judged by itself.
"""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass

from xmpp_e2e.identity import Assurance, Fingerprint, KnownKey, Remembered, TrustModel


class OnKeyChange(enum.Enum):
    """What the user wants when a known peer shows a key that we have not seen; a proof in that session overrides it."""

    BY_TRUST_MODEL = "by-trust-model"
    """NEW as the trust model says; CHANGED is held."""
    HOLD = "hold"
    """Both are held until the user acts or a proof succeeds."""
    REJECT = "reject"
    """Both end the session: for bots that nobody watches."""


class Decision(enum.Enum):
    """What becomes of the session."""

    ACCEPT = "accept"
    """Stanzas may flow."""
    HOLD = "hold"
    """Nothing flows until the user acts (pins the key) or a proof succeeds; then judge again."""
    REJECT = "reject"
    """The session ends."""


class KeyKind(enum.Enum):
    """How the key relates to what we remember of the peer."""

    FIRST = "first"
    """We remember no key of the peer."""
    KNOWN = "known"
    """We remember this key."""
    NEW = "new"
    """We remember other keys, none of them verified: always told to the user."""
    CHANGED = "changed"
    """We remember other keys, and one of them is verified or pinned: the user must act."""
    BLOCKED = "blocked"
    """The user has refused this key for good."""

    @property
    def expected(self) -> bool:
        """Such a key is no news for the user."""
        return self in (KeyKind.FIRST, KeyKind.KNOWN)


@dataclass(frozen=True)
class Verdict:
    """What the judge says about the key of one session, now."""

    decision: Decision
    assurance: Assurance
    """Of this session now."""
    kind: KeyKind
    reason: str
    """For people: what happened, the likely innocent cause, the attack that it might be, the command that helps."""


def judge(
    remembered: Remembered,
    peer_key: Fingerprint,
    vouched: Assurance,
    *,
    trust_model: TrustModel,
    on_key_change: OnKeyChange,
    proved: Assurance = Assurance.NONE,
    required: Assurance = Assurance.NONE,
    peer: str = "JID",
) -> Verdict:
    """Judge ``peer_key``, which TLS has shown to be the peer's in this session.

    ``vouched`` is what the signalling is worth by itself (NONE, VOUCHED or VOUCHED_SIGNED; ValueError above: that is
    what ``proved`` is for), ``proved`` what an authenticator has proved in this session, ``required`` a minimum of this
    call beyond that of the trust model. ``peer`` is the bare JID that the commands in ``reason`` name.
    """
    if vouched > Assurance.VOUCHED_SIGNED:
        raise ValueError(f"signalling vouches, it does not prove: {vouched} belongs in `proved`")
    key = remembered.key(peer_key)
    kind = _kind(remembered, key)
    assurance = vouched if kind is KeyKind.BLOCKED else max(vouched, proved, _continuity(key))
    minimum = max(trust_model.minimum, required)
    decision = _decide(kind, on_key_change, proved >= Assurance.VERIFIED, assurance >= minimum)
    words = _Words(peer_key, key, shlex.quote(peer), assurance, minimum)
    return Verdict(decision, assurance, kind, words.reason(kind, decision))


def _kind(remembered: Remembered, key: KnownKey | None) -> KeyKind:
    if key is not None:
        return KeyKind.BLOCKED if key.blocked else KeyKind.KNOWN
    if not remembered.keys:
        return KeyKind.FIRST
    return KeyKind.CHANGED if remembered.any_verified else KeyKind.NEW


def _continuity(key: KnownKey | None) -> Assurance:
    """What it is worth that we remember the key."""
    if key is None:
        return Assurance.NONE
    return Assurance.VERIFIED if key.assurance is Assurance.VERIFIED else Assurance.KNOWN


def _decide(kind: KeyKind, on_key_change: OnKeyChange, proved: bool, enough: bool) -> Decision:
    """The rules, the strictest first. ``enough``: the trust model's minimum and the call's are met."""
    if kind is KeyKind.BLOCKED:
        return Decision.REJECT
    if kind in (KeyKind.NEW, KeyKind.CHANGED) and not proved:
        if on_key_change is OnKeyChange.REJECT:
            return Decision.REJECT
        if on_key_change is OnKeyChange.HOLD or kind is KeyKind.CHANGED:
            return Decision.HOLD
    return Decision.ACCEPT if enough else Decision.HOLD


# --- the same for people ---------------------------------------------------------------------------------------------

_WHAT = {
    KeyKind.FIRST: "First contact with {peer}: the key is {shown}.",
    KeyKind.KNOWN: "{peer} shows the same key as before, {shown} (accepted by {method}).",
    KeyKind.NEW: "{peer} shows a key that is new to us, {shown}; none of the keys that we remember is verified.",
    KeyKind.CHANGED: "THE KEY OF {peer} HAS CHANGED: it is {shown} now, and another one was verified.",
    KeyKind.BLOCKED: "{peer} shows the key {shown}, which you have blocked.",
}

_LIKELY = {
    KeyKind.NEW: "Most likely the peer has another device, or has reinstalled.",
    KeyKind.CHANGED: "Most likely the peer has another device, or has reinstalled.",
    KeyKind.BLOCKED: "Most likely the peer still uses the device whose key you refused.",
}

_ATTACK = {
    KeyKind.FIRST: "A server that reads along could show a key of its own.",
    KeyKind.NEW: "A server that reads along would show just such a new key.",
    KeyKind.CHANGED: "A server that reads along would show just such a new key.",
    KeyKind.BLOCKED: "Somebody who stole that key would show it too.",
}

_THEN = {
    Decision.ACCEPT: "Accepted as {assurance}.",
    Decision.HOLD: "Nothing is sent or delivered until {until}.",
    Decision.REJECT: "The session has ended; nothing more is sent or delivered.",
}

_PIN = "Compare the fingerprint with the peer by another way, then: xmpp-e2e trust pin {peer} {shown}"
_UNBLOCK = "If you blocked it by mistake: xmpp-e2e trust forget {peer} {shown}"


@dataclass(frozen=True)
class _Words:
    """What the sentences above are filled in with."""

    shown: Fingerprint
    key: KnownKey | None
    peer: str
    assurance: Assurance
    minimum: Assurance

    def reason(self, kind: KeyKind, decision: Decision) -> str:
        calm = self.assurance is Assurance.VERIFIED  # more than that nobody demands
        attack = "" if calm else _ATTACK.get(kind, "")
        help_ = "" if calm else _UNBLOCK if kind is KeyKind.BLOCKED else _PIN
        parts = (_WHAT[kind], _LIKELY.get(kind, ""), attack, _THEN[decision], help_)
        enough = self.assurance >= self.minimum
        return " ".join(filter(None, parts)).format(
            peer=self.peer,
            shown=self.shown,
            method=self.key.method if self.key else "",
            assurance=self.assurance,
            until="you pin it or a proof succeeds" if enough else f"the key is {self.minimum} (it is {self.assurance})",
        )

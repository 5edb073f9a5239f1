"""Decide whether a stanza may leave or come in without end-to-end encryption: one table for each direction, both pure.

A policy is what a user wants for a peer. It is stored apart from sessions, and no answer of a server changes it. Stanzas that
are always plaintext (our own Jingle and bytestreams, disco#info, presence …) never get here. The tables for users are in
docs/reference/policies.md.
"""

from __future__ import annotations

import enum

from xmpp_e2e.types import TrustModel


class Policy(enum.Enum):
    """The user's wish for one peer."""

    OFF = "off"
    """Plain XMPP in both directions, and no sessions are accepted."""
    OPPORTUNISTIC = "opportunistic"
    """Encrypted with every peer who can, and in plaintext with all others: for programs that must deliver."""
    PREFER = "prefer"
    """Encrypted with every peer who can; never silently plaintext with a known E2E peer."""
    REQUIRE = "require"
    """Encrypted or not at all."""

    @property
    def accepts_sessions(self) -> bool:
        """True if the peer may open a session with us."""
        return self is not Policy.OFF

    def effective_with(self, trust_model: TrustModel) -> Policy:
        """Return the policy together with a trust model: OFF with a server that is trusted completely, REQUIRE with one that is
        trusted with nothing, for what is sent in plaintext trusts it with everything."""
        return _IMPLIED.get(trust_model, self)


_IMPLIED = {TrustModel.SERVER_TRUSTED: Policy.OFF, TrustModel.SERVER_UNTRUSTED: Policy.REQUIRE}


def check_combination(policy: Policy | None, trust_model: TrustModel | None) -> None:
    """Raise ValueError if a policy and a trust model contradict each other. None: nothing is said about it."""
    match policy, trust_model:
        case (Policy.OFF | Policy.OPPORTUNISTIC | Policy.PREFER, TrustModel.SERVER_UNTRUSTED):
            raise ValueError(
                f"`server-untrusted` trusts the server with nothing, but the policy `{policy.value}` lets it read and write"
                " plaintext: leave the policy out, or make it `require`"
            )
        case (Policy.REQUIRE, TrustModel.SERVER_TRUSTED):
            raise ValueError("`server-trusted` means plain XMPP, but the policy `require` refuses it: leave out one of the two")


class Outgoing(enum.Enum):
    """The decision about a stanza to a peer with whom no session is open."""

    PLAINTEXT = "plaintext"
    """Sent as plain XMPP, with assurance ``none``."""
    ENCRYPT = "encrypt"
    """Queued while a session opens. If that fails: ``e2e_send_failed``, never plaintext. But under OPPORTUNISTIC, if only the
    path or the peer was wanting (``is_for_want_of_path()``): plaintext, and ``e2e_plaintext_sent``."""
    FAIL_UNAVAILABLE = "fail-unavailable"
    """``e2e_send_failed`` at once, never plaintext: both must be online, and a sender should not wait in vain."""


class Incoming(enum.Enum):
    """The decision about a stanza that came in plaintext."""

    DELIVER = "deliver"
    """Delivered with assurance ``none``."""
    DELIVER_AND_TELL = "deliver-and-tell"
    """The same, with ``e2e_plaintext_received``: another device of the peer may lack encryption, or somebody strips it."""
    REFUSE = "refuse"
    """Not delivered; ``e2e_plaintext_refused``."""


class Situation(enum.Enum):
    """Our knowledge of the peer when a stanza is to leave."""

    ADVERTISES = "advertises"
    """An online resource of the peer advertises our protocol."""
    NEVER_SEEN = "never-seen"
    """None advertises it (or none is online), and we have never met them: no offer was accepted, no session was open."""
    KNOWN_BUT_NOT_ADVERTISING = "known-but-not-advertising"
    """None advertises it (or none is online), but we have met one that has it: it may be offline, or stripped."""
    PLAINTEXT_ALLOWED = "plaintext-allowed"
    """The same, and the user has called ``allow_plaintext(peer)``."""


OUTGOING: dict[tuple[Situation, Policy], Outgoing] = {
    (Situation.ADVERTISES, Policy.OFF): Outgoing.PLAINTEXT,
    (Situation.ADVERTISES, Policy.OPPORTUNISTIC): Outgoing.ENCRYPT,
    (Situation.ADVERTISES, Policy.PREFER): Outgoing.ENCRYPT,
    (Situation.ADVERTISES, Policy.REQUIRE): Outgoing.ENCRYPT,
    (Situation.NEVER_SEEN, Policy.OFF): Outgoing.PLAINTEXT,
    (Situation.NEVER_SEEN, Policy.OPPORTUNISTIC): Outgoing.PLAINTEXT,
    (Situation.NEVER_SEEN, Policy.PREFER): Outgoing.PLAINTEXT,
    (Situation.NEVER_SEEN, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
    (Situation.KNOWN_BUT_NOT_ADVERTISING, Policy.OFF): Outgoing.PLAINTEXT,
    (Situation.KNOWN_BUT_NOT_ADVERTISING, Policy.OPPORTUNISTIC): Outgoing.PLAINTEXT,
    (Situation.KNOWN_BUT_NOT_ADVERTISING, Policy.PREFER): Outgoing.FAIL_UNAVAILABLE,
    (Situation.KNOWN_BUT_NOT_ADVERTISING, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
    (Situation.PLAINTEXT_ALLOWED, Policy.OFF): Outgoing.PLAINTEXT,
    (Situation.PLAINTEXT_ALLOWED, Policy.OPPORTUNISTIC): Outgoing.PLAINTEXT,
    (Situation.PLAINTEXT_ALLOWED, Policy.PREFER): Outgoing.PLAINTEXT,
    (Situation.PLAINTEXT_ALLOWED, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
}
"""The decision by situation and policy."""

INCOMING: dict[tuple[Policy, bool], Incoming] = {
    # policy, seen with E2E before
    (Policy.OFF, False): Incoming.DELIVER,
    (Policy.OFF, True): Incoming.DELIVER,
    (Policy.OPPORTUNISTIC, False): Incoming.DELIVER,
    (Policy.OPPORTUNISTIC, True): Incoming.DELIVER,
    (Policy.PREFER, False): Incoming.DELIVER,
    (Policy.PREFER, True): Incoming.DELIVER_AND_TELL,
    (Policy.REQUIRE, False): Incoming.REFUSE,
    (Policy.REQUIRE, True): Incoming.REFUSE,
}
"""The decision about plaintext from a peer. allow_plaintext() changes nothing here: it is about what we send."""


def situation(*, advertised: bool | None, seen_before: bool, plaintext_allowed: bool) -> Situation:
    """Return the row of the table. ``advertised`` is None if nobody is online, or did not answer disco#info."""
    if advertised:
        return Situation.ADVERTISES
    if not seen_before:
        return Situation.NEVER_SEEN
    return Situation.PLAINTEXT_ALLOWED if plaintext_allowed else Situation.KNOWN_BUT_NOT_ADVERTISING


def outgoing(policy: Policy, *, advertised: bool | None, seen_before: bool, plaintext_allowed: bool) -> Outgoing:
    """Return the decision about a stanza to a peer with whom no session is open."""
    row = situation(advertised=advertised, seen_before=seen_before, plaintext_allowed=plaintext_allowed)
    return OUTGOING[row, policy]


def incoming_plaintext(policy: Policy, *, seen_before: bool) -> Incoming:
    """Return the decision about a stanza that came in plaintext."""
    return INCOMING[policy, seen_before]

"""May a stanza leave or come in without end-to-end encryption? Two tables, one for each direction; both pure.

What a user wants for a peer (``Policy``) is intent: stored apart from sessions, and no answer of a server changes it.
What is always outside (our own Jingle and bytestreams, disco#info, presence …) is not asked about here.
"""

from __future__ import annotations

import enum

from xmpp_e2e.identity import TrustModel


class Policy(enum.Enum):
    """What the user wants for one peer."""

    OFF = "off"
    """Plain XMPP in both directions, and no sessions are accepted."""
    PREFER = "prefer"
    """Encrypted with whoever can; never silently in clear with somebody who once could."""
    REQUIRE = "require"
    """Encrypted or not at all."""

    @property
    def accepts_sessions(self) -> bool:
        """May this peer open a session with us?"""
        return self is not Policy.OFF

    def under(self, trust_model: TrustModel) -> Policy:
        """This policy with that trust model: a server that is trusted completely needs nothing end to end."""
        return Policy.OFF if trust_model is TrustModel.SERVER_TRUSTED else self


class Outgoing(enum.Enum):
    """What becomes of a stanza to a peer with whom no session is open."""

    CLEAR = "clear"
    """Sent as plain XMPP, with assurance ``none``."""
    ENCRYPT = "encrypt"
    """A handshake, the stanza held meanwhile; if the handshake fails: ``e2e_send_failed``, never in clear."""
    FAIL_UNAVAILABLE = "fail-unavailable"
    """``e2e_send_failed`` at once, never in clear: both must be online, and who waits for an answer is not kept waiting."""


class Incoming(enum.Enum):
    """What becomes of a stanza that came in clear."""

    DELIVER = "deliver"
    """Delivered with assurance ``none``."""
    DELIVER_AND_TELL = "deliver-and-tell"
    """The same, with ``e2e_plaintext_received``: another device of his may lack encryption, or somebody strips it."""
    REFUSE = "refuse"
    """Not delivered; ``e2e_plaintext_refused``."""


class Situation(enum.Enum):
    """What we know of the peer when a stanza is to leave."""

    ADVERTISES = "advertises"
    """An online resource of his says that it speaks our protocol."""
    STRANGER = "stranger"
    """None says so (or none is online), and none ever did."""
    MISSED = "missed"
    """None says so (or none is online), but one did, or had a session with us: offline cannot be told from stripped."""
    MISSED_ALLOWED = "missed-allowed"
    """The same, and the user has said ``allow_plaintext(peer)``."""


OUTGOING: dict[tuple[Situation, Policy], Outgoing] = {
    (Situation.ADVERTISES, Policy.OFF): Outgoing.CLEAR,
    (Situation.ADVERTISES, Policy.PREFER): Outgoing.ENCRYPT,
    (Situation.ADVERTISES, Policy.REQUIRE): Outgoing.ENCRYPT,
    (Situation.STRANGER, Policy.OFF): Outgoing.CLEAR,
    (Situation.STRANGER, Policy.PREFER): Outgoing.CLEAR,
    (Situation.STRANGER, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
    (Situation.MISSED, Policy.OFF): Outgoing.CLEAR,
    (Situation.MISSED, Policy.PREFER): Outgoing.FAIL_UNAVAILABLE,
    (Situation.MISSED, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
    (Situation.MISSED_ALLOWED, Policy.OFF): Outgoing.CLEAR,
    (Situation.MISSED_ALLOWED, Policy.PREFER): Outgoing.CLEAR,
    (Situation.MISSED_ALLOWED, Policy.REQUIRE): Outgoing.FAIL_UNAVAILABLE,
}
"""What is done with a stanza, by situation and policy."""

INCOMING: dict[tuple[Policy, bool, bool], Incoming] = {
    # policy, seen with E2E before, plaintext allowed
    (Policy.OFF, False, False): Incoming.DELIVER,
    (Policy.OFF, False, True): Incoming.DELIVER,
    (Policy.OFF, True, False): Incoming.DELIVER,
    (Policy.OFF, True, True): Incoming.DELIVER,
    (Policy.PREFER, False, False): Incoming.DELIVER,
    (Policy.PREFER, False, True): Incoming.DELIVER,
    (Policy.PREFER, True, False): Incoming.DELIVER_AND_TELL,
    # allow_plaintext is about what we send: that something came in clear is told all the same
    (Policy.PREFER, True, True): Incoming.DELIVER_AND_TELL,
    (Policy.REQUIRE, False, False): Incoming.REFUSE,
    (Policy.REQUIRE, False, True): Incoming.REFUSE,
    (Policy.REQUIRE, True, False): Incoming.REFUSE,
    (Policy.REQUIRE, True, True): Incoming.REFUSE,
}
"""What is done with plaintext from a peer."""


def situation(*, advertised: bool | None, seen_before: bool, plaintext_allowed: bool) -> Situation:
    """The row of the table; None = nobody online to ask, or no answer: the host waits for disco before it asks us."""
    if advertised:
        return Situation.ADVERTISES
    if not seen_before:
        return Situation.STRANGER
    return Situation.MISSED_ALLOWED if plaintext_allowed else Situation.MISSED


def outgoing(policy: Policy, *, advertised: bool | None, seen_before: bool, plaintext_allowed: bool) -> Outgoing:
    """What to do with a stanza to a peer with whom no session is open.

    =============================================  =======  =================  ==================
    situation                                      ``off``  ``prefer``         ``require``
    =============================================  =======  =================  ==================
    the peer advertises E2E                        CLEAR    ENCRYPT            ENCRYPT
    never seen with E2E, does not advertise it     CLEAR    CLEAR              FAIL_UNAVAILABLE
    seen before, now offline or not advertising    CLEAR    FAIL_UNAVAILABLE   FAIL_UNAVAILABLE
    the same, after ``allow_plaintext(peer)``      CLEAR    CLEAR              FAIL_UNAVAILABLE
    =============================================  =======  =================  ==================
    """
    row = situation(advertised=advertised, seen_before=seen_before, plaintext_allowed=plaintext_allowed)
    return OUTGOING[row, policy]


def incoming_plaintext(policy: Policy, seen_before: bool, plaintext_allowed: bool) -> Incoming:
    """What to do with a stanza that came in clear.

    =============================================  =======  =================  ==================
    situation                                      ``off``  ``prefer``         ``require``
    =============================================  =======  =================  ==================
    from a peer never seen with E2E                DELIVER  DELIVER            REFUSE
    from a peer seen with E2E before               DELIVER  DELIVER_AND_TELL   REFUSE
    the same, after ``allow_plaintext(peer)``      DELIVER  DELIVER_AND_TELL   REFUSE
    =============================================  =======  =================  ==================
    """
    return INCOMING[policy, seen_before, plaintext_allowed]

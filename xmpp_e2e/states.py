"""The states of a session, and one table of every legal transition.

Rules:

- What is not in ``TRANSITIONS`` is illegal; there is no default.
- ``OPEN`` is entered only from ``DONE_SENT`` and ``DONE_RECEIVED``: our own proof and the peer's ``<done/>``, in either order.
- Stanzas are delivered only in ``OPEN`` and ``CLOSING``, buffered in ``DONE_RECEIVED``, and a violation anywhere else.
- ``CLOSED`` is final.

``docs/architecture.md`` has the diagram that ``diagram()`` draws from this table.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator


class State(enum.Enum):
    """The states of a session."""

    IDLE = "idle"
    """Nothing has happened."""
    OFFER_SENT = "offer_sent"
    """Our session-initiate is sent."""
    OFFER_RECEIVED = "offer_received"
    """The peer's session-initiate came and is in order; our side may accept it."""
    CONNECTING = "connecting"
    """Both sides accepted; the bytestream is being opened."""
    HANDSHAKING = "handshaking"
    """The bytestream is open; the TLS handshake runs."""
    SECURED = "secured"
    """TLS is up with the certificate that was signalled; the peer's hello is missing."""
    SENT_DONE_EARLY = "sent_done_early"
    """As SECURED, but the initiator needs nothing more from the peer and has sent its done."""
    HELLO_CHECKED = "hello_checked"
    """The peer's hello is checked; neither side has sent done."""
    DONE_SENT = "done_sent"
    """Our policy is met and our done is sent; the peer's done is missing."""
    DONE_RECEIVED = "done_received"
    """The peer's done came; our own policy is not met yet."""
    OPEN = "open"
    """Both sides are done: stanzas flow."""
    CLOSING = "closing"
    """We closed our stream; the peer's close is missing."""
    PEER_CLOSING = "peer_closing"
    """The peer closed its stream and we closed ours; the peer's close_notify is missing."""
    CLOSED = "closed"
    """Final."""


class Trigger(enum.Enum):
    """The triggers of transitions."""

    OFFER = "offer"
    """Our user wants a session."""
    INITIATE = "initiate"
    """The peer's session-initiate came."""
    ACCEPT = "accept"
    """Our side accepts."""
    ACCEPTED = "accepted"
    """The peer's session-accept came."""
    CONNECTED = "connected"
    """The bytestream is open."""
    TLS_UP = "tls_up"
    """The handshake is over and passed every check."""
    HELLO = "hello"
    """The peer's hello came and is in order."""
    POLICY_MET = "policy_met"
    """Our policy is met."""
    STEP = "step"
    """A step of an authenticator came."""
    DONE = "done"
    """The peer's done came."""
    STANZA = "stanza"
    """A stanza came."""
    CLOSE = "close"
    """Our side wants to close."""
    PEER_CLOSED = "peer_closed"
    """The peer's </stream:stream> came."""
    FAIL = "fail"
    """Something broke here or there, a timeout passed, or no more bytes will come."""
    END = "end"
    """Both streams are closed and the peer's close_notify came."""


_S, _I = State, Trigger

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    # negotiate
    (_S.IDLE, _I.OFFER): _S.OFFER_SENT,
    (_S.IDLE, _I.INITIATE): _S.OFFER_RECEIVED,
    (_S.OFFER_SENT, _I.ACCEPTED): _S.CONNECTING,
    (_S.OFFER_RECEIVED, _I.ACCEPT): _S.CONNECTING,
    # connect and secure
    (_S.CONNECTING, _I.CONNECTED): _S.HANDSHAKING,
    (_S.HANDSHAKING, _I.TLS_UP): _S.SECURED,
    # authenticate
    (_S.SECURED, _I.POLICY_MET): _S.SENT_DONE_EARLY,
    (_S.SECURED, _I.HELLO): _S.HELLO_CHECKED,
    (_S.SENT_DONE_EARLY, _I.HELLO): _S.DONE_SENT,
    (_S.HELLO_CHECKED, _I.POLICY_MET): _S.DONE_SENT,
    (_S.HELLO_CHECKED, _I.DONE): _S.DONE_RECEIVED,
    (_S.DONE_RECEIVED, _I.POLICY_MET): _S.OPEN,
    (_S.DONE_RECEIVED, _I.STANZA): _S.DONE_RECEIVED,
    (_S.DONE_SENT, _I.DONE): _S.OPEN,
    **{(state, _I.STEP): state for state in (_S.HELLO_CHECKED, _S.DONE_SENT, _S.DONE_RECEIVED, _S.OPEN, _S.CLOSING)},
    # talk
    (_S.OPEN, _I.STANZA): _S.OPEN,
    # end
    (_S.OPEN, _I.CLOSE): _S.CLOSING,
    (_S.OPEN, _I.PEER_CLOSED): _S.PEER_CLOSING,
    (_S.CLOSING, _I.STANZA): _S.CLOSING,
    (_S.CLOSING, _I.PEER_CLOSED): _S.CLOSING,
    (_S.CLOSING, _I.END): _S.CLOSED,
    (_S.PEER_CLOSING, _I.END): _S.CLOSED,
    # any failure closes a session, and one that has not begun can be given up
    **{(state, _I.FAIL): _S.CLOSED for state in State if state is not _S.CLOSED},
}

NOT_YET_OPEN = frozenset(
    {
        _S.IDLE,
        _S.OFFER_SENT,
        _S.OFFER_RECEIVED,
        _S.CONNECTING,
        _S.HANDSHAKING,
        _S.SECURED,
        _S.SENT_DONE_EARLY,
        _S.HELLO_CHECKED,
        _S.DONE_SENT,
        _S.DONE_RECEIVED,
    }
)
AUTHENTICATING = frozenset({_S.SECURED, _S.SENT_DONE_EARLY, _S.HELLO_CHECKED, _S.DONE_SENT, _S.DONE_RECEIVED})
HELLOS_CHECKED = AUTHENTICATING - {_S.SECURED, _S.SENT_DONE_EARLY}
"""Both hellos are checked, and the session is not open yet."""
HELLOS_CHECKED_OR_OPEN = HELLOS_CHECKED | {_S.OPEN}
AWAITING_OUR_DONE = frozenset({_S.HELLO_CHECKED, _S.DONE_RECEIVED})
"""Both hellos are checked, and our own policy is not met yet."""
WRITABLE = frozenset({_S.SENT_DONE_EARLY, _S.DONE_SENT, _S.OPEN})
"""Our done is sent and our stream is not closed: stanzas may follow."""

FAREWELL = frozenset({_S.CLOSING, _S.PEER_CLOSING})
"""Our stream is closed, and what follows it is not over."""

STATE_TIMEOUTS: dict[State, float] = {
    _S.OFFER_SENT: 60.0,
    _S.OFFER_RECEIVED: 60.0,
    _S.CONNECTING: 30.0,
    _S.HANDSHAKING: 15.0,
    **dict.fromkeys(AUTHENTICATING, 60.0),
    _S.OPEN: 24 * 3600.0,
    _S.CLOSING: 5.0,
    _S.PEER_CLOSING: 5.0,
}
"""Seconds that a session may spend in a state (two hops and a slow link are well inside each). The states of AUTHENTICATING
share one clock, which starts with SECURED. OPEN ends by a clean close, so that keys do not live for ever."""

FAREWELL_SECONDS = 600.0
"""The longest farewell. Bytes that come in meanwhile begin the 5 seconds anew: what an honest peer has on its way, 400 kB as
base64, takes some two minutes where a server reads 3 kB a second of them. Who trickles could as well leave the session open."""

USER_TIMEOUT = 300.0
"""Seconds instead of 60 where a user has to act: five minutes to reach the peer and compare."""


TIMEOUT_MESSAGES = {
    _S.OFFER_SENT: "{peer} did not answer the offer of a session",
    _S.OFFER_RECEIVED: "the offer of {peer} was not accepted here in time",
    _S.CONNECTING: "the bytestream with {peer} did not open",
    _S.HANDSHAKING: "the TLS handshake with {peer} did not finish",
    _S.SECURED: "{peer} did not say hello",
    _S.SENT_DONE_EARLY: "{peer} did not say hello",
    _S.HELLO_CHECKED: "the key of {peer} was not accepted here in time",
    _S.DONE_SENT: "{peer} has not accepted our key in time",
    _S.DONE_RECEIVED: "the key of {peer} was not accepted here in time",
}
"""Why a session timed out in each state, for people."""


def next_state(state: State, trigger: Trigger) -> State | None:
    """Return the state that follows, or None where ``trigger`` is illegal in ``state``."""
    return TRANSITIONS.get((state, trigger))


def diagram() -> str:
    """Draw the table as a Mermaid state diagram, without failures (they lead to CLOSED from everywhere)."""

    def edges() -> Iterator[str]:
        for (state, trigger), after in TRANSITIONS.items():
            if trigger is not Trigger.FAIL:
                yield f"    {state.value} --> {after.value}: {trigger.value}"

    return "\n".join(("stateDiagram-v2", *edges()))

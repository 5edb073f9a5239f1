"""The state machine of a session: stages, inputs, and one table of what is legal.

Rules:

- What is not in ``TRANSITIONS`` is illegal; there is no default.
- ``OPEN`` is entered from ``PROVED`` and ``AWAITED`` only: our own proof and the peer's ``<done/>``, in either order.
- Stanzas are delivered in ``OPEN`` and ``CLOSING`` only, held in ``AWAITED``, and are a violation anywhere else.
- ``CLOSED`` is final.

``docs/architecture.md`` has the diagram that ``diagram()`` draws from this table.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator


class Stage(enum.Enum):
    """Where a session is."""

    IDLE = "idle"
    """Nothing has happened."""
    OFFERED = "offered"
    """We sent session-initiate."""
    INVITED = "invited"
    """The peer's session-initiate is in order; ours to accept."""
    CONNECTING = "connecting"
    """Accepted; the bytestream is being opened."""
    HANDSHAKING = "handshaking"
    """The bytestream is there; TLS is under way."""
    SECURED = "secured"
    """TLS is up and its certificate is the one that was signalled; the peer's hello is awaited."""
    EARLY = "early"
    """As SECURED, and the initiator's own done is sent already (nothing more is needed from the peer)."""
    GREETED = "greeted"
    """The peer's hello is checked; neither side is done."""
    PROVED = "proved"
    """Our policy is met and our done is sent; the peer's is awaited."""
    AWAITED = "awaited"
    """The peer's done is there; our own policy is not met yet."""
    OPEN = "open"
    """Both are done: stanzas flow."""
    CLOSING = "closing"
    """We said farewell; the peer's is awaited."""
    LEAVING = "leaving"
    """The peer said farewell and we answered; its close_notify is awaited."""
    CLOSED = "closed"
    """Over."""


class Input(enum.Enum):
    """What can happen to a session."""

    OFFER = "offer"
    """Our user wants a session."""
    INITIATE = "initiate"
    """session-initiate came."""
    ACCEPT = "accept"
    """Our side accepts."""
    ACCEPTED = "accepted"
    """session-accept came."""
    CONNECTED = "connected"
    """The bytestream is open."""
    SECURE = "secure"
    """The handshake is over and every assertion on it holds."""
    HELLO = "hello"
    """The peer's hello came and is in order."""
    PROOF = "proof"
    """Our policy is met."""
    STEP = "step"
    """A step of an authenticator came."""
    DONE = "done"
    """The peer's done came."""
    STANZA = "stanza"
    """A stanza came."""
    CLOSE = "close"
    """Our side wants to end."""
    FAREWELL = "farewell"
    """The peer's </stream:stream> came."""
    FAIL = "fail"
    """Something broke, here or there, or a deadline passed, or no more bytes will come."""
    END = "end"
    """Both farewells and the peer's close_notify are there."""


_S, _I = Stage, Input

TRANSITIONS: dict[tuple[Stage, Input], Stage] = {
    # negotiate
    (_S.IDLE, _I.OFFER): _S.OFFERED,
    (_S.IDLE, _I.INITIATE): _S.INVITED,
    (_S.OFFERED, _I.ACCEPTED): _S.CONNECTING,
    (_S.INVITED, _I.ACCEPT): _S.CONNECTING,
    # connect and secure
    (_S.CONNECTING, _I.CONNECTED): _S.HANDSHAKING,
    (_S.HANDSHAKING, _I.SECURE): _S.SECURED,
    # authenticate
    (_S.SECURED, _I.PROOF): _S.EARLY,
    (_S.SECURED, _I.HELLO): _S.GREETED,
    (_S.EARLY, _I.HELLO): _S.PROVED,
    (_S.GREETED, _I.PROOF): _S.PROVED,
    (_S.GREETED, _I.DONE): _S.AWAITED,
    (_S.AWAITED, _I.PROOF): _S.OPEN,
    (_S.AWAITED, _I.STANZA): _S.AWAITED,
    (_S.PROVED, _I.DONE): _S.OPEN,
    **{(stage, _I.STEP): stage for stage in (_S.GREETED, _S.PROVED, _S.AWAITED, _S.OPEN, _S.CLOSING)},
    # talk
    (_S.OPEN, _I.STANZA): _S.OPEN,
    # end
    (_S.OPEN, _I.CLOSE): _S.CLOSING,
    (_S.OPEN, _I.FAREWELL): _S.LEAVING,
    (_S.CLOSING, _I.STANZA): _S.CLOSING,
    (_S.CLOSING, _I.FAREWELL): _S.CLOSING,
    (_S.CLOSING, _I.END): _S.CLOSED,
    (_S.LEAVING, _I.END): _S.CLOSED,
    # whatever breaks, breaks everything that has begun
    **{(stage, _I.FAIL): _S.CLOSED for stage in Stage if stage not in (_S.IDLE, _S.CLOSED)},
}

BEFORE_OPEN = frozenset(
    {_S.OFFERED, _S.INVITED, _S.CONNECTING, _S.HANDSHAKING, _S.SECURED, _S.EARLY, _S.GREETED, _S.PROVED, _S.AWAITED}
)
PROVING = frozenset({_S.SECURED, _S.EARLY, _S.GREETED, _S.PROVED, _S.AWAITED})
GREETING = PROVING - {_S.SECURED, _S.EARLY}
"""Both hellos are checked, and it is not open yet."""

DEADLINES: dict[Stage, float] = {
    _S.OFFERED: 60.0,
    _S.INVITED: 60.0,
    _S.CONNECTING: 30.0,
    _S.HANDSHAKING: 15.0,
    **dict.fromkeys(PROVING, 60.0),
    _S.OPEN: 24 * 3600.0,
    _S.CLOSING: 5.0,
    _S.LEAVING: 5.0,
}
"""Seconds that a session may spend in a stage (2 hops and a slow link are well inside each); the stages of PROVING share
one clock, which starts with SECURED. OPEN ends by a clean close, so that keys do not live for ever."""

HUMAN_DEADLINE = 300.0
"""Seconds in place of 60 where a person has to act: five minutes to find the peer and compare."""


LATE = {
    _S.OFFERED: "{peer} did not answer the offer of a session",
    _S.INVITED: "the offer of {peer} was not accepted here in time",
    _S.CONNECTING: "the bytestream with {peer} did not open",
    _S.HANDSHAKING: "the TLS handshake with {peer} did not finish",
    _S.SECURED: "{peer} did not say hello",
    _S.EARLY: "{peer} did not say hello",
    _S.GREETED: "the key of {peer} was not accepted here in time",
    _S.PROVED: "{peer} has not accepted our key in time",
    _S.AWAITED: "the key of {peer} was not accepted here in time",
}
"""What has not happened when the deadline of a stage passes, for people."""


def successor(stage: Stage, happened: Input) -> Stage | None:
    """The stage that follows, or None where ``happened`` is illegal in ``stage``."""
    return TRANSITIONS.get((stage, happened))


def diagram() -> str:
    """The table as a Mermaid state diagram, failures left out (they lead to CLOSED from everywhere)."""

    def edges() -> Iterator[str]:
        for (stage, happened), after in TRANSITIONS.items():
            if happened is not Input.FAIL:
                yield f"    {stage.value} --> {after.value}: {happened.value}"

    return "\n".join(("stateDiagram-v2", *edges()))

"""A peer with the right key that sends anything it likes inside TLS: whole streams of its own making."""

from __future__ import annotations

from collections.abc import Callable

from tests.pair import Pair, mute, prepare, talk
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.session import Session
from xmpp_e2e.stream import writer
from xmpp_e2e.types import Role

CHUNK = 16 * 1024
"""Bytes that a hostile peer sends at a time."""


def header(session: Session) -> bytes:
    """Return the genuine stream header of a session."""
    return writer.header(session.config.own_jid, session.config.peer_jid, id=None)


def hello(session: Session) -> bytes:
    """Its genuine hello, once TLS is up."""
    return writer.element(auth.build_hello(talk(session)._our_hello()))


DONE = b"<done xmlns='urn:x-xmpp-e2e:auth:0'/>"
STANZA = b"<message><body>out of turn</body></message>"


def silence(pair: Pair, role: Role) -> Session:
    """Stop ``role`` from sending anything by itself once TLS is up: no header, hello, done or stream close."""
    session = pair.side(role).session

    def change(conversation: Conversation) -> None:
        mute(conversation)
        conversation.send_abort = lambda error: None  # type: ignore[method-assign]

    prepare(session, change)
    return session


def send_raw(pair: Pair, role: Role, data: bytes) -> int:
    """Let ``role`` send these bytes inside TLS until either side has ended the session; return how many were sent."""
    session, other = pair.side(role).session, pair.side(role.other).session
    said = 0
    for start in range(0, len(data), CHUNK):
        if other.state.value == "closed" or session.state.value == "closed":
            break
        assert session._tls is not None
        session._tls.send(data[start : start + CHUNK])
        said = min(len(data), start + CHUNK)
        pair.run()
    return said


RawStream = Callable[[Session], bytes]

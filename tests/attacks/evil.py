"""A peer who holds the right key and says what he likes inside TLS: whole streams of his own making, byte by byte."""

from __future__ import annotations

from collections.abc import Callable

from tests.pair import Pair
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.identity import Role
from xmpp_e2e.session import Session
from xmpp_e2e.stream import writer

CHUNK = 16 * 1024
"""Bytes that an evil peer says at a time."""


def header(session: Session) -> bytes:
    """The genuine header of a session's."""
    return writer.header(session.config.ours, session.config.peer, id=None)


def hello(session: Session) -> bytes:
    """Its genuine hello, once TLS is up."""
    return writer.element(auth.build(session._inner._our_hello()))


DONE = b"<done xmlns='urn:x-xmpp-e2e:auth:0'/>"
STANZA = b"<message><body>out of turn</body></message>"


def silenced(pair: Pair, role: Role) -> Session:
    """``role`` says nothing by itself once TLS is up: no header, hello, done or farewell."""
    session = pair.side(role).session
    session._inner._greet = lambda: None  # type: ignore[method-assign]
    session._inner._judge = lambda now: None  # type: ignore[method-assign]
    session._inner.abort = lambda error: None  # type: ignore[method-assign]
    return session


def says(pair: Pair, role: Role, data: bytes) -> int:
    """``role`` says these bytes inside TLS, until the other side has ended the session; how many of them were taken."""
    session, other = pair.side(role).session, pair.side(role.other).session
    said = 0
    for start in range(0, len(data), CHUNK):
        if other.stage.value == "closed" or session.stage.value == "closed":
            break
        assert session._channel is not None
        session._channel.send(data[start : start + CHUNK])
        said = min(len(data), start + CHUNK)
        pair.run()
    return said


Words = Callable[[Session], bytes]

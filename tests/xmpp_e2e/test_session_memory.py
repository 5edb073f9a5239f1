"""What a session says that it holds for its peer: whatever waits, in either direction, and nothing once it is over."""

from __future__ import annotations

import pytest

from tests.pair import Pair, config, message, remembers, talk
from xmpp_e2e.errors import BytestreamFailed
from xmpp_e2e.inner.stream_management import ACK_SECONDS
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, KnownKeys, Role, TrustModel

SIZE = 10_000
UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def test_an_idle_session_holds_nothing() -> None:
    assert Session(Role.INITIATOR, config(), KnownKeys()).memory == 0
    pair = Pair().open()
    assert pair.alice.session.memory == pair.bob.session.memory == 0


def test_what_the_peer_does_not_take() -> None:
    """Before TLS has it, and after that: then twice, since it is kept until the peer acknowledges it."""
    pair = Pair().open()
    session = pair.alice.session
    session.send_stanza(message("x" * SIZE))
    assert SIZE < session.memory < 1.1 * SIZE
    assert session._tls is not None
    session._tls.send(talk(session).out.take(None))
    assert 2 * SIZE < session.memory < 2.1 * SIZE
    pair.run()
    assert SIZE < session.memory < 1.1 * SIZE
    pair.pass_time(ACK_SECONDS)
    assert session.memory == 0


def test_what_the_peer_does_not_finish() -> None:
    pair = Pair().open()
    talk(pair.alice.session).out._write(b"<message><body>" + b"x" * SIZE)
    pair.run()
    assert pair.bob.session.memory > SIZE
    talk(pair.alice.session).out._write(b"</body></message>")
    pair.run()
    assert pair.bob.stanzas == ["x" * SIZE]
    assert pair.bob.session.memory == 0


@pytest.mark.parametrize("end", ["opens", "fails"])
def test_what_comes_too_early(end: str) -> None:
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    for _ in range(2):
        pair.alice.session.send_stanza(message("x" * SIZE))
    pair.run()
    assert pair.bob.session.state is State.DONE_RECEIVED
    assert pair.bob.session.memory > 2 * SIZE
    if end == "opens":
        pair.bob.session.update_known_keys(remembers("alice", Assurance.VERIFIED, "pin"), pair.now)
        pair.run()
        assert len(pair.bob.stanzas) == 2
    else:
        pair.bob.session.bytestream_failed(BytestreamFailed("cut"), pair.now)
        pair.run()
    assert pair.bob.session.memory == 0

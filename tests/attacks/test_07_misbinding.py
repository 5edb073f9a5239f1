"""Attack 7: Mallory publishes Alice's fingerprint as their own, and passes Alice's stream on to Bob as theirs.

Alice means to talk with Mallory, Bob thinks that Mallory calls; every fingerprint matches, since TLS runs between Alice
and Bob. What convicts Mallory is inside: the addresses in the stream header, and in the digest of the negotiation.
"""

from __future__ import annotations

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import Pair, config, has_code, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import Code, LocalError, StreamError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.stream.reader import Header

MALLORY = "mallory@m.test/lair"


def misbound() -> Pair:
    """Both believe that the other end is Mallory, whose server passes on the fingerprints of the two."""
    return Pair(config("alice", peer_jid=MALLORY), config("bob", peer_jid=MALLORY))


def believe_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(self: Conversation, header: Header) -> None:
        pass

    monkeypatch.setattr(Conversation, "_on_header", believe)


def test_bob_never_shows_alice_as_mallory() -> None:
    """The stream is addressed to somebody else: Bob ends it before its hello, and Alice learns that it failed."""
    pair = misbound().open()
    assert pair.bob.session.fingerprint == identity("alice").fingerprint  # TLS alone has nothing against it
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == "invalid-from"
    assert isinstance(pair.alice.failure, StreamError)  # Bob's own header is for somebody else, too
    for side in (pair.alice, pair.bob):
        assert not side.of(events.SessionOpened)
        assert not side.stanzas
        with pytest.raises(LocalError):
            side.session.send_stanza(message("secret"))


def test_addresses_are_in_the_digest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the header believed, the digest of the negotiation still differs: it covers who wrote to whom."""
    believe_the_header(monkeypatch)
    pair = misbound().open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    assert "edited the negotiation" in explain(pair.bob.failure)
    assert not pair.bob.of(events.SessionOpened)
    assert not pair.alice.of(events.SessionOpened)


def test_control_without_either_the_attack_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with neither check Bob shows Alice's words as Mallory's."""
    believe_the_header(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)
    pair = misbound().open()
    pair.alice.session.send_stanza(message("I resign"))
    pair.run()
    (received,) = pair.bob.of(events.StanzaReceived)
    assert received.stanza.get("from") == MALLORY
    assert pair.bob.stanzas == ["I resign"]

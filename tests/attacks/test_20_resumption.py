"""Attack 20: a TLS session is resumed in place of a handshake: into another session of the same peer, or into another's.

Mallory is an honest peer once, keeps what her TLS learnt, and offers it when she poses as Carol: a resumed handshake shows
no certificate, so it would never be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from OpenSSL import SSL

from tests.pair import Pair, config, identity, message
from xmpp_e2e import events
from xmpp_e2e.authenticate import fingerprint
from xmpp_e2e.errors import FingerprintMismatch
from xmpp_e2e.identity import Role
from xmpp_e2e.negotiate.negotiation import Negotiation
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls import channel
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.tls.channel import Channel

MALLORY, CAROL = "mallory@m.test/lair", "carol@c.test/sofa"
FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])
genuine_context = channel._context


def willing(ours: Identity) -> SSL.Context:
    """A client's TLS that takes every session that it can get, and any certificate."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_alpn_protos([channel.ALPN])
    context.set_verify(SSL.VERIFY_PEER, lambda *seen: True)
    context.use_certificate(x509.load_der_x509_certificate(ours.certificate))
    key = load_der_private_key(ours.private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    return context


class Resumer:
    """Mallory's TLS, which offers the session of the last connection; Bob's is his own, or (control) a careless one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cache: bool = False) -> None:
        self._kept: Any = None
        self._open: Pair | None = None
        self._contexts: dict[str, SSL.Context] = {}
        self._cache = cache
        self.asked = 0
        """How often Bob's TLS looked at a certificate of hers."""
        genuine = channel.Channel.__init__

        def connect(made: Channel, role: Role, ours: Identity, **terms: Any) -> None:
            genuine(made, role, ours, **terms)
            if ours == identity("mallory") and self._kept is not None:
                made._connection.set_session(self._kept)

        monkeypatch.setattr(channel.Channel, "__init__", connect)
        monkeypatch.setattr(channel, "_context", self._context)

    def _context(self, role: Role, ours: Identity, expectation: channel._Expectation) -> SSL.Context:
        name = "mallory" if ours == identity("mallory") else "bob"
        if name in self._contexts and (name == "mallory" or self._cache):
            return self._contexts[name]
        self._contexts[name] = context = genuine_context(role, ours, expectation) if name == "bob" else willing(ours)
        if name == "bob":
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._counting(expectation))
        if name == "bob" and self._cache:
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
            context.set_session_id(b"shared")
        return context

    def _counting(self, expectation: channel._Expectation) -> Callable[..., bool]:
        def verify(*seen: Any) -> bool:
            self.asked += 1
            return expectation.verify(*seen)

        return verify

    def keep(self, pair: Pair) -> None:
        """What she can resume, from a session that is open: OpenSSL forgets one whose connection was dropped."""
        self._open = pair
        assert pair.alice.session._channel is not None
        self._kept = pair.alice.session._channel._connection.get_session()
        assert self._kept is not None


def as_herself(resumer: Resumer, fast: bool) -> Pair:
    """Mallory has a session with Bob, all in order, and keeps what TLS gave her."""
    mallory = config("alice", ours=MALLORY, identity=identity("mallory"), fast_open=fast)
    pair = Pair(mallory, config("bob", peer=MALLORY)).open()
    assert pair.alice.session.stage is Stage.OPEN
    pair.bob.session.send_stanza(message("tickets come with data, if at all"))
    resumer.keep(pair.run())
    return pair


def as_carol(fast: bool) -> Pair:
    """She poses as Carol, whose fingerprint stands in the signalling (the server helps), with a key that is not Carol's."""
    terms = config("alice", ours=CAROL, identity=identity("mallory"), fast_open=fast)
    pair = Pair(terms, config("bob", peer=CAROL))
    pair.alice.session._negotiation = Negotiation(
        Role.INITIATOR,
        CAROL,
        terms.peer,
        certificate=identity("carol").certificate_digest,
        methods=("fingerprint",),
        block_size=4096,
        random=terms.random,
    )
    return pair.open()


@FAST
def test_nothing_is_resumed(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the same peer goes through the whole handshake again: her certificate is looked at each time, and keys are new."""
    resumer = Resumer(monkeypatch)
    first = as_herself(resumer, fast)
    looked = resumer.asked
    assert looked
    second = as_herself(resumer, fast)
    assert resumer.asked == 2 * looked
    exporters = [pair.bob.session.established.exporter for pair in (first, second) if pair.bob.session.established]
    assert len(set(exporters)) == 2


@FAST
def test_nor_into_somebody_elses_session(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Carol she has to show a certificate, and it is not the one that was signalled."""
    resumer = Resumer(monkeypatch)
    as_herself(resumer, fast)
    pair = as_carol(fast)
    assert isinstance(pair.bob.failure, FingerprintMismatch)
    assert not pair.bob.of(events.SessionStart)
    assert not pair.bob.of(events.Secured)


@FAST
def test_a_resumed_session_would_be_compared_too(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were there a cache that outlives a session, the certificate in it would be compared after the handshake."""
    resumer = Resumer(monkeypatch, cache=True)
    as_herself(resumer, fast)
    looked = resumer.asked
    pair = as_carol(fast)
    assert resumer.asked == looked  # it was resumed: OpenSSL asked nothing
    assert isinstance(pair.bob.failure, FingerprintMismatch)
    assert not pair.bob.of(events.SessionStart)


@FAST
def test_control_without_any_of_it(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a cache, and without TLS's comparison and the authenticator's, Mallory's words are Carol's, and her key was
    not even asked for."""
    resumer = Resumer(monkeypatch, cache=True)
    as_herself(resumer, fast)
    looked = resumer.asked
    monkeypatch.setattr(channel, "_check_digest", lambda certificate, expected: None)
    monkeypatch.setattr(fingerprint, "hmac", SimpleNamespace(compare_digest=lambda one, other: True))
    pair = as_carol(fast)
    pair.alice.session.send_stanza(message("it is me, Carol"))
    (received,) = pair.run().bob.of(events.StanzaReceived)
    assert received.stanza.get("from") == CAROL
    assert resumer.asked == looked


def test_each_session_has_a_context_of_its_own() -> None:
    """Nothing of TLS is shared between two sessions of the same client, so there is nowhere to resume from."""
    pairs = [Pair().open() for _ in range(2)]
    channels = [side.session._channel for pair in pairs for side in (pair.alice, pair.bob)]
    contexts = [made._connection.get_context() for made in channels if made is not None]
    assert len({id(context) for context in contexts}) == 4
    assert {context.get_session_cache_mode() for context in contexts} == {SSL.SESS_CACHE_OFF}

"""Attack 20: a TLS session is resumed in place of a handshake: into another session of the same peer, or into another's.

Mallory is an honest peer once, keeps what TLS learnt, and offers it as Carol: a resumed handshake shows
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

from tests.pair import Pair, config, has_code, identity, message
from xmpp_e2e import events
from xmpp_e2e.authenticate import fingerprint
from xmpp_e2e.errors import Code
from xmpp_e2e.negotiate.negotiation import Negotiation
from xmpp_e2e.states import State
from xmpp_e2e.tls import connection
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import TLSConnection
from xmpp_e2e.types import Role

MALLORY, CAROL = "mallory@m.test/lair", "carol@c.test/sofa"
FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])
genuine_context = connection._context


def willing(ours: OwnKey) -> SSL.Context:
    """A client's TLS that takes every session that it can get, and any certificate."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_alpn_protos([connection.ALPN])
    context.set_verify(SSL.VERIFY_PEER, lambda *seen: True)
    context.use_certificate(x509.load_der_x509_certificate(ours.certificate))
    key = load_der_private_key(ours.private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    return context


class Resumer:
    """Mallory's TLS, which offers the session of the last connection; Bob's is ours, or (control) a careless one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cache: bool = False) -> None:
        self._kept: Any = None
        self._open: Pair | None = None
        self._contexts: dict[str, SSL.Context] = {}
        self._cache = cache
        self.asked = 0
        """How often Bob's TLS looked at a certificate of Mallory's."""
        genuine = connection.TLSConnection.__init__

        def connect(made: TLSConnection, role: Role, ours: OwnKey, **terms: Any) -> None:
            genuine(made, role, ours, **terms)
            if ours == identity("mallory") and self._kept is not None:
                made._connection.set_session(self._kept)

        monkeypatch.setattr(connection.TLSConnection, "__init__", connect)
        monkeypatch.setattr(connection, "_context", self._context)

    def _context(self, role: Role, ours: OwnKey, expectation: connection._ExpectedCertificate) -> SSL.Context:
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

    def _counting(self, expectation: connection._ExpectedCertificate) -> Callable[..., bool]:
        def verify(*seen: Any) -> bool:
            self.asked += 1
            return expectation.verify(*seen)

        return verify

    def keep(self, pair: Pair) -> None:
        """What Mallory can resume, from a session that is open: OpenSSL forgets one whose connection was dropped."""
        self._open = pair
        assert pair.alice.session._tls is not None
        self._kept = pair.alice.session._tls._connection.get_session()
        assert self._kept is not None


def as_herself(resumer: Resumer, fast: bool) -> Pair:
    """Mallory has a session with Bob, all in order, and keeps what TLS gave."""
    mallory = config("alice", own_jid=MALLORY, own_key=identity("mallory"), fast_open=fast)
    pair = Pair(mallory, config("bob", peer_jid=MALLORY)).open()
    assert pair.alice.session.state is State.OPEN
    pair.bob.session.send_stanza(message("tickets come with data, if at all"))
    resumer.keep(pair.run())
    return pair


def as_carol(fast: bool) -> Pair:
    """She poses as Carol, whose fingerprint stands in the signalling (the server helps), with a key that is not Carol's."""
    terms = config("alice", own_jid=CAROL, own_key=identity("mallory"), fast_open=fast)
    pair = Pair(terms, config("bob", peer_jid=CAROL))
    pair.alice.session._negotiation = Negotiation(
        Role.INITIATOR,
        CAROL,
        terms.peer_jid,
        certificate_digest=identity("carol").certificate_digest,
        methods=("fingerprint",),
        block_size=4096,
        random=terms.random,
    )
    return pair.open()


@FAST
def test_nothing_is_resumed(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the same peer goes through the whole handshake again: the certificate is looked at each time, and keys are new."""
    resumer = Resumer(monkeypatch)
    first = as_herself(resumer, fast)
    looked = resumer.asked
    assert looked
    second = as_herself(resumer, fast)
    assert resumer.asked == 2 * looked
    exporters = [pair.bob.session.handshake_result.exporter for pair in (first, second) if pair.bob.session.handshake_result]
    assert len(set(exporters)) == 2


@FAST
def test_nor_into_somebody_elses_session(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Carol, Mallory has to show a certificate, and it is not the one that was signalled."""
    resumer = Resumer(monkeypatch)
    as_herself(resumer, fast)
    pair = as_carol(fast)
    assert has_code(Code.FINGERPRINT_MISMATCH)(pair.bob.failure)
    assert not pair.bob.of(events.SessionOpened)
    assert not pair.bob.of(events.TLSEstablished)


@FAST
def test_a_resumed_session_would_be_compared_too(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were there a cache that outlives a session, the certificate in it would be compared after the handshake."""
    resumer = Resumer(monkeypatch, cache=True)
    as_herself(resumer, fast)
    looked = resumer.asked
    pair = as_carol(fast)
    assert resumer.asked == looked  # it was resumed: OpenSSL asked nothing
    assert has_code(Code.FINGERPRINT_MISMATCH)(pair.bob.failure)
    assert not pair.bob.of(events.SessionOpened)


@FAST
def test_control_without_any_of_it(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a cache, and without TLS's comparison and the authenticator's, Mallory's words are Carol's, and the key was
    not even asked for."""
    resumer = Resumer(monkeypatch, cache=True)
    as_herself(resumer, fast)
    looked = resumer.asked
    monkeypatch.setattr(connection, "_check_digest", lambda certificate, expected: None)
    monkeypatch.setattr(fingerprint, "hmac", SimpleNamespace(compare_digest=lambda one, other: True))
    pair = as_carol(fast)
    pair.alice.session.send_stanza(message("it is me, Carol"))
    (received,) = pair.run().bob.of(events.StanzaReceived)
    assert received.stanza.get("from") == CAROL
    assert resumer.asked == looked


def test_each_session_has_a_context_of_its_own() -> None:
    """Nothing of TLS is shared between two sessions of the same client, so there is nowhere to resume from."""
    pairs = [Pair().open() for _ in range(2)]
    channels = [side.session._tls for pair in pairs for side in (pair.alice, pair.bob)]
    contexts = [made._connection.get_context() for made in channels if made is not None]
    assert len({id(context) for context in contexts}) == 4
    assert {context.get_session_cache_mode() for context in contexts} == {SSL.SESS_CACHE_OFF}

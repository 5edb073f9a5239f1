"""A channel against real hostile peers: OpenSSL set up to break one rule at a time.

Where OpenSSL already stops an attack by how the channel sets it up, a second test blinds that defence and shows that
the check after the handshake stops it by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from OpenSSL import SSL

from tests.pair import has_code
from xmpp_e2e.errors import Code, TLSFailed
from xmpp_e2e.tls import connection as module
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import ALPN, TLSConnection
from xmpp_e2e.types import Role

CREATED = datetime(2026, 2, 28)
ALICE = OwnKey.create(CREATED)
BOB = OwnKey.create(CREATED)
MALLORY = OwnKey.create(CREATED)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
ROLES = pytest.mark.parametrize("role", [Role.INITIATOR, Role.RESPONDER], ids=["initiator", "responder"])


def key_of(identity: OwnKey) -> Key:
    key = load_der_private_key(identity.private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def certified(key: Key, *, issuer: Key | None = None, padding: int = 0) -> x509.Certificate:
    """A certificate around any key, signed by ``issuer`` or itself, as large as one likes."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anything")])
    issued_by = name if issuer is None else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    signer = issuer or key
    builder = x509.CertificateBuilder(issued_by, name, key.public_key(), 1, CREATED, CREATED + timedelta(days=9999))
    if padding:
        fat = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), bytes(padding))
        builder = builder.add_extension(fat, critical=False)
    return builder.sign(
        signer, None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    )


def authority(key: Key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, CREATED, CREATED + timedelta(days=9999))
    return builder.add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256())


def digest(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


class Hostile:
    """The other end of a channel: OpenSSL without our scruples."""

    def __init__(
        self,
        against: Role,
        key: Key | None = None,
        *chain: x509.Certificate,
        alpn: bytes | None = ALPN,
        version: int = SSL.TLS1_3_VERSION,
        group: ec.EllipticCurve | None = None,
        context: SSL.Context | None = None,
    ) -> None:
        self.looked = 0
        """How often OpenSSL asked what it thinks of a certificate of the channel's."""
        self.secrets: dict[str, bytes] = {}
        """By label, as OpenSSL's key log has them."""
        self.error: SSL.Error | None = None
        self.done = False
        self.context = context or SSL.Context(SSL.TLS_METHOD)
        if context is None:
            self.context.set_min_proto_version(version)
            self.context.set_max_proto_version(version)
            self.context.set_verify(SSL.VERIFY_PEER, self._look)
            self.context.set_keylog_callback(self._log_key)
            if group is not None:
                self.context.set_tmp_ecdh(group)
            if key is not None:
                self.context.use_privatekey(key)
                self.context.use_certificate(chain[0])
                for extra in chain[1:]:
                    self.context.add_extra_chain_cert(extra)
            if alpn is not None and against is Role.INITIATOR:
                self.context.set_alpn_select_callback(lambda connection, offered: alpn)
            elif alpn is not None:
                self.context.set_alpn_protos([alpn])
        self.tls = SSL.Connection(self.context)
        if against is Role.INITIATOR:
            self.tls.set_accept_state()
        else:
            self.tls.set_connect_state()

    def _look(self, connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
        self.looked += 1
        return True

    def _log_key(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.decode().split()
        self.secrets[label] = bytes.fromhex(secret)

    def exchange(self, data: bytes) -> bytes:
        """Take what the channel sent, and answer."""
        if data:
            self.tls.bio_write(data)
        try:
            if not self.done:
                self.tls.do_handshake()
                self.done = True
            while True:
                self.tls.recv(4096)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = error
        try:
            return self.tls.bio_read(2**20)
        except SSL.WantReadError:
            return b""


def as_peer(against: Role, identity: OwnKey, **rules: object) -> Hostile:
    certificate = x509.load_der_x509_certificate(identity.certificate)
    return Hostile(against, key_of(identity), certificate, **rules)  # type: ignore[arg-type]


def victim(role: Role, expected: bytes = MALLORY.certificate_digest, *, require_pq: bool = False) -> TLSConnection:
    """A channel of Alice's that waits for the peer with this certificate."""
    channel = TLSConnection(role, ALICE, require_post_quantum=require_pq)
    channel.start()
    channel.expect_certificate(expected)
    return channel


def duel(channel: TLSConnection, hostile: Hostile) -> TLSFailed | None:
    """Let the two talk until both are silent; how the channel refused, if it did. The peer always hears the alert."""
    refusal = None
    answer = hostile.exchange(channel.data_to_send())
    while answer:
        try:
            channel.receive(answer)
        except TLSFailed as error:
            refusal = error
        answer = hostile.exchange(channel.data_to_send())
        if refusal:
            assert channel.handshake_result is None
            break
    return refusal


def refused(channel: TLSConnection, hostile: Hostile) -> TLSFailed:
    refusal = duel(channel, hostile)
    assert refusal is not None
    return refusal


def heard(hostile: Hostile) -> str:
    """The fatal alert, as the hostile peer's OpenSSL words it."""
    assert isinstance(hostile.error, SSL.Error)
    return " ".join(reason for _, _, reason in hostile.error.args[0])


def loosen(monkeypatch: pytest.MonkeyPatch, change: Callable[[SSL.Context], None]) -> None:
    """Change how channels set OpenSSL up from now on."""
    strict = module._context

    def loose(role: Role, identity: OwnKey, expectation: module._ExpectedCertificate) -> SSL.Context:
        context = strict(role, identity, expectation)
        change(context)
        return context

    monkeypatch.setattr(module, "_context", loose)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL lets a channel's peer pass with any certificate, and with none: only the checks afterwards are left."""
    loosen(monkeypatch, lambda context: context.set_verify(SSL.VERIFY_PEER, lambda *_: True))


@pytest.fixture
def lax(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL lets a channel's peer pass with an older TLS and any application protocol."""
    loosen(monkeypatch, lambda context: context.set_min_proto_version(SSL.TLS1_2_VERSION))
    monkeypatch.setattr(module, "_select_alpn", lambda connection, offered: offered[0])


@ROLES
def test_the_arena_is_fair(role: Role) -> None:
    """The hostile peer that breaks no rule is accepted: what the other tests see is due to the one rule they break."""
    channel, peer = victim(role), as_peer(role, MALLORY)
    assert duel(channel, peer) is None
    assert channel.handshake_result
    assert peer.done
    assert peer.looked


# --- downgrade (attack 10)


@ROLES
def test_tls_1_2_is_refused(role: Role) -> None:
    peer = as_peer(role, MALLORY, version=SSL.TLS1_2_VERSION)
    assert "protocol" in str(refused(victim(role), peer))
    assert not peer.done


@ROLES
@pytest.mark.usefixtures("lax")
def test_tls_1_2_is_refused_afterwards_too(role: Role) -> None:
    peer = as_peer(role, MALLORY, version=SSL.TLS1_2_VERSION)
    assert "TLSv1.2, not TLSv1.3" in str(refused(victim(role), peer))


@ROLES
@pytest.mark.parametrize("alpn", [b"h2", b"xmpp-client", b"xmpp-e2e/10", None])
def test_other_application_protocol_is_refused(role: Role, alpn: bytes | None) -> None:
    peer = as_peer(role, MALLORY, alpn=alpn)
    refused(victim(role), peer)
    assert peer.error


def test_responder_names_the_missing_application_protocol() -> None:
    """The alert is no_application_protocol (RFC 7301 §3.2), before a certificate of ours is shown."""
    peer = as_peer(Role.RESPONDER, MALLORY, alpn=b"h2")
    assert "another application" in str(refused(victim(Role.RESPONDER), peer))
    assert "no application protocol" in heard(peer)
    assert not peer.looked


@pytest.mark.usefixtures("lax")
def test_other_application_protocol_is_refused_afterwards_too() -> None:
    refusal = refused(victim(Role.RESPONDER), as_peer(Role.RESPONDER, MALLORY, alpn=b"h2"))
    assert "did not agree on our application protocol" in str(refusal)


@ROLES
def test_classical_key_exchange_is_refused_by_who_demands_more(role: Role) -> None:
    """A peer that only has a classical group is good enough for most, and refused under ``require_pq``."""
    channel = victim(role)
    assert duel(channel, as_peer(role, MALLORY, group=ec.SECP256R1())) is None
    assert channel.handshake_result
    assert channel.handshake_result.group == "secp256r1"
    peer = as_peer(role, MALLORY, group=ec.SECP256R1())
    assert "secp256r1 is not safe against quantum" in str(refused(victim(role, require_pq=True), peer))
    assert peer.error


@pytest.mark.parametrize("group", ["X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"])
def test_every_hybrid_is_good_enough_for_who_demands_more(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``require_pq`` takes each of the three, whichever a peer's TLS prefers."""
    monkeypatch.setattr(SSL.Connection, "get_group_name", lambda connection: group)
    channel = victim(Role.RESPONDER, require_pq=True)
    assert duel(channel, as_peer(Role.RESPONDER, MALLORY)) is None
    assert channel.handshake_result
    assert channel.handshake_result.group == group


# --- who is it? (attacks 3, 6, 7)


def test_peer_without_certificate_is_refused() -> None:
    peer = Hostile(Role.RESPONDER)
    assert "peer did not return a certificate" in str(refused(victim(Role.RESPONDER), peer))
    assert "certificate required" in heard(peer)


@pytest.mark.usefixtures("blind")
def test_peer_without_certificate_is_refused_afterwards_too() -> None:
    assert "showed no certificate" in str(refused(victim(Role.RESPONDER), Hostile(Role.RESPONDER)))


@ROLES
def test_swapped_certificate_is_refused(role: Role) -> None:
    """A certificate other than the signalled one ends the handshake with a fatal alert."""
    peer = as_peer(role, MALLORY)
    assert has_code(Code.FINGERPRINT_MISMATCH)(refused(victim(role, BOB.certificate_digest), peer))
    assert "alert" in heard(peer)


@ROLES
def test_a_refusal_is_for_good(role: Role) -> None:
    """A certificate that was refused while OpenSSL verified it is the failure of everything afterwards."""
    channel = victim(role, BOB.certificate_digest)
    refused(channel, as_peer(role, MALLORY))
    for act in (channel.start, channel.close, lambda: channel.receive(b"more"), lambda: channel.send(b"more")):
        with pytest.raises(TLSFailed, check=has_code(Code.FINGERPRINT_MISMATCH)):
            act()


def test_initiator_shows_a_stranger_nothing() -> None:
    """The initiator's certificate and Finished do not leave when the responder's certificate is the wrong one."""
    peer = as_peer(Role.INITIATOR, MALLORY)
    refused(victim(Role.INITIATOR, BOB.certificate_digest), peer)
    assert not peer.looked
    assert not peer.done


@ROLES
@pytest.mark.usefixtures("blind")
def test_swapped_certificate_is_refused_afterwards_too(role: Role) -> None:
    assert has_code(Code.FINGERPRINT_MISMATCH)(refused(victim(role, BOB.certificate_digest), as_peer(role, MALLORY)))


@ROLES
def test_new_certificate_around_the_right_key_is_refused(role: Role) -> None:
    """The signalled certificate is meant, not just any with its key."""
    peer = Hostile(role, key_of(MALLORY), certified(key_of(MALLORY)))
    assert has_code(Code.FINGERPRINT_MISMATCH)(refused(victim(role), peer))


@ROLES
def test_chain_is_refused(role: Role) -> None:
    """A certificate that leans on an issuer is refused, though it is the signalled one."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certified(key, issuer=issuer)
    alone = victim(role, digest(leaf))
    assert duel(alone, Hostile(role, key, leaf)) is None
    assert alone.handshake_result
    refusal = refused(victim(role, digest(leaf)), Hostile(role, key, leaf, authority(issuer)))
    assert "chain" in str(refusal)


@ROLES
@pytest.mark.parametrize("extra", ["the same", "a stranger's"])
def test_more_certificates_than_one_are_refused(role: Role, extra: str) -> None:
    """Also those that OpenSSL has no use for, and so never shows to its callback."""
    own = x509.load_der_x509_certificate(MALLORY.certificate)
    another = own if extra == "the same" else authority(ec.generate_private_key(ec.SECP256R1()))
    peer = Hostile(role, key_of(MALLORY), own, another)
    assert "chain" in str(refused(victim(role), peer))


@ROLES
def test_signalled_issuer_does_not_let_its_leaves_pass(role: Role) -> None:
    """The certificate that was signalled must be the peer's own, not that of its issuer."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    peer = Hostile(role, key, certified(key, issuer=issuer), authority(issuer))
    refused(victim(role, digest(authority(issuer))), peer)


@ROLES
def test_own_certificate_is_refused(role: Role) -> None:
    """A peer with our own certificate is a reflection, or a copied identity."""
    peer = as_peer(role, ALICE)
    assert has_code(Code.REFLECTED_KEY)(refused(victim(role, ALICE.certificate_digest), peer))
    assert peer.error


@ROLES
def test_own_key_in_another_certificate_is_refused(role: Role) -> None:
    """It is the key that must not be ours, whatever certificate is around it."""
    certificate = certified(key_of(ALICE))
    peer = Hostile(role, key_of(ALICE), certificate)
    assert has_code(Code.REFLECTED_KEY)(refused(victim(role, digest(certificate)), peer))


@ROLES
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (rsa.generate_private_key(65537, 2048), "RSA"),
        (ec.generate_private_key(ec.SECP384R1()), "EC secp384r1"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
    ],
    ids=["RSA", "P-384", "Ed448"],
)
def test_other_kinds_of_key_are_refused(role: Role, key: Key, kind: str) -> None:
    """Only ECDSA P-256 and Ed25519 keys are accepted, even if the certificate is the signalled one."""
    certificate = certified(key)
    assert f"key is {kind}," in str(refused(victim(role, digest(certificate)), Hostile(role, key, certificate)))


# --- the checks after the handshake, in their order


def test_refused_handshake_fails_for_the_responder_too() -> None:
    """When only the initiator's check after the handshake objects, its Finished is withheld and an alert sent."""
    channel, peer = victim(Role.INITIATOR), as_peer(Role.INITIATOR, MALLORY, alpn=None)
    answer = peer.exchange(channel.data_to_send())
    with pytest.raises(TLSFailed):
        channel.receive(answer)
    alert = channel.data_to_send()
    assert alert == bytes.fromhex("15 0303 0002 02 28")
    peer.exchange(alert)
    assert "alert handshake failure" in heard(peer)
    assert not peer.looked
    assert not peer.done


def test_refused_handshake_is_closed_for_the_initiator() -> None:
    """When only the responder's check objects, the initiator is done already; it hears close_notify and no data."""
    peer = as_peer(Role.RESPONDER, MALLORY, alpn=None)
    refused(victim(Role.RESPONDER), peer)
    assert isinstance(peer.error, SSL.ZeroReturnError)


@ROLES
@pytest.mark.usefixtures("blind", "lax")
def test_checks_run_in_the_order_of_the_protocol(role: Role) -> None:
    """With everything wrong at once the errors are: protocol, ALPN, no certificate, our own key, digest, group."""
    wrong = BOB.certificate_digest
    classical = ec.SECP256R1()
    old = as_peer(role, ALICE, version=SSL.TLS1_2_VERSION, alpn=None)
    assert "not TLSv1.3" in str(refused(victim(role, wrong, require_pq=True), old))
    silent = as_peer(role, ALICE, alpn=None, group=classical) if role is Role.INITIATOR else Hostile(role, alpn=None)
    assert "application protocol" in str(refused(victim(role, wrong, require_pq=True), silent))
    own = as_peer(role, ALICE, group=classical)
    assert has_code(Code.REFLECTED_KEY)(refused(victim(role, wrong, require_pq=True), own))
    other = as_peer(role, MALLORY, group=classical)
    assert has_code(Code.FINGERPRINT_MISMATCH)(refused(victim(role, wrong, require_pq=True), other))
    right = as_peer(role, MALLORY, group=classical)
    assert "quantum" in str(refused(victim(role, require_pq=True), right))


# --- endless handshakes (attack 14)


@ROLES
def test_giant_certificate(role: Role) -> None:
    """A certificate as large as OpenSSL would take is too large for us, however much comes at a time."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certified(key, padding=80_000)
    refusal = refused(victim(role, digest(certificate)), Hostile(role, key, certificate))
    assert "finished no handshake" in str(refusal)


# --- resumption (attack 20)


def resumes(monkeypatch: pytest.MonkeyPatch, context: SSL.Context | None = None) -> bool:
    """Does a client that offers the session of an earlier channel skip the certificates of the second one?"""
    if context is not None:
        monkeypatch.setattr(module, "_context", lambda *_: context)
    channel, again = victim(Role.RESPONDER), victim(Role.RESPONDER)
    first = as_peer(Role.RESPONDER, MALLORY)
    assert duel(channel, first) is None
    session = first.tls.get_session()
    assert session is not None
    looked = first.looked
    second = as_peer(Role.RESPONDER, MALLORY, context=first.context)
    second.tls.set_session(session)
    assert duel(again, second) is None
    assert channel.handshake_result
    assert again.handshake_result
    return first.looked == looked


def shared_context() -> SSL.Context:
    """What no two channels ever have: one context for both, fit to resume except for what ours is told."""
    expectation = module._ExpectedCertificate()
    expectation.digest = MALLORY.certificate_digest
    context = module._context(Role.RESPONDER, ALICE, expectation)
    context.set_session_id(b"shared")
    return context


def test_responder_resumes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that offers the session of an earlier channel goes through the whole handshake again."""
    assert not resumes(monkeypatch)


def test_responder_would_resume_nothing_in_a_shared_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if two channels shared a context, there would be no cache in it to resume from."""
    assert not resumes(monkeypatch, shared_context())


def test_resumption_is_what_a_cache_would_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a shared context and a cache the same client resumes, and no certificate is looked at."""
    context = shared_context()
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    assert resumes(monkeypatch, context)


def test_initiator_resumes_nothing() -> None:
    """A server that hands out tickets does not get them back: a second channel goes through the whole handshake."""
    first = as_peer(Role.INITIATOR, MALLORY)
    assert duel(victim(Role.INITIATOR), first) is None
    looked = first.looked
    channel = victim(Role.INITIATOR)
    assert duel(channel, as_peer(Role.INITIATOR, MALLORY, context=first.context)) is None
    assert channel.handshake_result
    assert first.looked == 2 * looked

"""Attack 25: the man in the middle searches for nonces, or keys, with which both people see the same short string.

There is one try in each run, at odds of 2⁻ⁿ, since the initiator has committed to a nonce before it sees the responder's.
Here the people compare a few bits only, so that the odds can be counted, and the search of the controls is short.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import replace

import pytest
from OpenSSL import SSL

from tests.conversation import End, evidence
from tests.pair import identity
from xmpp_e2e.authenticate import sas
from xmpp_e2e.authenticate.base import ChannelBinding, Proof
from xmpp_e2e.authenticate.sas import SasAuthenticator, sas_code
from xmpp_e2e.encoding import length_prefixed, split_length_prefixed
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.tls import connection
from xmpp_e2e.tls.connection import TLSConnection
from xmpp_e2e.types import Role

BITS = 4
RUNS = 2000
SEARCHED_BITS = 12
SAS = SasAuthenticator()
NEAR, FAR = b"of alice and mallory", b"of mallory and bob"
"""The two connections."""


def bits(code: bytes, count: int) -> int:
    """The first of them: what people are shown."""
    return int.from_bytes(code) >> 8 * len(code) - count


class Mallory:
    """To Alice they are the responder, to Bob the initiator; ``run`` numbers the attempts."""

    def __init__(self, run: int) -> None:
        self.dice = random.Random(run)
        self.alice = End(SAS, evidence(Role.INITIATOR, NEAR, run))
        self.bob = End(SAS, evidence(Role.RESPONDER, FAR, run))
        self.near, self.far = self.alice.evidence, self.bob.evidence

    def finish_with_alice(self) -> bytes:
        """Play it with Alice; what Alice sees."""
        self.alice.said.clear()  # the commitment, which says nothing
        self.alice.hear(length_prefixed(self.dice.randbytes(32)))
        return self.alice.code

    def open_with_bob(self, commitment: bytes) -> bytes:
        """Commit to something; Bob's nonce."""
        self.bob.hear(length_prefixed(commitment))
        (nonce,) = split_length_prefixed(self.bob.said.popleft())
        return nonce

    @property
    def fooled(self) -> bool:
        """Do both see the same?"""
        return bits(self.alice.code, BITS) == bits(self.bob.code, BITS)


def alice_first(mallory: Mallory) -> None:
    """Mallory knows what Alice sees before committing to anything with Bob, whose nonce is unknown."""
    mallory.finish_with_alice()
    nonce = mallory.dice.randbytes(32)
    mallory.open_with_bob(sas._commitment(mallory.far, nonce))
    mallory.bob.hear(length_prefixed(nonce))


def bob_first(mallory: Mallory) -> None:
    """Mallory knows what Bob will see before answering Alice, whose nonce is unknown: one is guessed, and another fitted."""
    nonce = mallory.dice.randbytes(32)
    bobs = mallory.open_with_bob(sas._commitment(mallory.far, nonce))
    mallory.bob.hear(length_prefixed(nonce))
    seen, guessed = bits(sas_code(mallory.far, nonce, bobs), BITS), mallory.dice.randbytes(32)
    answer = mallory.dice.randbytes(32)
    while bits(sas_code(mallory.near, guessed, answer), BITS) != seen:
        answer = mallory.dice.randbytes(32)
    mallory.alice.hear(length_prefixed(answer))


@pytest.mark.parametrize("order", [alice_first, bob_first])
def test_the_odds_are_those_of_guessing(order: object) -> None:
    """Whichever side is finished first: of 2000 runs at 4 bits about one in 16 deceives both, within five deviations."""
    assert callable(order)
    successes = 0
    for run in range(RUNS):
        mallory = Mallory(run)
        order(mallory)
        successes += mallory.fooled
    expected = RUNS / 2**BITS
    deviation = (expected * (1 - 2**-BITS)) ** 0.5
    assert abs(successes - expected) < 5 * deviation


def fitted(mallory: Mallory, bobs: bytes, wanted: int) -> bytes:
    """A nonce of the initiator with which Bob sees the first bits of ``wanted``."""
    while bits(sas_code(mallory.far, nonce := mallory.dice.randbytes(32), bobs), SEARCHED_BITS) != wanted:
        pass
    return nonce


def test_a_nonce_that_was_not_committed_to_is_refused() -> None:
    """Mallory commits to one nonce, learns Bob's, and opens another that fits: Bob's client shows nothing."""
    mallory = Mallory(1)
    seen = bits(mallory.finish_with_alice(), SEARCHED_BITS)
    bobs = mallory.open_with_bob(sas._commitment(mallory.far, bytes(32)))
    mallory.bob.hear(length_prefixed(fitted(mallory, bobs, seen)))
    assert isinstance(mallory.bob.outcome, AuthenticationFailed)
    assert not mallory.bob.asked


def test_control_without_a_commitment_he_always_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a commitment that commits to nothing lets Mallory fit the nonce, at 12 bits in a moment."""
    monkeypatch.setattr(sas, "_commitment", lambda evidence, nonce: bytes(32))
    for run in range(3):
        mallory = Mallory(run)
        seen = bits(mallory.finish_with_alice(), SEARCHED_BITS)
        bobs = mallory.open_with_bob(bytes(32))
        mallory.bob.hear(length_prefixed(fitted(mallory, bobs, seen)))
        assert isinstance(mallory.alice.outcome, Proof)
        assert isinstance(mallory.bob.outcome, Proof)
        assert bits(mallory.bob.code, SEARCHED_BITS) == bits(mallory.alice.code, SEARCHED_BITS)


# --- what must not be done -------------------------------------------------------------------------------------------


def handshake() -> bytes:
    """The exporter of an honest connection of Mallory's with Bob."""
    one, other = TLSConnection(Role.INITIATOR, identity("mallory")), TLSConnection(Role.RESPONDER, identity("bob"))
    one.expect_certificate(identity("bob").certificate_digest)
    other.expect_certificate(identity("mallory").certificate_digest)
    one.start()
    while data := one.data_to_send():
        other.receive(data)
        if answer := other.data_to_send():
            one.receive(answer)
    assert one.handshake_result is not None
    return one.handshake_result.exporter


def searched(client_hello: bytes, wanted: int) -> tuple[SSL.Connection, bytes]:
    """A TLS server of Mallory's, and its flight, chosen of as many as it takes: Alice has said the only word, and hears the
    last answer alone. After its Finished a server knows the exporter (RFC 8446 §7.1)."""
    expectation = connection._ExpectedCertificate()
    expectation.digest = identity("alice").certificate_digest
    context = connection._context(Role.RESPONDER, identity("mallory"), expectation)
    while True:
        server = SSL.Connection(context)
        server.set_accept_state()
        server.bio_write(client_hello)
        with pytest.raises(SSL.WantReadError):
            server.do_handshake()
        flight = connection._written(server)
        exporter = server.export_keying_material(connection._EXPORTER_LABEL, connection._EXPORTER_BYTES, b"")
        if bits(exporter_only(exporter), SEARCHED_BITS) == wanted:
            return server, flight


def exporter_only(exporter: bytes) -> bytes:
    """A string made of the TLS exporter alone."""
    return hmac.digest(exporter, b"short string", "sha256")[:8]


def test_strings_of_the_exporter_alone_are_forged_and_ours_are_not() -> None:
    """With real TLS Mallory tries flights in private until the first 12 bits are those that Bob sees, and sends that one:
    Alice sees the same string, in the first and only session. The genuine string takes nonces of both, and is another."""
    far = handshake()
    wanted = bits(exporter_only(far), SEARCHED_BITS)
    alice = TLSConnection(Role.INITIATOR, identity("alice"))
    alice.expect_certificate(identity("mallory").certificate_digest)
    alice.start()
    server, flight = searched(alice.data_to_send(), wanted)
    alice.receive(flight)
    server.bio_write(alice.data_to_send())
    server.do_handshake()
    assert alice.handshake_result is not None
    near = alice.handshake_result.exporter
    assert near != far
    assert bits(exporter_only(near), SEARCHED_BITS) == wanted
    codes = [genuine(exporter) for exporter in (near, far)]
    assert codes[0] != codes[1]


def genuine(exporter: bytes) -> bytes:
    """What the method itself shows at the ends of that connection."""
    known: ChannelBinding = evidence(Role.INITIATOR)
    dice = random.Random(1)
    bound = replace(known, exporter=exporter)
    return sas_code(bound, dice.randbytes(32), dice.randbytes(32))

"""SRP: the arithmetic is that of RFC 5054, numbers that give a key away are refused, and each run is one guess."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.conversation import End, converse, ends, evidence, secret_of
from tests.pair import has_code
from xmpp_e2e.authenticate.base import AttemptStarted, AttemptSucceeded, Proof, SecretNeeded
from xmpp_e2e.authenticate.srp import SrpAuthenticator
from xmpp_e2e.authenticate.srp import _srp as library
from xmpp_e2e.encoding import length_prefixed, split_length_prefixed
from xmpp_e2e.errors import Code, LocalError
from xmpp_e2e.types import Role

SRP = SrpAuthenticator()
MODULUS, _ = library.get_ng(library.NG_4096, None, None)


def number(text: str) -> int:
    return int("".join(text.split()), 16)


SALT = bytes.fromhex("BEB25379D1A8581EB5A727673A2441EE")
A = number("60975527 035CF2AD 1989806F 0407210B C81EDC04 E2762A56 AFD529DD DA2D4393")
B = number("E487CB59 D31AC550 471E81F0 0F6928E0 1DDA08E9 74A004F4 9E61F5D1 05284D20")
X = number("94B7555A ABE9127C C58CCF49 93DB6CF8 4D16C124")
PUBLIC_A = number("""
    61D5E490 F6F1B795 47B0704C 436F523D D0E560F0 C64115BB 72557EC4 4352E890 3211C046 92272D8B 2D1A5358 A2CF1B6E
    0BFCF99F 921530EC 8E393561 79EAE45E 42BA92AE ACED8251 71E1E8B9 AF6D9C03 E1327F44 BE087EF0 6530E69F 66615261
    EEF54073 CA11CF58 58F0EDFD FE15EFEA B349EF5D 76988A36 72FAC47B 0769447B
""")
PREMASTER = number("""
    B0DC82BA BCF30674 AE450C02 87745E79 90A3381F 63B387AA F271A10D 233861E3 59B48220 F7C4693C 9AE12B0A 6F67809F
    0876E2D0 13800D6C 41BB59B6 D5979B5C 00A172B4 A2A5903A 0BDCAF8A 709585EB 2AFAFA8F 3499B200 210DCC1F 10EB3394
    3CD67FC8 8A2F39A4 BE5BEC4E C0A3212D C346D7E4 74B29EDE 8A469FFE CA686E5A
""")


def test_the_arithmetic_is_that_of_rfc_5054() -> None:
    """Appendix B, by the functions that the authenticator uses, in the group and with the hash of the RFC."""
    terms: dict[str, Any] = {"hash_alg": library.SHA1, "ng_type": library.NG_1024}
    assert library.gen_x(hashlib.sha1, SALT, "alice", "password123") == X
    modulus, generator = library.get_ng(library.NG_1024, None, None)
    verifier = library.long_to_bytes(pow(generator, X, modulus))
    user = library.User("alice", "password123", bytes_a=A.to_bytes(256), **terms)
    server = library.Verifier("alice", SALT, verifier, PUBLIC_A.to_bytes(128), bytes_b=B.to_bytes(256), **terms)
    assert int.from_bytes(user.start_authentication()[1]) == PUBLIC_A
    _, public_b = server.get_challenge()
    assert user.process_challenge(SALT, public_b) is not None
    server._derive_H_AMK()
    assert user.S == server.S == PREMASTER


@pytest.mark.parametrize("bad", [0, MODULUS, 2 * MODULUS, 1 << 4200], ids=["0", "N", "2N", "longer"])
@pytest.mark.parametrize("role", list(Role))
def test_a_number_that_gives_the_key_away_is_refused(role: Role, bad: int) -> None:
    """Whatever the secret is, such an A or B makes the key one that everybody knows (RFC 5054 §2.5.3, §2.5.4)."""
    end = End(SRP, evidence(role), secret_of(SRP))
    spelt = bad.to_bytes(max(1, (bad.bit_length() + 7) // 8))
    end.said.clear()
    end.hear(length_prefixed(spelt) if role is Role.RESPONDER else length_prefixed(bytes(16), spelt))
    assert has_code(Code.PROOF_FAILED)(end.outcome)
    assert not end.said


@pytest.mark.parametrize("role", list(Role))
def test_a_number_is_spelt_in_one_way(role: Role) -> None:
    """A leading zero would be a second way to write the same."""
    end = End(SRP, evidence(role), secret_of(SRP))
    end.hear(length_prefixed(b"\0\x02") if role is Role.RESPONDER else length_prefixed(bytes(16), b"\0\x02"))
    assert has_code(Code.PROOF_FAILED)(end.outcome)


def test_the_salt_has_16_bytes() -> None:
    for length in (15, 17):
        end = End(SRP, evidence(Role.INITIATOR), secret_of(SRP))
        end.hear(length_prefixed(bytes(length), b"\x02"))
        assert has_code(Code.PROOF_FAILED)(end.outcome)


def test_a_right_guess_is_returned() -> None:
    """Each side counts it before the other can learn whether it is right, and takes it back."""
    one, other = ends(SRP)
    converse(one, other)
    for end in (one, other):
        assert [type(question) for question in end.asked] == [SecretNeeded, AttemptStarted, AttemptSucceeded]


def test_a_wrong_guess_is_counted_on_both_sides() -> None:
    one, other = ends(SRP, secret=hashlib.sha256(b"another").digest())
    converse(one, other)
    assert [type(question) for question in one.asked[1:]] == [AttemptStarted]
    assert [type(question) for question in other.asked[1:]] == [AttemptStarted]
    assert has_code(Code.PROOF_FAILED)(other.outcome)
    assert not other.said


def test_a_peer_who_goes_after_the_tag_keeps_the_guess() -> None:
    """Whoever learnt whether the guess was right, and says no more, is counted."""
    one, other = ends(SRP)
    converse(one, other, lambda role, count, payload: payload if (role, count) != (Role.INITIATOR, 1) else b"")
    assert AttemptStarted("srp") in one.asked
    assert AttemptSucceeded("srp") not in one.asked


def test_a_password_must_be_stretched() -> None:
    end = End(SRP, evidence(Role.INITIATOR), b"password")
    assert isinstance(end.outcome, LocalError)


def test_each_run_has_numbers_of_its_own() -> None:
    steps = set()
    for seed in (1, 2):
        one, _ = ends(SRP)
        end = End(SRP, evidence(Role.INITIATOR, seed=seed), secret_of(SRP))
        steps.add(split_length_prefixed(end.said[0])[0])
        assert not isinstance(one.outcome, Proof)
    assert len(steps) == 2


def test_what_the_library_refuses_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """u = 0, which nobody will ever see by chance, is refused by the library, and so here."""
    monkeypatch.setattr(library.User, "process_challenge", lambda *_: None)
    one, other = ends(SRP)
    converse(one, other)
    assert has_code(Code.PROOF_FAILED)(one.outcome)
    assert other.outcome is None

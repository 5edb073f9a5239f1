"""Attack 34: one run with somebody who knows the password, and then a dictionary is searched at leisure.

``srp`` gives whoever is at the other end one guess and nothing to search: the responder says nothing that depends on the key
before it has seen that the initiator knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conversation import End, evidence
from tests.pair import has_code
from xmpp_e2e.authenticate import srp as module
from xmpp_e2e.authenticate.base import (
    AttemptStarted,
    AttemptSucceeded,
    ChannelBinding,
    Effect,
    Proof,
)
from xmpp_e2e.authenticate.proof_exchange import TAG_BYTES, ProofExchange
from xmpp_e2e.authenticate.psk import PskAuthenticator
from xmpp_e2e.authenticate.srp import SrpAuthenticator, _srp
from xmpp_e2e.encoding import length_prefixed, split_length_prefixed
from xmpp_e2e.errors import Code
from xmpp_e2e.types import Assurance, Role

PASSWORD = "hunter2"
DICTIONARY = ("123456", "letmein", PASSWORD, "qwerty", "swordfish")
EPHEMERAL = hashlib.sha512(b"mallory").digest() * 4
"""Mallory's own secret number, 256 bytes."""
SALT = bytes(range(16))


def derive_srp_secret(password: str) -> bytes:
    """Stands for Argon2id."""
    return hashlib.sha256(password.encode()).digest()


@dataclass
class Mallory:
    """Poses as one end, and keeps what was said."""

    evidence: ChannelBinding
    method: str = "srp"
    log: list[tuple[Role, bytes]] = field(default_factory=list)

    def said(self, role: Role, payload: bytes) -> bytes:
        self.log.append((role, payload))
        return payload

    def search(self, key_of: Callable[[str], bytes], tag_of: Role) -> list[str]:
        """The words that fit: whose key makes any of what ``tag_of`` said a tag of theirs over what was said before."""
        found = []
        for at, (role, payload) in enumerate(self.log):
            if role is tag_of and [len(each) for each in split_length_prefixed(payload)] == [TAG_BYTES]:
                tags = {word: self.tag(key_of(word), tag_of, self.log[:at]) for word in DICTIONARY}
                found += [word for word, tag in tags.items() if length_prefixed(tag) == payload]
        return found

    def tag(self, key: bytes, role: Role, before: Iterable[tuple[Role, bytes]]) -> bytes:
        """What ``role`` would show with ``key``."""
        dialogue = ProofExchange(self.method, self.evidence)
        for speaker, payload in before:
            dialogue._note(speaker, payload)
        return dialogue._tag(key, role)


# --- they call ------------------------------------------------------------------------------------------------------


def ask_bob() -> tuple[Mallory, End, Callable[[str], bytes]]:
    """Mallory begins a run with Bob, and says a wrong tag; what a password would have made the key."""
    mallory = Mallory(evidence(Role.INITIATOR))
    bob = End(SrpAuthenticator(), evidence(Role.RESPONDER), derive_srp_secret(PASSWORD))

    def user(word: str) -> Any:
        return _srp.User(module._USER, derive_srp_secret(word), bytes_a=EPHEMERAL, **module._GROUP)

    _, ours = user("").start_authentication()
    bob.hear(mallory.said(Role.INITIATOR, length_prefixed(ours)))
    salt, theirs = split_length_prefixed(mallory.said(Role.RESPONDER, bob.said.popleft()))

    def key_of(word: str) -> bytes:
        guesser = user(word)
        guesser.process_challenge(salt, theirs)
        key: bytes = guesser.K
        return key

    while bob.said:
        mallory.said(Role.RESPONDER, bob.said.popleft())
    if bob.waits:
        bob.hear(mallory.said(Role.INITIATOR, length_prefixed(bytes(TAG_BYTES))))
    while bob.said:
        mallory.said(Role.RESPONDER, bob.said.popleft())
    return mallory, bob, key_of


def test_who_calls_has_nothing_to_search() -> None:
    """Bob says the number and, after a wrong tag, nothing at all; it was one guess, and is counted as one."""
    mallory, bob, key_of = ask_bob()
    assert has_code(Code.PROOF_FAILED)(bob.outcome)
    assert [role for role, _ in mallory.log].count(Role.RESPONDER) == 1
    assert mallory.search(key_of, Role.RESPONDER) == []
    assert [type(question) for question in bob.asked].count(AttemptStarted) == 1
    assert AttemptSucceeded not in [type(question) for question in bob.asked]


def eager(self: ProofExchange, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Effect, bytes, Proof]:
    """The responder shows that it knows the key before the initiator has."""
    yield from self.send(self._tag(key, Role.RESPONDER))
    yield from self._expect(self._tag(key, Role.INITIATOR))
    raise AssertionError("Mallory's tag is wrong")


def polite(self: ProofExchange, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Effect, bytes, Proof]:
    """The responder answers with a tag whether or not the initiator's was right."""
    yield from self.receive(range(TAG_BYTES, TAG_BYTES + 1))
    yield from self.send(self._tag(key, Role.RESPONDER))
    raise self.failure()


@pytest.mark.parametrize("confirm", [eager, polite])
def test_control_who_confirms_first_gives_a_dictionary(monkeypatch: pytest.MonkeyPatch, confirm: object) -> None:
    """Control: with a tag of Bob's one run is enough to find the password offline."""
    monkeypatch.setattr(ProofExchange, "confirm_key", confirm)
    mallory, _, key_of = ask_bob()
    assert mallory.search(key_of, Role.RESPONDER) == [PASSWORD]


# --- they answer ----------------------------------------------------------------------------------------------------


def answer_alice(guess: str) -> tuple[Mallory, End, Callable[[str], bytes]]:
    """Mallory, who guesses ``guess``, answers a run of Alice's, who says the tag."""
    mallory = Mallory(evidence(Role.RESPONDER))
    alice = End(SrpAuthenticator(), evidence(Role.INITIATOR), derive_srp_secret(PASSWORD))
    (theirs,) = split_length_prefixed(mallory.said(Role.INITIATOR, alice.said.popleft()))

    def verifier(word: str) -> int:
        exponent: int = _srp.gen_x(hashlib.sha256, SALT, module._USER, derive_srp_secret(word))
        return pow(5, exponent, int(module._MODULUS))

    def server(word: str) -> Any:
        value = _srp.long_to_bytes(verifier(word))
        return _srp.Verifier(module._USER, SALT, value, theirs, bytes_b=EPHEMERAL, **module._GROUP)

    _, ours = server(guess).get_challenge()
    alice.hear(mallory.said(Role.RESPONDER, length_prefixed(SALT, ours)))
    mallory.said(Role.INITIATOR, alice.said.popleft())

    def key_of(word: str) -> bytes:
        """(A v^u)^b, the best that they can do for a word: their number was made with the guess."""
        scramble = int.from_bytes(hashlib.sha256(theirs.rjust(512, b"\0") + ours.rjust(512, b"\0")).digest())
        base = int.from_bytes(theirs) * pow(verifier(word), scramble, module._MODULUS)
        shared = pow(base, int.from_bytes(EPHEMERAL), module._MODULUS)
        return hashlib.sha256(_srp.long_to_bytes(shared)).digest()

    return mallory, alice, key_of


def test_who_answers_has_one_guess() -> None:
    """Alice's tag tells them whether the guess was right, and nothing of any other word, the right one included. Alice counted
    the guess before the tag, and they cannot undo that by going away."""
    mallory, alice, key_of = answer_alice("letmein")
    assert mallory.search(key_of, Role.INITIATOR) == []
    assert [type(question) for question in alice.asked].count(AttemptStarted) == 1
    assert AttemptSucceeded not in [type(question) for question in alice.asked]


def test_control_the_one_guess_is_a_guess() -> None:
    """Control: the search would find the password if it were the guess."""
    mallory, _, key_of = answer_alice(PASSWORD)
    assert mallory.search(key_of, Role.INITIATOR) == [PASSWORD]


def test_control_a_password_as_a_key_is_found() -> None:
    """Control: in ``psk``, which is for generated keys, the first tag is all that a search needs; so a short one is refused."""
    mallory = Mallory(evidence(Role.RESPONDER), "psk")
    alice = End(PskAuthenticator(), evidence(Role.INITIATOR), derive_srp_secret(PASSWORD))
    mallory.said(Role.INITIATOR, alice.said.popleft())
    assert mallory.search(derive_srp_secret, Role.INITIATOR) == [PASSWORD]
    weak = End(PskAuthenticator(), evidence(Role.INITIATOR), PASSWORD.encode())
    assert not weak.said
    assert not isinstance(weak.outcome, Proof)

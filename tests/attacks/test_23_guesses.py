"""Attack 23: passwords are guessed, one run after the other, or by numbers with which no password matters.

A run is one guess, which the host counts (five in a row lock it); a number that makes the key known to everybody is refused
before it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator

import pytest

from tests.attacks.proof_mitm import SECRETS, disable_proofs, proved, run_attempts, step, terms
from tests.attacks.test_34_dictionary import Mallory
from tests.conversation import End, evidence
from tests.pair import Pair, config, has_code, talk
from xmpp_e2e import events
from xmpp_e2e.authenticate import srp as module
from xmpp_e2e.authenticate.base import (
    AttemptStarted,
    AttemptSucceeded,
    Effect,
    Proof,
)
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.authenticate.srp import SrpAuthenticator, _srp
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import Code
from xmpp_e2e.states import State
from xmpp_e2e.types import Role

N = int(module._MODULUS)
SALT = bytes(range(16))


def spelt(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


NUMBERS = {
    "nothing": b"",
    "zero": b"\0",
    "N": spelt(N),
    "2N": spelt(2 * N),
    "3N": spelt(3 * N),
    "above N": spelt(N + 5),
    "a leading zero": b"\0" + spelt(12345),
    "513 bytes": b"\x01" + bytes(512),
}
DEGENERATE = pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())


def guesses(pair: Pair, role: Role) -> list[type]:
    """What a host was told to count."""
    return [type(event.prompt) for event in pair.side(role).of(events.PromptRequested)]


def rogue(role: Role) -> Pair:
    """``role`` knows no password and says their own steps; the other side needs the proof."""
    sides = {each: terms() if each is role else terms("srp") for each in Role}
    pair = Pair(config("alice", **sides[Role.INITIATOR]), config("bob", **sides[Role.RESPONDER]))
    disable_proofs(pair.side(role).session)
    return run_attempts(pair.open(), pair.side(role.other))


@DEGENERATE
@pytest.mark.parametrize("role", list(Role))
def test_a_number_that_is_none_ends_it(role: Role, number: bytes) -> None:
    """A or B that is 0 modulo N, too long, or spelt in another way: the victim ends it, shows no tag and counts no guess."""
    pair = rogue(role)
    fields = (number,) if role is Role.INITIATOR else (SALT, number)
    run_attempts(pair.says(role, step("srp", length_prefixed(*fields))), pair.side(role.other))
    victim = pair.side(role.other)
    assert has_code(Code.PROOF_FAILED)(victim.failure)
    assert victim.session.state is State.CLOSED
    assert not proved(victim)
    assert guesses(pair, role.other) == []
    said = 0 if role is Role.INITIATOR else 1  # a responder has answered nothing, an initiator has said A
    heard = talk(pair.side(role).session)._verifications._messages
    assert heard == said


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_salt_has_one_size(size: int) -> None:
    """A salt that is empty or another's size is none."""
    pair = rogue(Role.RESPONDER)
    pair.says(Role.RESPONDER, step("srp", length_prefixed(bytes(size), spelt(12345))))
    assert has_code(Code.PROOF_FAILED)(pair.alice.failure)


TAGS = {
    "nothing": b"",
    "empty": length_prefixed(b""),
    "a salt": length_prefixed(SALT),
    "short": length_prefixed(bytes(31)),
    "long": length_prefixed(bytes(33)),
    "two": length_prefixed(bytes(32), b""),
    "no fields": b"\xff",
}


@pytest.mark.parametrize("payload", TAGS.values(), ids=TAGS.keys())
def test_a_tag_that_is_none(payload: bytes) -> None:
    """The last word of a responder who knows nothing, an empty one too, convinces nobody."""
    pair = rogue(Role.RESPONDER)
    run_attempts(pair.says(Role.RESPONDER, step("srp", length_prefixed(SALT, spelt(12345)))), pair.alice)
    assert guesses(pair, Role.INITIATOR) == [AttemptStarted]
    pair.says(Role.RESPONDER, step("srp", payload))
    assert has_code(Code.PROOF_FAILED)(pair.alice.failure)
    assert not proved(pair.alice)


@pytest.mark.parametrize("guesser", list(Role))
def test_a_session_is_one_guess(guesser: Role) -> None:
    """Three sessions with three passwords: the honest side is told to count each, once, and none is taken back."""
    for attempt in range(3):
        wrong = terms(shared_secrets={"srp": hashlib.sha256(b"%d" % attempt).digest()})
        sides = {each: wrong if each is guesser else terms("srp") for each in Role}
        pair = run_attempts(Pair(config("alice", **sides[Role.INITIATOR]), config("bob", **sides[Role.RESPONDER])).open())
        victim = pair.side(guesser.other)
        assert guesses(pair, guesser.other) == [AttemptStarted]
        assert not victim.of(events.SessionOpened)
        assert victim.session.state is State.CLOSED


def test_a_right_password_is_no_guess() -> None:
    """Each takes back what it has counted."""
    pair = run_attempts(Pair(config("alice", **terms("srp")), config("bob", **terms())).open())
    assert pair.alice.session.state is State.OPEN
    for role in Role:
        assert guesses(pair, role) == [AttemptStarted, AttemptSucceeded]


def test_a_responder_counts_before_he_looks() -> None:
    """Until the host has said that it is stored, nobody learns whether the tag was right: not even in another session."""
    pair = Pair(config("alice", **terms("srp")), config("bob", **terms())).open()
    pair.alice.session.answer_prompt(b"", pair.now)
    pair.run()
    assert isinstance(pair.bob.session.pending_prompt, AttemptStarted)
    assert not proved(pair.bob)


# --- control ---------------------------------------------------------------------------------------------------------


def naive(dialogue: ProofExchange, stretched: bytes, random: Callable[[int], bytes]) -> Generator[Effect, bytes, bytes]:
    """The responder's arithmetic without a look at A: S = (A v^u)^b."""
    (theirs,) = yield from dialogue.receive(range(1, 520))
    verifier, secret = pow(5, int.from_bytes(stretched), N), int.from_bytes(random(256))
    yield from dialogue.send(SALT, spelt((verifier + pow(5, secret, N)) % N))
    return hashlib.sha256(spelt(pow(int.from_bytes(theirs) * pow(verifier, 7, N), secret, N))).digest()


@pytest.mark.parametrize("number", [b"\0", spelt(N), spelt(2 * N)], ids=["zero", "N", "2N"])
def test_control_whoever_says_zero_knows_the_key(monkeypatch: pytest.MonkeyPatch, number: bytes) -> None:
    """Control: a responder who does not look is convinced by somebody who knows no password: the key is that of S = 0."""
    monkeypatch.setattr(module, "_as_responder", naive)
    mallory = Mallory(evidence(Role.INITIATOR))
    bob = End(SrpAuthenticator(), evidence(Role.RESPONDER), SECRETS["srp"])
    bob.hear(mallory.said(Role.INITIATOR, length_prefixed(number)))
    mallory.said(Role.RESPONDER, bob.said.popleft())
    known = hashlib.sha256(_srp.long_to_bytes(0)).digest()
    bob.hear(length_prefixed(mallory.tag(known, Role.INITIATOR, mallory.log)))
    assert isinstance(bob.outcome, Proof)

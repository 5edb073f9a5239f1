"""Attack 49: a key is announced as the successor of Alice's by somebody who must not, or again when it is over.

Mallory owns the servers, so her session comes from Alice's address. She has a key of her own, and every statement that was
ever told to a peer. Without Alice's old key none of it counts; with it, an announcement succeeds, and is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.pair import ALICE, Pair, config, has_code, identity, remembers
from xmpp_e2e import events
from xmpp_e2e.errors import Code
from xmpp_e2e.inner import elements, key_assessment
from xmpp_e2e.states import State
from xmpp_e2e.tls.rotation import Rotation, find_rotation
from xmpp_e2e.types import Assurance, Fingerprint, KnownKeys, Role

ACCOUNT = ALICE.partition("/")[0]
OLD, NEW, MALLORY = (identity(name) for name in ("alice", "alice 2", "mallory"))
GENUINE = Rotation.sign(ACCOUNT, OLD, NEW)
PINNED = remembers("alice", Assurance.VERIFIED, "pin")

Found = tuple[Fingerprint, Fingerprint] | None
Judge = Callable[[tuple[Rotation, ...], KnownKeys, str, Fingerprint], Found]


def of_any_session(rotations: tuple[Rotation, ...], known: KnownKeys, account: str, shown: Fingerprint) -> Found:
    """The judgement without the look at the key of the session."""
    return find_rotation(rotations, known, account, rotations[-1].new_key) if rotations else None


def of_any_account(rotations: tuple[Rotation, ...], known: KnownKeys, account: str, shown: Fingerprint) -> Found:
    """The judgement without the look at the account."""
    return find_rotation(rotations, known, rotations[-1].account, shown) if rotations else None


def of_forgotten_keys(rotations: tuple[Rotation, ...], known: KnownKeys, account: str, shown: Fingerprint) -> Found:
    """The judgement without the look at the history."""
    return find_rotation(rotations, replace(known, forgotten=frozenset()), account, shown)


def of_any_level(rotations: tuple[Rotation, ...], known: KnownKeys, account: str, shown: Fingerprint) -> Found:
    """The judgement without the demand that the old key is verified."""
    raised = tuple(replace(key, assurance=Assurance.VERIFIED) for key in known.keys)
    return find_rotation(rotations, replace(known, keys=raised), account, shown)


def mallory(*rotations: Rotation, knows: KnownKeys = PINNED) -> Pair:
    """Mallory opens a session as Alice, and announces."""
    return Pair(alice=config("alice", own_key=MALLORY, rotations=rotations), bob_remembers=knows).open()


def assert_held(pair: Pair) -> None:
    """Bob has verified another key: nothing flows, and he is told."""
    assert pair.bob.session.state not in (State.OPEN, State.DONE_SENT)
    assert len(pair.bob.of(events.KeyChanged)) == 1
    assert not pair.bob.of(events.KeyRotated)


def forged(by_old: bytes = b"") -> Rotation:
    """Her own key in the place of Alice's, signed as well as she can."""
    said = Rotation.sign(ACCOUNT, OLD, MALLORY)  # for the signature by her own key, which she can make
    return replace(said, signatures=(by_old, said.signatures[1]))


@pytest.mark.parametrize("by_old", [b"", GENUINE.signatures[0]], ids=["none", "of another statement"])
def test_without_the_old_key(by_old: bytes) -> None:
    """Its signature cannot be left out, and covers the new key."""
    assert_held(mallory(forged(by_old)))


def test_control_without_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be believed."""
    monkeypatch.setattr(Rotation, "is_signed", lambda self: True)
    assert mallory(forged()).bob.session.assurance is Assurance.VERIFIED


def test_genuine_statement_in_a_session_of_mallory() -> None:
    """It retires nothing: only the two keys may say it, or whoever has seen the statement could make Bob refuse Alice early."""
    pair = mallory(GENUINE)
    assert_held(pair)


def test_control_of_the_key_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob would take it from anybody."""
    monkeypatch.setattr(key_assessment, "find_rotation", of_any_session)
    assert len(mallory(GENUINE).bob.of(events.KeyRotated)) == 1


def other_account() -> Pair:
    """One key serves two accounts. What was said for the one comes from the other."""
    said = Rotation.sign("carol@c.test", OLD, NEW)
    return Pair(alice=config("alice", own_key=NEW, rotations=(said,)), bob_remembers=PINNED).open()


def test_statement_for_another_account() -> None:
    assert_held(other_account())


def test_control_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would count for both."""
    monkeypatch.setattr(key_assessment, "find_rotation", of_any_account)
    assert other_account().bob.session.assurance is Assurance.VERIFIED


def replayed() -> Pair:
    """The new key was stolen. Alice is back at the old one, which Bob has verified again; he has forgotten the new one."""
    knows = replace(PINNED, forgotten=frozenset({NEW.fingerprint}))
    return Pair(alice=config("alice", own_key=NEW, rotations=(GENUINE,)), bob_remembers=knows).open()


def test_statement_that_was_taken_back() -> None:
    """A statement counts once: not for a key that Bob has ever met."""
    assert_held(replayed())


def test_control_of_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thief would be believed, by Alice's old word."""
    monkeypatch.setattr(key_assessment, "find_rotation", of_forgotten_keys)
    assert replayed().bob.session.assurance is Assurance.VERIFIED


def from_a_known_key() -> Pair:
    """A key that a lying server showed at the first contact was accepted, and announces another."""
    pair = Pair(alice=config("alice", own_key=MALLORY)).open()
    known = remembers("mallory")
    pair.bob.session.update_known_keys(known, pair.now)
    pair.alice.session.announce_rotation((Rotation.sign(ACCOUNT, MALLORY, identity("mallory 2")),), pair.now)
    return pair.run()


def test_key_that_is_only_known_announces_nothing() -> None:
    """The successor would be verified, which its predecessor never was."""
    assert not from_a_known_key().bob.of(events.KeyRotated)


def test_control_of_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A liar at the first contact would become verified."""
    monkeypatch.setattr(key_assessment, "find_rotation", of_any_level)
    assert len(from_a_known_key().bob.of(events.KeyRotated)) == 1


def test_held_key_announces_nothing() -> None:
    """It has a session only in name: the announcement comes out of turn."""
    pair = mallory()
    assert_held(pair)
    pair.says(Role.INITIATOR, elements.build_rotation((GENUINE,)))
    assert has_code(Code.STREAM_ERROR)(pair.bob.failure)
    assert not pair.bob.of(events.KeyRotated)


def test_stolen_old_key_succeeds_and_is_told() -> None:
    """Whoever holds it is Alice until she rotates. Bob hears of both keys; Alice's own next session fails, and says why."""
    stolen = Rotation.sign(ACCOUNT, OLD, MALLORY)
    pair = mallory(stolen)
    assert pair.bob.session.assurance is Assurance.VERIFIED
    [told] = pair.bob.of(events.KeyRotated)
    assert (told.old, told.new) == (OLD.fingerprint, MALLORY.fingerprint)
    known = PINNED.rotated(told.old, told.new)
    for own_key, rotations, status in ((OLD, (), "blocked"), (NEW, (GENUINE,), "changed")):
        alice = Pair(alice=config("alice", own_key=own_key, rotations=rotations), bob_remembers=known).open()
        assert alice.bob.session.state is not State.OPEN
        assert [event.status for event in alice.bob.of(events.KeyChanged)] == [status]


def test_key_that_was_given_up_is_worth_nothing_to_a_thief() -> None:
    """Alice was faster: neither a session nor an announcement."""
    known = PINNED.rotated(OLD.fingerprint, NEW.fingerprint)
    opened = Pair(alice=config("alice", own_key=OLD), bob_remembers=known).open()
    assert has_code(Code.UNTRUSTED_KEY)(opened.bob.failure)
    assert_held(mallory(Rotation.sign(ACCOUNT, OLD, MALLORY), knows=known))


def test_announcement_of_a_key_that_is_not_ones_own() -> None:
    """Alice gives up her key for Carol's, to pass Carol off as herself: Carol's key has not signed that."""
    carol = identity("carol")
    made = replace(Rotation.sign(ACCOUNT, OLD, MALLORY), new=Rotation.sign(ACCOUNT, OLD, carol).new)
    pair = Pair(bob_remembers=PINNED).open()
    pair.alice.session.announce_rotation((made,), pair.now)
    pair.run()
    assert not pair.bob.of(events.KeyRotated)

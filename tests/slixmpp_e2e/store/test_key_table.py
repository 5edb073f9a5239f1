"""Keys of peers are remembered, raised and never lowered, pinned, blocked and forgotten; each change is in the history."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import Change, KeyBlocked, SQLStore, StoreReason, tables
from slixmpp_e2e.store.key_table import KEYS_PER_PEER
from tests.slixmpp_e2e.store.expect import store_error
from xmpp_e2e.types import Assurance, Fingerprint, KnownKey, KnownKeys

A, B, C = (Fingerprint(letter * 32) for letter in (b"A", b"B", b"C"))
BOB, EVE = "bob@example.org", "eve@example.org"
VOUCHED, SIGNED, VERIFIED = Assurance.VOUCHED, Assurance.VOUCHED_SIGNED, Assurance.VERIFIED


def lines(store: SQLStore, peer: str = BOB) -> list[tuple[float, Fingerprint, str, str, str]]:
    return [(line.at, line.fingerprint, line.what, str(line.assurance), line.method) for line in store.history(peer)]


def test_a_stranger_has_no_keys(store: SQLStore) -> None:
    assert store.known_keys(BOB) == KnownKeys()
    assert store.history(BOB) == ()
    assert store.peers() == ()


def test_a_remembered_key_survives_a_restart(store: SQLStore) -> None:
    assert store.remember_key(BOB, A, VOUCHED, "route", 1.5)
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.known_keys(BOB) == KnownKeys((KnownKey(A, VOUCHED, "route", 1.5),))
        assert again.history(BOB) == (Change(1.5, A, "accepted", VOUCHED, "route"),)
        assert again.peers() == (BOB,)


def test_the_keys_of_peers_are_separate(store: SQLStore) -> None:
    store.remember_key(BOB, A, VERIFIED, "srp", 1.0)
    store.remember_key(EVE, A, VOUCHED, "route", 2.0)
    store.pin(EVE, B, 3.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VERIFIED, "srp", 1.0),)
    assert store.peers() == (BOB, EVE)
    assert store.forget(EVE, None, 4.0) == 2
    assert store.known_keys(BOB).keys == (KnownKey(A, VERIFIED, "srp", 1.0),)
    assert store.peers() == (BOB,)
    assert len(lines(store)) == 1


def test_raising_an_assurance_keeps_the_date(store: SQLStore) -> None:
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    assert store.remember_key(BOB, A, SIGNED, "signed", 2.0)
    assert store.remember_key(BOB, A, VERIFIED, "sas", 3.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VERIFIED, "sas", 1.0),)
    assert lines(store) == [
        (1.0, A, "accepted", "vouched", "route"),
        (2.0, A, "raised", "vouched-signed", "signed"),
        (3.0, A, "raised", "verified", "sas"),
    ]


@pytest.mark.parametrize("level", [VOUCHED, SIGNED, Assurance.KNOWN, VERIFIED])
def test_an_assurance_is_never_lowered(store: SQLStore, level: Assurance) -> None:
    store.remember_key(BOB, A, VERIFIED, "psk", 1.0)
    assert not store.remember_key(BOB, A, level, "route", 2.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VERIFIED, "psk", 1.0),)
    assert len(lines(store)) == 1


def test_known_proves_nothing_new(store: SQLStore) -> None:
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    assert not store.remember_key(BOB, A, Assurance.KNOWN, "route", 2.0)
    assert not store.remember_key(BOB, B, Assurance.KNOWN, "route", 2.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VOUCHED, "route", 1.0),)


def test_a_key_without_assurance_is_not_remembered(store: SQLStore) -> None:
    with pytest.raises(ValueError, match="without any assurance"):
        store.remember_key(BOB, A, Assurance.NONE, "route", 1.0)


def test_a_pin_verifies(store: SQLStore) -> None:
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    assert store.pin(BOB, A, 2.0)
    assert store.pin(BOB, B, 3.0)
    assert not store.pin(BOB, A, 4.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VERIFIED, "pin", 1.0), KnownKey(B, VERIFIED, "pin", 3.0))
    assert lines(store)[1:] == [(2.0, A, "pinned", "verified", "pin"), (3.0, B, "pinned", "verified", "pin")]


def test_a_key_is_accepted_without_a_proof(store: SQLStore) -> None:
    """It keeps its level, which a proof raises. What is verified, accepted or blocked already is not accepted."""
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    assert store.accept(BOB, A, 2.0)
    assert store.accept(BOB, B, 3.0)
    assert not store.accept(BOB, A, 4.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VOUCHED, "accept", 1.0), KnownKey(B, VOUCHED, "accept", 3.0))
    assert lines(store)[1:] == [(2.0, A, "accepted", "vouched", "accept"), (3.0, B, "accepted", "vouched", "accept")]
    assert not store.remember_key(BOB, A, VOUCHED, "route", 5.0)
    assert store.remember_key(BOB, A, VERIFIED, "srp", 6.0)
    assert not store.accept(BOB, A, 7.0)
    assert store.known_keys(BOB).find(A) == KnownKey(A, VERIFIED, "srp", 1.0)
    store.block(BOB, C, 8.0)
    with pytest.raises(KeyBlocked, match="cannot be accepted"):
        store.accept(BOB, C, 9.0)


def test_what_was_verified_can_be_doubted(store: SQLStore) -> None:
    store.remember_key(BOB, A, VERIFIED, "sas", 1.0)
    assert store.doubt(BOB, A, 2.0)
    assert not store.doubt(BOB, A, 3.0)
    assert not store.doubt(BOB, B, 4.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VOUCHED, "route", 1.0),)
    assert lines(store)[1:] == [(2.0, A, "doubted", "vouched", "route")]


@pytest.mark.parametrize("decision", ["accept", "pin", "block", "forget", "doubt", "prove", "remember"])
def test_other_processes_hear_of_each_decision(store: SQLStore, decision: str) -> None:
    """A proof is one, also of a key that was not met before. A key that is only shown is none."""
    store.remember_key(BOB, A, VERIFIED if decision == "doubt" else VOUCHED, "route", 1.0)
    store.changed_peers()
    with SQLStore.open(store.path) as other:
        match decision:
            case "prove":
                other.remember_key(BOB, B, VERIFIED, "psk", 2.0)
            case "remember":
                other.remember_key(BOB, B, VOUCHED, "route", 2.0)
            case _:
                getattr(other, decision)(BOB, A, 2.0)
    assert store.changed_peers() == ({BOB} if decision != "remember" else set())


def test_a_blocked_key_stays_blocked(store: SQLStore) -> None:
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    assert store.block(BOB, A, 2.0)
    assert not store.block(BOB, A, 3.0)
    assert not store.remember_key(BOB, A, VERIFIED, "srp", 4.0)
    with pytest.raises(KeyBlocked, match=r"is blocked and cannot be pinned") as caught:
        store.pin(BOB, A, 5.0)
    assert "xmpp-e2e trust forget" in explain(caught.value)
    assert store.known_keys(BOB).keys == (KnownKey(A, VOUCHED, "route", 1.0, blocked=True),)
    assert [line[2] for line in lines(store)] == ["accepted", "blocked"]


def test_an_unknown_key_can_be_blocked(store: SQLStore) -> None:
    assert store.block(BOB, A, 1.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, Assurance.NONE, "block", 1.0, blocked=True),)


def test_one_block_blocks_one_key(store: SQLStore) -> None:
    for peer, key in ((BOB, A), (BOB, B), (EVE, A)):
        store.remember_key(peer, key, VOUCHED, "route", 1.0)
    store.block(BOB, A, 2.0)
    assert [key.blocked for key in store.known_keys(BOB).keys] == [True, False]
    assert [key.blocked for key in store.known_keys(EVE).keys] == [False]


def test_forgetting_removes_a_block(store: SQLStore) -> None:
    store.remember_key(BOB, A, VERIFIED, "sas", 1.0)
    store.block(BOB, A, 2.0)
    assert store.forget(BOB, A, 3.0) == 1
    assert store.forget(BOB, A, 4.0) == 0
    assert store.known_keys(BOB) == KnownKeys(forgotten=frozenset({A}))
    assert lines(store)[-1] == (3.0, A, "forgotten", "verified", "sas")
    assert store.remember_key(BOB, A, VOUCHED, "route", 5.0)
    assert store.known_keys(BOB).keys == (KnownKey(A, VOUCHED, "route", 5.0),)


def test_forgetting_one_key_or_all(store: SQLStore) -> None:
    for at, key in ((1.0, A), (2.0, B), (3.0, C)):
        store.remember_key(BOB, key, VOUCHED, "route", at)
    assert store.forget(BOB, B, 4.0) == 1
    assert [key.fingerprint for key in store.known_keys(BOB).keys] == [A, C]
    assert store.forget(BOB, None, 5.0) == 2
    assert [(at, key) for at, key, what, *_ in lines(store) if what == "forgotten"] == [(4.0, B), (5.0, A), (5.0, C)]


def test_forgetting_keys_keeps_the_downgrade_protection(store: SQLStore) -> None:
    """The peer still counts as one that has used E2E: forgetting a key must not allow plaintext."""
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    store.record_e2e_use(BOB, 1.0)
    store.forget(BOB, None, 2.0)
    assert store.has_used_e2e(BOB)


def test_a_peer_cannot_fill_the_store_with_keys(store: SQLStore) -> None:
    keys = [Fingerprint(number.to_bytes(32, "big")) for number in range(KEYS_PER_PEER + 1)]
    for key in keys[:-1]:
        store.remember_key(BOB, key, VOUCHED, "route", 1.0)
    with store_error(StoreReason.TOO_MANY_KEYS, match=f"{KEYS_PER_PEER} keys of {BOB}"):
        store.remember_key(BOB, keys[-1], SIGNED, "signed", 2.0)
    assert len(store.known_keys(BOB).keys) == KEYS_PER_PEER
    assert store.remember_key(BOB, keys[0], SIGNED, "signed", 3.0)
    assert store.remember_key(EVE, keys[-1], VOUCHED, "route", 3.0)
    assert store.pin(BOB, keys[-1], 4.0)


@pytest.mark.parametrize("column", ["fingerprint", "assurance"])
def test_a_row_that_makes_no_sense_is_damage(store: SQLStore, column: str) -> None:
    store.remember_key(BOB, A, VOUCHED, "route", 1.0)
    for table in (tables.trust, tables.history):
        with store._writing() as connection:
            connection.execute(update(table).values({column: "nonsense"}))
    with store_error(StoreReason.DAMAGED, match=r"a row of the table trust makes no sense: .nonsense."):
        store.known_keys(BOB)
    with store_error(StoreReason.DAMAGED, match=r"a row of the table history makes no sense"):
        store.history(BOB)


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["accept", "pin", "block", "forget"]),
        st.sampled_from([A, B]),
        st.sampled_from([VOUCHED, SIGNED, Assurance.KNOWN, VERIFIED]),
    ),
    max_size=12,
)


@given(_ACTS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_changes(store: SQLStore, acts: list[tuple[str, Fingerprint, Assurance]]) -> None:
    """Until a key is forgotten its assurance only rises and its block stays; each change is one line in the history."""
    store.forget(BOB, None, 0.0)
    for now, (act, key, level) in enumerate(acts, 1):
        before, noted = store.known_keys(BOB).find(key), len(store.history(BOB))
        changed: int
        try:
            match act:
                case "accept":
                    changed = store.remember_key(BOB, key, level, "route", float(now))
                case "pin":
                    changed = store.pin(BOB, key, float(now))
                case "block":
                    changed = store.block(BOB, key, float(now))
                case _:
                    changed = store.forget(BOB, key, float(now))
        except KeyBlocked:
            changed = 0
        after = store.known_keys(BOB).find(key)
        assert (before != after) == bool(changed) == (len(store.history(BOB)) == noted + 1)
        if act == "forget":
            assert after is None
        elif before is not None:
            assert after is not None
            assert after.assurance >= before.assurance
            assert after.blocked >= before.blocked
            assert after.first_seen == before.first_seen


def test_rotation_retires_one_key_and_verifies_another(store: SQLStore) -> None:
    """The history says which took the place of which."""
    store.pin(BOB, A, 1.0)
    assert store.rotate_key(BOB, A, B, 2.0)
    assert store.known_keys(BOB).keys == (
        KnownKey(A, VERIFIED, "retired", 1.0, blocked=True),
        KnownKey(B, VERIFIED, "rotation", 2.0),
    )
    assert lines(store)[1:] == [(2.0, A, "retired", "verified", "retired"), (2.0, B, "rotated", "verified", "rotation")]
    assert not store.rotate_key(BOB, A, B, 3.0), "the old key is refused already"
    assert not store.rotate_key(BOB, B, A, 3.0), "a key that was given up takes no other's place"
    assert len(lines(store)) == 3


def test_rotation_of_a_key_that_the_trust_file_pins(store: SQLStore) -> None:
    """The store may not know it, or only as one that was shown."""
    assert not store.rotate_key(BOB, A, B, 1.0)
    assert store.rotate_key(BOB, A, B, 1.0, pinned=True)
    assert store.known_keys(BOB).find(A) == KnownKey(A, VERIFIED, "retired", 1.0, blocked=True)
    store.remember_key(EVE, A, VOUCHED, "route", 1.0)
    assert not store.rotate_key(EVE, A, B, 2.0)
    assert store.rotate_key(EVE, A, B, 2.0, pinned=True)
    assert store.known_keys(EVE).find(A) == KnownKey(A, VERIFIED, "retired", 1.0, blocked=True)


def test_rotation_to_a_key_that_is_known(store: SQLStore) -> None:
    """How it was verified stays; a blocked one stays blocked."""
    store.pin(BOB, A, 1.0)
    store.pin(BOB, B, 2.0)
    assert store.rotate_key(BOB, A, B, 3.0)
    assert store.known_keys(BOB).find(B) == KnownKey(B, VERIFIED, "pin", 2.0)
    store.block(BOB, C, 4.0)
    assert not store.rotate_key(BOB, B, C, 5.0)
    assert store.known_keys(BOB).is_verified(B)


def test_rotations_are_bounded(store: SQLStore) -> None:
    """A peer may rotate without end, whatever else its account has shown: the keys that were retired first go."""
    keys = [Fingerprint(bytes([number]) * 32) for number in range(2 * KEYS_PER_PEER)]
    store.pin(BOB, keys[0], 1.0)
    others = [Fingerprint(bytes([200 + number]) * 32) for number in range(8)]
    for other in others:
        store.remember_key(BOB, other, VOUCHED, "route", 1.0)
    for old, new in pairwise(keys):
        assert store.rotate_key(BOB, old, new, 2.0)
    known = store.known_keys(BOB)
    assert len(known.keys) == KEYS_PER_PEER
    assert [known.find(key) is not None for key in (*others, keys[0], keys[-2], keys[-1])] == [*[True] * 8, False, True, True]
    assert [known.is_verified(key) for key in keys[-2:]] == [False, True]


def test_forgotten_keys_are_told(store: SQLStore) -> None:
    """Also one that was met again since."""
    store.pin(BOB, A, 1.0)
    store.pin(BOB, B, 1.0)
    store.forget(BOB, A, 2.0)
    assert store.known_keys(BOB).forgotten == {A}
    store.pin(BOB, A, 3.0)
    assert store.known_keys(BOB).forgotten == {A}
    assert store.known_keys(EVE).forgotten == frozenset()

"""The keys of peers: accepted once, raised and never lowered, pinned, blocked, forgotten; and every change is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from slixmpp_e2e.store import Change, KeyBlocked, SQLStore, StoreDamaged, TooManyKeys, tables
from slixmpp_e2e.store.keys import KEYS_PER_PEER
from xmpp_e2e.identity import Assurance, Fingerprint, KnownKey, Remembered

A, B, C = (Fingerprint(letter * 32) for letter in (b"A", b"B", b"C"))
BOB, EVE = "bob@example.org", "eve@example.org"
VOUCHED, SIGNED, VERIFIED = Assurance.VOUCHED, Assurance.VOUCHED_SIGNED, Assurance.VERIFIED


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    """A new store."""
    with SQLStore.open(tmp_path / "store.db") as store:
        yield store


def lines(store: SQLStore, peer: str = BOB) -> list[tuple[float, Fingerprint, str, str, str]]:
    """A peer's history, as tuples."""
    return [(line.at, line.fingerprint, line.what, str(line.assurance), line.method) for line in store.history(peer)]


def test_a_stranger_is_remembered_as_nobody(store: SQLStore) -> None:
    """No keys, no history, no peers."""
    assert store.remembered(BOB) == Remembered()
    assert store.history(BOB) == ()
    assert store.peers() == ()


def test_a_key_is_accepted_and_survives_a_restart(store: SQLStore) -> None:
    """What was accepted is there, with its level, method and time, when the store is opened again."""
    assert store.accept(BOB, A, VOUCHED, "route", 1.5)
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.remembered(BOB) == Remembered((KnownKey(A, VOUCHED, "route", 1.5),))
        assert again.history(BOB) == (Change(1.5, A, "accepted", VOUCHED, "route"),)
        assert again.peers() == (BOB,)


def test_peers_are_apart(store: SQLStore) -> None:
    """One peer's keys are not another's, though they be the same, and neither is forgetting them."""
    store.accept(BOB, A, VERIFIED, "srp", 1.0)
    store.accept(EVE, A, VOUCHED, "route", 2.0)
    store.pin(EVE, B, 3.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VERIFIED, "srp", 1.0),)
    assert store.peers() == (BOB, EVE)
    assert store.forget(EVE, None, 4.0) == 2
    assert store.remembered(BOB).keys == (KnownKey(A, VERIFIED, "srp", 1.0),)
    assert store.peers() == (BOB,)
    assert len(lines(store)) == 1


def test_a_level_is_raised_with_its_method_and_keeps_its_date(store: SQLStore) -> None:
    """Verifying an accepted key changes level and method; since when we know it does not change."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    assert store.accept(BOB, A, SIGNED, "signed", 2.0)
    assert store.accept(BOB, A, VERIFIED, "sas", 3.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VERIFIED, "sas", 1.0),)
    assert lines(store) == [
        (1.0, A, "accepted", "vouched", "route"),
        (2.0, A, "raised", "vouched-signed", "signed"),
        (3.0, A, "raised", "verified", "sas"),
    ]


@pytest.mark.parametrize("level", [VOUCHED, SIGNED, Assurance.KNOWN, VERIFIED])
def test_a_level_is_never_lowered(store: SQLStore, level: Assurance) -> None:
    """A verified key stays verified, by its first method; nothing is noted, as nothing has changed."""
    store.accept(BOB, A, VERIFIED, "psk", 1.0)
    assert not store.accept(BOB, A, level, "route", 2.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VERIFIED, "psk", 1.0),)
    assert len(lines(store)) == 1


def test_known_is_nothing_new(store: SQLStore) -> None:
    """A session that was merely KNOWN teaches nothing: neither a raised level nor a key that we do not remember."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    assert not store.accept(BOB, A, Assurance.KNOWN, "route", 2.0)
    assert not store.accept(BOB, B, Assurance.KNOWN, "route", 2.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VOUCHED, "route", 1.0),)


def test_nothing_is_not_accepted(store: SQLStore) -> None:
    """A key of which nothing was shown is a mistake of the caller."""
    with pytest.raises(ValueError, match="nothing is known"):
        store.accept(BOB, A, Assurance.NONE, "route", 1.0)


def test_a_pin_verifies(store: SQLStore) -> None:
    """Pinning makes an accepted or a never seen key VERIFIED by ``pin``; a second pin says nothing new."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    assert store.pin(BOB, A, 2.0)
    assert store.pin(BOB, B, 3.0)
    assert not store.pin(BOB, A, 4.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VERIFIED, "pin", 1.0), KnownKey(B, VERIFIED, "pin", 3.0))
    assert lines(store)[1:] == [(2.0, A, "pinned", "verified", "pin"), (3.0, B, "pinned", "verified", "pin")]


def test_a_blocked_key_stays_blocked(store: SQLStore) -> None:
    """Neither a session nor a pin takes a block back; the level that the key had is kept and not raised."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    assert store.block(BOB, A, 2.0)
    assert not store.block(BOB, A, 3.0)
    assert not store.accept(BOB, A, VERIFIED, "srp", 4.0)
    with pytest.raises(KeyBlocked, match=r"is blocked and cannot be pinned") as caught:
        store.pin(BOB, A, 5.0)
    assert "xmpp-e2e trust forget" in caught.value.explain()
    assert store.remembered(BOB).keys == (KnownKey(A, VOUCHED, "route", 1.0, blocked=True),)
    assert [line[2] for line in lines(store)] == ["accepted", "blocked"]


def test_an_unknown_key_can_be_blocked(store: SQLStore) -> None:
    """A block needs no session before; the key is worth nothing."""
    assert store.block(BOB, A, 1.0)
    assert store.remembered(BOB).keys == (KnownKey(A, Assurance.NONE, "block", 1.0, blocked=True),)


def test_one_block_blocks_one_key(store: SQLStore) -> None:
    """The peer's other keys, and the same key of another peer, are as they were."""
    for peer, key in ((BOB, A), (BOB, B), (EVE, A)):
        store.accept(peer, key, VOUCHED, "route", 1.0)
    store.block(BOB, A, 2.0)
    assert [key.blocked for key in store.remembered(BOB).keys] == [True, False]
    assert [key.blocked for key in store.remembered(EVE).keys] == [False]


def test_forgetting_takes_a_block_back(store: SQLStore) -> None:
    """A forgotten key is one that we have never seen; that it was there stays in the history."""
    store.accept(BOB, A, VERIFIED, "sas", 1.0)
    store.block(BOB, A, 2.0)
    assert store.forget(BOB, A, 3.0) == 1
    assert store.forget(BOB, A, 4.0) == 0
    assert store.remembered(BOB) == Remembered()
    assert lines(store)[-1] == (3.0, A, "forgotten", "verified", "sas")
    assert store.accept(BOB, A, VOUCHED, "route", 5.0)
    assert store.remembered(BOB).keys == (KnownKey(A, VOUCHED, "route", 5.0),)


def test_forgetting_one_key_or_all(store: SQLStore) -> None:
    """One fingerprint forgets that key, none forgets all of the peer; each is noted."""
    for at, key in ((1.0, A), (2.0, B), (3.0, C)):
        store.accept(BOB, key, VOUCHED, "route", at)
    assert store.forget(BOB, B, 4.0) == 1
    assert [key.fingerprint for key in store.remembered(BOB).keys] == [A, C]
    assert store.forget(BOB, None, 5.0) == 2
    assert [(at, key) for at, key, what, *_ in lines(store) if what == "forgotten"] == [(4.0, B), (5.0, A), (5.0, C)]


def test_forgetting_keys_forgets_no_downgrade_protection(store: SQLStore) -> None:
    """That the peer was seen with E2E stays: a forgotten key must not open the way for plaintext."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    store.mark_seen(BOB, 1.0)
    store.forget(BOB, None, 2.0)
    assert store.seen(BOB)


def test_a_peer_cannot_fill_the_store_with_keys(store: SQLStore) -> None:
    """Beyond the bound no key is remembered by itself; what the user pins always is, and what is known is still raised."""
    keys = [Fingerprint(number.to_bytes(32, "big")) for number in range(KEYS_PER_PEER + 1)]
    for key in keys[:-1]:
        store.accept(BOB, key, VOUCHED, "route", 1.0)
    with pytest.raises(TooManyKeys, match=f"{KEYS_PER_PEER} keys of {BOB}"):
        store.accept(BOB, keys[-1], SIGNED, "signed", 2.0)
    assert len(store.remembered(BOB).keys) == KEYS_PER_PEER
    assert store.accept(BOB, keys[0], SIGNED, "signed", 3.0)
    assert store.accept(EVE, keys[-1], VOUCHED, "route", 3.0)
    assert store.pin(BOB, keys[-1], 4.0)


@pytest.mark.parametrize("column", ["fingerprint", "assurance"])
def test_a_nonsensical_row_is_damage_and_no_guess(store: SQLStore, column: str) -> None:
    """A word that is none of ours is said with the table's name, in the keys and in the history."""
    store.accept(BOB, A, VOUCHED, "route", 1.0)
    for table in (tables.trust, tables.history):
        with store._writing() as connection:
            connection.execute(update(table).values({column: "nonsense"}))
    with pytest.raises(StoreDamaged, match=r"a row of the table trust makes no sense: .nonsense."):
        store.remembered(BOB)
    with pytest.raises(StoreDamaged, match=r"a row of the table history makes no sense"):
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
def test_any_sequence_only_raises_and_is_all_in_the_history(
    store: SQLStore, acts: list[tuple[str, Fingerprint, Assurance]]
) -> None:
    """Between two forgettings levels only rise and blocks only stay, and what changed is one line in the history, always."""
    store.forget(BOB, None, 0.0)
    for now, (act, key, level) in enumerate(acts, 1):
        before, noted = store.remembered(BOB).key(key), len(store.history(BOB))
        changed: int
        try:
            match act:
                case "accept":
                    changed = store.accept(BOB, key, level, "route", float(now))
                case "pin":
                    changed = store.pin(BOB, key, float(now))
                case "block":
                    changed = store.block(BOB, key, float(now))
                case _:
                    changed = store.forget(BOB, key, float(now))
        except KeyBlocked:
            changed = 0
        after = store.remembered(BOB).key(key)
        assert (before != after) == bool(changed) == (len(store.history(BOB)) == noted + 1)
        if act == "forget":
            assert after is None
        elif before is not None:
            assert after is not None
            assert after.assurance >= before.assurance
            assert after.blocked >= before.blocked
            assert after.since == before.since

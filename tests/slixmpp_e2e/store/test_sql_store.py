"""The store as a whole: its path, policies, ``has_used_e2e``, failed attempts, and changes by another process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore, StoreError, StoreReason, path_for, tables
from tests.slixmpp_e2e.store.expect import store_error
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, TrustModel

BOB, EVE = "bob@example.org", "eve@example.org"
KEY = Fingerprint(b"A" * 32)
STRICT = PeerPolicy(Policy.REQUIRE, TrustModel.SERVER_UNTRUSTED, True, OnKeyChange.REJECT)


@pytest.fixture
def other(store: SQLStore) -> Iterator[SQLStore]:
    with SQLStore.open(store.path) as other:
        yield other


@pytest.mark.parametrize(
    ("jid", "name"),
    [
        ("bob@example.org", "bob@example.org.db"),
        ("example.org", "example.org.db"),
        ("a%b@x", "a%25b@x.db"),
        ("Bob@x", "%42ob@x.db"),
        ("é@x", "%C3%A9@x.db"),
        ("..", "...db"),
        ("a\\b:c*@x", "a%5Cb%3Ac%2A@x.db"),
    ],
)
def test_the_file_is_named_after_the_jid(tmp_path: Path, jid: str, name: str) -> None:
    assert path_for(jid, tmp_path) == tmp_path / name


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On Linux it is XDG's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert path_for(BOB).parent == Path(platformdirs.user_data_dir("xmpp-e2e", appauthor=False))
    with SQLStore.for_jid(BOB, tmp_path / "there") as store:
        assert store.path == tmp_path / "there" / "bob@example.org.db"


_JIDS = st.text(min_size=1, max_size=300).filter(lambda text: "/" not in text and text.isprintable())


@given(_JIDS, _JIDS)
def test_two_accounts_never_share_a_file(one: str, other: str) -> None:
    """Names are injective even where case is ignored, stay in the folder, and fit into a file system."""
    paths = path_for(one, "folder"), path_for(other, "folder")
    assert (paths[0].name.lower() == paths[1].name.lower()) == (one == other)
    for path in paths:
        assert path.parent == Path("folder")
        assert len(path.name.encode()) <= 210


def test_a_long_jid_is_hashed() -> None:
    """Beyond 200 bytes the name is a hash, which no spelled-out name can be."""
    assert path_for("a" * 200).name == "a" * 200 + ".db"
    name = path_for("a" * 201).name
    assert name.startswith("~")
    assert name != path_for("a" * 202).name
    assert path_for("~").name == "%7E.db"


@pytest.mark.parametrize("jid", ["bob@example.org/phone", ""])
def test_a_full_jid_is_refused_everywhere(store: SQLStore, jid: str) -> None:
    """A value that is stored for the bare JID would not be found for a full one, and a policy would not apply."""
    calls = (
        lambda: path_for(jid),
        lambda: store.known_keys(jid),
        lambda: store.remember_key(jid, KEY, Assurance.VOUCHED, "route", 1.0),
        lambda: store.pin(jid, KEY, 1.0),
        lambda: store.block(jid, KEY, 1.0),
        lambda: store.forget(jid, None, 1.0),
        lambda: store.history(jid),
        lambda: store.policy(jid),
        lambda: store.set_policy(jid, STRICT),
        lambda: store.has_used_e2e(jid),
        lambda: store.record_e2e_use(jid, 1.0),
        lambda: store.put_secret(jid, "psk", "1", b"x"),
        lambda: store.secret(jid, "psk", "1"),
        lambda: store.secret_ids(jid, "psk"),
        lambda: store.forget_secret(jid, "psk", "1"),
        lambda: store.count_failed_attempt(jid, "srp"),
        lambda: store.failed_attempts(jid, "srp"),
        lambda: store.clear_failed_attempts(jid, "srp"),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is no bare JID"):
            call()


def test_changes_are_read_only_if_somebody_has_written(
    store: SQLStore, other: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is asked every second. Our own decisions are returned with those of the other process."""
    assert store.changed_peers() == frozenset()
    with monkeypatch.context() as patch:
        patch.setattr(store._database, "reading", None)
        assert store.changed_peers() == frozenset()
    store.pin(BOB, KEY, 1.0)
    other.block(EVE, KEY, 1.0)
    assert store.changed_peers() == {BOB, EVE}
    assert store.changed_peers() == frozenset()


def test_a_policy_is_kept_for_its_peer(store: SQLStore) -> None:
    assert store.policy(BOB) == PeerPolicy()
    store.set_policy(BOB, STRICT)
    assert store.policy(BOB) == STRICT
    assert store.policy(EVE) == PeerPolicy()
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.policy(BOB) == STRICT


@pytest.mark.parametrize(
    "policy",
    [
        PeerPolicy(policy=Policy.OFF),
        PeerPolicy(trust_model=TrustModel.SERVER_TRUSTED),
        PeerPolicy(plaintext_allowed=True),
        PeerPolicy(on_key_change=OnKeyChange.HOLD),
        PeerPolicy(),
    ],
)
def test_a_policy_replaces_the_one_before(store: SQLStore, other: SQLStore, policy: PeerPolicy) -> None:
    store.set_policy(EVE, STRICT)
    store.set_policy(BOB, STRICT)
    store.set_policy(BOB, policy)
    assert store.policy(BOB) == other.policy(BOB) == policy
    assert other.policy(EVE) == STRICT


@pytest.mark.parametrize("column", ["policy", "trust_model", "on_key_change"])
def test_a_policy_that_makes_no_sense_is_damage(store: SQLStore, column: str) -> None:
    """An unknown word is an error, as the default could be less strict."""
    store.set_policy(BOB, STRICT)
    with store._writing() as connection:
        connection.execute(update(tables.policy).values({column: "nonsense"}))
    with store_error(StoreReason.DAMAGED, match="a row of the table policy makes no sense"):
        store.policy(BOB)


def test_use_of_e2e_is_remembered_for_good(store: SQLStore, other: SQLStore) -> None:
    assert not store.has_used_e2e(BOB)
    store.record_e2e_use(BOB, 1.0)
    store.record_e2e_use(BOB, 2.0)
    assert store.has_used_e2e(BOB)
    assert other.has_used_e2e(BOB)
    assert not store.has_used_e2e(EVE)
    with store._reading() as connection:
        assert list(connection.execute(tables.seen.select())) == [(BOB, 1.0, 2.0)]


def test_changes_by_another_process_are_noticed_at_once(store: SQLStore, other: SQLStore) -> None:
    """`xmpp-e2e trust` works while a bot runs."""
    assert (store.policy(BOB), store.has_used_e2e(BOB)) == (PeerPolicy(), False)
    other.set_policy(BOB, STRICT)
    other.record_e2e_use(BOB, 1.0)
    assert (store.policy(BOB), store.has_used_e2e(BOB)) == (STRICT, True)
    other.set_policy(BOB, PeerPolicy())
    assert store.policy(BOB) == PeerPolicy()


def test_failed_attempts_are_counted_across_restarts(store: SQLStore) -> None:
    assert store.failed_attempts(BOB, "srp") == 0
    assert [store.count_failed_attempt(BOB, "srp") for _ in range(3)] == [1, 2, 3]
    assert store.count_failed_attempt(BOB, "sas") == 1
    assert store.count_failed_attempt(EVE, "srp") == 1
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.failed_attempts(BOB, "srp") == 3
        again.clear_failed_attempts(BOB, "srp")
        assert [again.failed_attempts(*which) for which in ((BOB, "srp"), (BOB, "sas"), (EVE, "srp"))] == [0, 1, 1]
        assert again.count_failed_attempt(BOB, "srp") == 1


def test_threads_take_turns(store: SQLStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            pool.submit(store.count_failed_attempt, BOB, "srp")
    assert store.failed_attempts(BOB, "srp") == 100


def test_whoever_asks_for_changes_disturbs_nobody_who_reads(store: SQLStore) -> None:
    """What is in the journal is moved then, on the same connection: the other transaction could not end meanwhile."""
    store.record_e2e_use(BOB, 1.0)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [store.has_used_e2e(BOB) for _ in range(2000)])
        while not reading.done():
            store._database._unsettled = True
            store.changed_peers()
    assert all(reading.result())


def test_a_closed_store_raises_a_store_error(store: SQLStore) -> None:
    store.close()
    store.close()
    for call in (lambda: store.policy(BOB), lambda: store.known_keys(BOB), lambda: store.record_e2e_use(BOB, 1.0)):
        with pytest.raises(StoreError, match="cannot be used"):
            call()


def test_closing_leaves_one_file_to_copy(store: SQLStore) -> None:
    store.record_e2e_use(BOB, 1.0)
    store.close()
    assert [path.name for path in store.path.parent.iterdir()] == ["store.db"]


def test_the_repr_names_the_file(store: SQLStore) -> None:
    assert repr(store) == f"SQLStore('{store.path}')"


def test_a_store_that_is_dropped_closes_its_file(tmp_path: Path) -> None:
    """A program may drop a client without unloading the plugin."""
    store = SQLStore.open(tmp_path / "store.db")
    database = store._database
    del store
    gc.collect()
    with pytest.raises(StoreError):
        database.data_version()

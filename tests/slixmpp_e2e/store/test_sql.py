"""The store as a whole: where it lies, policies and ``seen`` (also when another process writes), failure counters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from slixmpp_e2e.store import PeerPolicy, SQLStore, StoreDamaged, StoreError, path_for, sql, tables
from xmpp_e2e.identity import Assurance, Fingerprint, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e.trust.store import TrustStore

BOB, EVE = "bob@example.org", "eve@example.org"
KEY = Fingerprint(b"A" * 32)
STRICT = PeerPolicy(Policy.REQUIRE, TrustModel.SERVER_UNTRUSTED, True, OnKeyChange.REJECT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    """A new store."""
    with SQLStore.open(tmp_path / "store.db") as store:
        yield store


@pytest.fixture
def other(store: SQLStore) -> Iterator[SQLStore]:
    """The same store, opened a second time."""
    with SQLStore.open(store.path) as other:
        yield other


def test_it_is_what_the_core_calls_a_store(store: SQLStore) -> None:
    """mypy compares every signature here; the methods are all there."""
    checked: TrustStore = store
    assert all(hasattr(checked, name) for name in vars(TrustStore) if not name.startswith("_"))


# --- where it lies -----------------------------------------------------------------------------------------------------


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
    """Letters, digits and -_.@ as they are, everything else percent-encoded, in the folder that was named."""
    assert path_for(jid, tmp_path) == tmp_path / name


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG's data folder, on Linux."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert path_for(BOB).parent == Path(platformdirs.user_data_dir("xmpp-e2e", appauthor=False))
    with SQLStore.for_jid(BOB, tmp_path / "there") as store:
        assert store.path == tmp_path / "there" / "bob@example.org.db"


_JIDS = st.text(min_size=1, max_size=300).filter(lambda text: "/" not in text and text.isprintable())


@given(_JIDS, _JIDS)
def test_two_accounts_never_share_a_file(one: str, other: str) -> None:
    """Names are injective, even where file names ignore case, stay in the folder, and fit into a file system."""
    paths = path_for(one, "folder"), path_for(other, "folder")
    assert (paths[0].name.lower() == paths[1].name.lower()) == (one == other)
    for path in paths:
        assert path.parent == Path("folder")
        assert len(path.name.encode()) <= 210


def test_a_long_jid_is_hashed() -> None:
    """Up to 200 bytes are spelled out; beyond, the name is a hash that no spelled-out name can be."""
    assert path_for("a" * 200).name == "a" * 200 + ".db"
    name = path_for("a" * 201).name
    assert name.startswith("~")
    assert name != path_for("a" * 202).name
    assert path_for("~").name == "%7E.db"


@pytest.mark.parametrize("jid", ["bob@example.org/phone", ""])
def test_a_full_jid_is_a_mistake_everywhere(store: SQLStore, jid: str) -> None:
    """What is stored for a bare JID would not be found for the full one: policies would quietly not apply."""
    calls = (
        lambda: path_for(jid),
        lambda: store.remembered(jid),
        lambda: store.accept(jid, KEY, Assurance.VOUCHED, "route", 1.0),
        lambda: store.pin(jid, KEY, 1.0),
        lambda: store.block(jid, KEY, 1.0),
        lambda: store.forget(jid, None, 1.0),
        lambda: store.history(jid),
        lambda: store.policy(jid),
        lambda: store.set_policy(jid, STRICT),
        lambda: store.seen(jid),
        lambda: store.mark_seen(jid, 1.0),
        lambda: store.put_secret(jid, "psk", "1", b"x"),
        lambda: store.secret(jid, "psk", "1"),
        lambda: store.secret_ids(jid, "psk"),
        lambda: store.forget_secret(jid, "psk", "1"),
        lambda: store.count_failure(jid, "srp"),
        lambda: store.failures(jid, "srp"),
        lambda: store.clear_failures(jid, "srp"),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is no bare JID"):
            call()


def test_news_are_read_only_if_somebody_else_has_written(
    store: SQLStore, other: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked every second; our own decisions come along with another's."""
    assert store.news() == frozenset()
    store.pin(BOB, KEY, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_reading", None)
        assert store.news() == frozenset()
    other.block(EVE, KEY, 1.0)
    assert store.news() == {BOB, EVE}
    assert store.news() == frozenset()


# --- policies and seen -------------------------------------------------------------------------------------------------


def test_a_policy_is_kept_for_its_peer(store: SQLStore) -> None:
    """Every field survives a restart; nobody else's is touched."""
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
    """What is not said is as for everybody again."""
    store.set_policy(EVE, STRICT)
    store.set_policy(BOB, STRICT)
    store.set_policy(BOB, policy)
    assert store.policy(BOB) == other.policy(BOB) == policy
    assert other.policy(EVE) == STRICT


@pytest.mark.parametrize("column", ["policy", "trust_model", "on_key_change"])
def test_a_policy_that_makes_no_sense_is_damage(store: SQLStore, column: str) -> None:
    """An unknown word is an error and not "as for everybody", which could be less strict."""
    store.set_policy(BOB, STRICT)
    with store._writing() as connection:
        connection.execute(update(tables.policy).values({column: "nonsense"}))
    with pytest.raises(StoreDamaged, match="a row of the table policy makes no sense"):
        store.policy(BOB)


def test_a_peer_is_seen_once_and_for_good(store: SQLStore, other: SQLStore) -> None:
    """Until the first session no, from then on yes."""
    assert not store.seen(BOB)
    store.mark_seen(BOB, 1.0)
    store.mark_seen(BOB, 2.0)
    assert store.seen(BOB)
    assert other.seen(BOB)
    assert not store.seen(EVE)
    with store._reading() as connection:
        assert list(connection.execute(tables.seen.select())) == [(BOB, 1.0, 2.0)]


def test_what_another_process_writes_is_noticed_at_once(store: SQLStore, other: SQLStore) -> None:
    """The memory of policies is never stale: `trust` on the command line works while a bot runs."""
    assert (store.policy(BOB), store.seen(BOB)) == (PeerPolicy(), False)
    other.set_policy(BOB, STRICT)
    other.mark_seen(BOB, 1.0)
    assert (store.policy(BOB), store.seen(BOB)) == (STRICT, True)
    other.set_policy(BOB, PeerPolicy())
    assert store.policy(BOB) == PeerPolicy()


def test_what_is_asked_for_every_stanza_is_read_once(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again makes no query."""
    store.set_policy(BOB, STRICT)
    store.mark_seen(BOB, 1.0)
    before = store.policy(BOB), store.seen(BOB), store.policy(EVE), store.seen(EVE)
    monkeypatch.setattr(store._database, "reading", None)
    assert (store.policy(BOB), store.seen(BOB), store.policy(EVE), store.seen(EVE)) == before


def test_strangers_do_not_fill_the_memory(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for, a bounded number is kept."""
    monkeypatch.setattr(sql, "CACHED_PEERS", 5)
    for number in range(20):
        store.policy(f"{number}@example.org")
        store.seen(f"{number}@example.org")
        assert max(len(store._policies), len(store._seen)) <= 5


# --- failed guesses ----------------------------------------------------------------------------------------------------


def test_failures_are_counted_across_restarts(store: SQLStore) -> None:
    """Each peer and kind by itself, until cleared."""
    assert store.failures(BOB, "srp") == 0
    assert [store.count_failure(BOB, "srp") for _ in range(3)] == [1, 2, 3]
    assert store.count_failure(BOB, "sas") == 1
    assert store.count_failure(EVE, "srp") == 1
    store.close()
    with SQLStore.open(store.path) as again:
        assert again.failures(BOB, "srp") == 3
        again.clear_failures(BOB, "srp")
        assert [again.failures(*which) for which in ((BOB, "srp"), (BOB, "sas"), (EVE, "srp"))] == [0, 1, 1]
        assert again.count_failure(BOB, "srp") == 1


# --- threads, closing --------------------------------------------------------------------------------------------------


def test_threads_take_turns(store: SQLStore) -> None:
    """Counting from several threads at once loses nothing."""

    def count() -> None:
        for _ in range(25):
            store.count_failure(BOB, "srp")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.failures(BOB, "srp") == 100


def test_a_closed_store_says_so(store: SQLStore) -> None:
    """Closing twice is fine; using it afterwards is an error of the store, not of SQLAlchemy."""
    store.close()
    store.close()
    for call in (lambda: store.policy(BOB), lambda: store.remembered(BOB), lambda: store.mark_seen(BOB, 1.0)):
        with pytest.raises(StoreError, match="cannot be used"):
            call()


def test_closing_leaves_one_file_to_copy(store: SQLStore) -> None:
    """With the last user gone, everything is in the database file."""
    store.mark_seen(BOB, 1.0)
    store.close()
    assert [path.name for path in store.path.parent.iterdir()] == ["store.db"]


def test_the_repr_names_the_file(store: SQLStore) -> None:
    """And nothing else."""
    assert repr(store) == f"SQLStore('{store.path}')"

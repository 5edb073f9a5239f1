"""What sessions show of keys is stored when they open, and not before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slixmpp_e2e.events import KeyDoubted, StoreFailed
from slixmpp_e2e.sessions.driver import SessionReleased
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.verification.key_recorder import KeyRecorder
from tests.slixmpp_e2e.env import ALICE, BOB, until
from tests.slixmpp_e2e.verification.users import BOBS
from xmpp_e2e import events
from xmpp_e2e.types import Assurance, Fingerprint, KnownKey, KnownKeys

KEY = Fingerprint(bytes(32))
PROVED = events.KeyVerified("srp", Assurance.VERIFIED, KEY)
START = events.SessionOpened(Assurance.VOUCHED, KEY)


class Session:
    """A session as the recorder sees it."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.own_jid, self.peer, self.is_open = ALICE, BOB, is_open


async def record(store: SQLStore, session: Any, *told: Any, pinned: bool = False) -> tuple[list[KeyDoubted], list[str]]:
    """Return the events and of which accounts something changed. ``pinned``: the trust file pins the key."""
    emitted: list[KeyDoubted] = []
    changed: list[str] = []
    pins = KnownKeys((KnownKey(KEY, Assurance.VERIFIED, "pin", 0.0),))
    peers: Any = SimpleNamespace(
        known_keys=lambda account, own: pins if pinned else store.known_keys(account, own),
        is_pinned=lambda account, key: pinned,
    )
    emitter: Any = SimpleNamespace(emit=emitted.append)
    recorder = KeyRecorder(store, peers, emitter, lambda account, own: changed.append(account))
    for event in told:
        if isinstance(event, events.TransportAgreed | SessionReleased):
            recorder.on_session_event(session, event)
            await until(store.run(tuple))
        elif (storing := recorder.store(session, event)) is not None:
            await until(storing)
    return emitted, changed


@pytest.mark.parametrize(
    ("told", "assurance", "method"),
    [((START,), Assurance.VOUCHED, "route"), ((PROVED, START), Assurance.VERIFIED, "srp")],
    ids=["vouched", "verified"],
)
async def test_a_key_is_stored_when_the_session_opens(
    store: SQLStore, told: tuple[Any, ...], assurance: Assurance, method: str
) -> None:
    await record(store, Session(), *told)
    [key] = store.known_keys(BOBS).keys
    assert (key.fingerprint, key.assurance, key.verified_by) == (KEY, assurance, method)
    assert store.has_used_e2e(BOBS)


async def test_a_session_that_does_not_open_leaves_nothing(store: SQLStore) -> None:
    session = Session()
    await record(store, session, PROVED, SessionReleased())
    assert store.known_keys(BOBS).keys == ()
    assert not store.has_used_e2e(BOBS)


async def test_whoever_has_accepted_an_offer_is_met(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted once: on a full disk known peers can still talk."""
    await record(store, Session(), events.TransportAgreed("sid", 4096), SessionReleased())
    assert store.has_used_e2e(BOBS)
    assert store.known_keys(BOBS).keys == ()
    monkeypatch.setattr(store, "record_e2e_use", lambda *written: pytest.fail("it was noted before"))
    await record(store, Session(), events.TransportAgreed("sid", 4096))


async def test_that_somebody_was_met_and_cannot_be_noted_is_told(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*written: object) -> None:
        raise StoreError(store.path, "the disk is full")

    monkeypatch.setattr(store, "record_e2e_use", full)
    [told], _ = await record(store, Session(), events.TransportAgreed("sid", 4096))
    assert isinstance(told, StoreFailed)


async def test_a_known_key_stays_as_it_is(store: SQLStore) -> None:
    store.pin(BOBS, KEY, 1.0)
    await record(store, Session(), START)
    [key] = store.known_keys(BOBS).keys
    assert (key.assurance, key.verified_by) == (Assurance.VERIFIED, "pin")


async def test_a_proof_in_an_open_session_is_stored_at_once(store: SQLStore) -> None:
    await record(store, Session(is_open=True), PROVED)
    [key] = store.known_keys(BOBS).keys
    assert key.assurance is Assurance.VERIFIED


DOUBTED = events.KeyDoubted(KEY)


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_doubt_takes_back_what_was_verified(store: SQLStore, is_open: bool) -> None:
    """It is told once, whatever had verified the key, and the other sessions with the account hear of it."""
    store.pin(BOBS, KEY, 1.0)
    emitted, changed = await record(store, Session(is_open=is_open), DOUBTED, DOUBTED)
    [event] = emitted
    assert (event.peer, event.fingerprint, event.pinned) == (BOBS, KEY, False)
    assert "is not verified any more" in str(event)
    assert changed == [BOBS]
    [key] = store.known_keys(BOBS).keys
    assert (key.assurance, key.verified_by) == (Assurance.VOUCHED, "route")


async def test_a_doubt_about_what_was_not_verified_says_nothing(store: SQLStore) -> None:
    store.remember_key(BOBS, KEY, Assurance.VOUCHED, "route", 1.0)
    assert await record(store, Session(), DOUBTED) == ([], [])


async def test_a_doubt_about_what_the_trust_file_pins_says_so(store: SQLStore) -> None:
    [event], _ = await record(store, Session(), DOUBTED, pinned=True)
    assert event.pinned
    assert "the trust file pins it" in str(event)


async def test_a_proof_is_told_where_it_changes_something(store: SQLStore) -> None:
    assert await record(store, Session(), PROVED, START, PROVED) == ([], [BOBS])


async def test_a_rotation_is_stored_at_once(store: SQLStore) -> None:
    """The account's other sessions hear of it, also if another process has stored it."""
    new = Fingerprint(bytes([1] * 32))
    store.pin(BOBS, KEY, 1.0)
    rotated = events.KeyRotated(KEY, new)
    assert await record(store, Session(), rotated, rotated) == ([], [BOBS, BOBS])
    known = store.known_keys(BOBS)
    assert (known.is_verified(KEY), known.is_verified(new)) == (False, True)


async def test_only_a_comparison_ends_the_count_of_interrupted_ones(store: SQLStore) -> None:
    """A right password says nothing about who interrupted comparisons of short strings."""
    session = Session(is_open=True)
    await record(store, session, events.SasInterrupted("sas"), PROVED)
    assert store.failed_attempts(BOBS, "sas") == 1
    await record(store, session, events.KeyVerified("sas", Assurance.VERIFIED, KEY))
    assert store.failed_attempts(BOBS, "sas") == 0


async def test_an_interruption_that_cannot_be_counted_is_an_event(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is over anyhow, so the user hears of the store."""
    emitted: list[Any] = []
    emitter: Any = SimpleNamespace(emit=emitted.append)
    peers: Any = SimpleNamespace(known_keys=store.known_keys, is_pinned=lambda account, key: False)
    session: Any = Session()

    def fail(*_: object) -> None:
        raise StoreError(store.path, "the disk is full")

    monkeypatch.setattr(store, "count_failed_attempt", fail)
    counting = KeyRecorder(store, peers, emitter, lambda account, own: None).store(session, events.SasInterrupted("sas"))
    assert counting is not None
    with pytest.raises(StoreError):
        await until(counting)
    [event] = emitted
    assert isinstance(event, StoreFailed)

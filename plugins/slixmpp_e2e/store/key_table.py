"""The keys of peers and their history, within one transaction.

Each row is parsed when it is read. A word that is not one of ours means a damaged store; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, insert, or_, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import KeyBlocked, StoreError, StoreReason
from slixmpp_e2e.store.values import Change
from xmpp_e2e.types import ACCEPT, RETIRED, ROTATION, Assurance, Fingerprint, KnownKey, KnownKeys

KEYS_PER_PEER = 64
"""Keys of one peer that are remembered without the user's decision. More than anybody has devices; a session gets all."""
KEYS_AT_ALL_ADDRESSES = 4096
"""The same at all addresses of a component together, of which a peer can make up any number: some 1.5 MB with their history."""

ACCEPTED = "accepted"
"""In the history: the key was remembered as the peer showed it; or, by the method ``accept``, the user accepts it."""
RAISED = "raised"
"""In the history: a session raised the assurance of the key."""
INHERITED = "inherited"
"""In the history: an address has a key from before a component's addresses were told apart."""
ROTATED = "rotated"
"""In the history: the key took the place of the one in the line before, which was ``retired``."""

_TRUST, _HISTORY = tables.trust, tables.history
IS_DECISION = or_(_HISTORY.c.what != ACCEPTED, _HISTORY.c.method == ACCEPT, _HISTORY.c.assurance == str(Assurance.VERIFIED))
"""In the history: the user decided, or a proof did. To remember a key is no decision: every session with a new peer does it."""
_T = TypeVar("_T")


def parse_row(path: Path, table: Table, parse: Callable[[], _T]) -> _T:
    """Return what ``parse`` returns. StoreError if the row makes no sense, or has another type than the column."""
    try:
        return parse()
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreError(path, f"a row of the table {table.name} makes no sense: {error}", StoreReason.DAMAGED) from error


class KeyTable:
    """The keys of one peer, as one address of ours knows them.

    What was known before a component's addresses were told apart holds at each, until it learns of the peer itself.
    """

    def __init__(self, connection: Connection, path: Path, peer: str, own: str) -> None:
        self._connection, self._path = connection, path
        self._peer, self._own = peer, own

    def keys(self, fingerprint: Fingerprint | None = None) -> tuple[KnownKey, ...]:
        """Return all keys, or the one with this fingerprint, the oldest first."""
        query = select(_TRUST).where(self._which(fingerprint)).order_by(_TRUST.c.since, _TRUST.c.fingerprint)
        return tuple(self._parse_key(row) for row in self._connection.execute(query))

    def remember(self, fingerprint: Fingerprint, assurance: Assurance, method: str, now: float) -> bool:
        """Insert the key or raise its assurance. Return False if nothing changes, or the key is blocked. StoreError."""
        key = self._key(fingerprint)
        if assurance is Assurance.KNOWN or (key is not None and (key.blocked or key.assurance >= assurance)):
            return False
        if key is None and assurance < Assurance.VERIFIED:
            self._check_room()
        what = "pinned" if method == "pin" else ACCEPTED if key is None else RAISED
        self._save(KnownKey(fingerprint, assurance, method, key.first_seen if key else now), key is None, what, now)
        return True

    def pin(self, fingerprint: Fingerprint, now: float) -> bool:
        """Make the key VERIFIED by ``pin``. Return False if it was verified before. KeyBlocked."""
        key = self._key(fingerprint)
        if key is not None and key.blocked:
            raise KeyBlocked(f"{fingerprint} of {self._peer} is blocked and cannot be pinned")
        return self.remember(fingerprint, Assurance.VERIFIED, "pin", now)

    def accept(self, fingerprint: Fingerprint, now: float) -> bool:
        """Accept the key without a proof, remembered or not. Return False if it was verified or accepted before. KeyBlocked."""
        key = self._key(fingerprint)
        if key is not None and key.blocked:
            raise KeyBlocked(f"{fingerprint} of {self._peer} is blocked and cannot be accepted")
        if key is not None and key.decided:
            return False
        assurance, since = (key.assurance, key.first_seen) if key else (Assurance.VOUCHED, now)
        self._save(KnownKey(fingerprint, assurance, ACCEPT, since), key is None, ACCEPTED, now)
        return True

    def doubt(self, fingerprint: Fingerprint, now: float) -> bool:
        """Take back that the key is verified: it is remembered as if it had only been shown. Return False if it was not."""
        key = self._key(fingerprint)
        if key is None or key.assurance < Assurance.VERIFIED or key.verified_by == RETIRED:
            return False
        self._save(replace(key, assurance=Assurance.VOUCHED, verified_by="route"), False, "doubted", now)
        return True

    def rotate(self, old: Fingerprint, new: Fingerprint, now: float, pinned: bool = False) -> bool:
        """Retire a verified key, and verify the one that takes its place. StoreError.

        Return False if either is blocked, or the old one is not verified any more. ``pinned``: the trust file says that it is.
        """
        before, after = self._key(old), self._key(new)
        if any(key is not None and key.blocked for key in (before, after)):
            return False
        if not pinned and (before is None or before.assurance < Assurance.VERIFIED):
            return False
        if after is None:
            self._make_room()
        since = before.first_seen if before else now  # the trust file may be all that knows it
        self._save(KnownKey(old, Assurance.VERIFIED, RETIRED, since, blocked=True), before is None, RETIRED, now)
        rotated = after or KnownKey(new, Assurance.VERIFIED, ROTATION, now)
        self._save(rotated, after is None, ROTATED, now)
        return True

    def known(self) -> KnownKeys:
        """Return all keys, the oldest first, and those that the user has ever forgotten."""
        ours = and_(_HISTORY.c.peer == self._peer, _HISTORY.c.own.in_(("", self._own)))
        query = select(_HISTORY).where(and_(ours, _HISTORY.c.what == "forgotten"))
        forgotten = frozenset(self._parse_change(row).fingerprint for row in self._connection.execute(query))
        return KnownKeys(self.keys(), forgotten)

    def block(self, fingerprint: Fingerprint, now: float) -> bool:
        """Block the key, remembered or not. Return False if it was blocked before."""
        key = self._key(fingerprint)
        if key is not None and key.blocked:
            return False
        blocked = (
            KnownKey(fingerprint, key.assurance, key.verified_by, key.first_seen, blocked=True)
            if key
            else KnownKey(fingerprint, Assurance.NONE, "block", now, blocked=True)
        )
        self._save(blocked, key is None, "blocked", now)
        return True

    def forget(self, fingerprint: Fingerprint | None, now: float) -> int:
        """Forget one key or all, and return the number of forgotten keys."""
        self._inherit(now)
        keys = self.keys(fingerprint)
        for key in keys:
            self._append_history(key, "forgotten", now)
        self._connection.execute(delete(_TRUST).where(self._which(fingerprint)))
        return len(keys)

    def history(self) -> tuple[Change, ...]:
        """Return all changes of the peer's keys, the oldest first."""
        ours = and_(_HISTORY.c.peer == self._peer, _HISTORY.c.own.in_(("", self._own)))
        query = select(_HISTORY).where(ours).order_by(_HISTORY.c.id)
        return tuple(self._parse_change(row) for row in self._connection.execute(query))

    def _key(self, fingerprint: Fingerprint) -> KnownKey | None:
        return next(iter(self.keys(fingerprint)), None)

    def _which(self, fingerprint: Fingerprint | None) -> ColumnElement[bool]:
        of_peer = and_(_TRUST.c.peer == self._peer, _TRUST.c.own == (self._own if self._has_own() else ""))
        return of_peer if fingerprint is None else and_(of_peer, _TRUST.c.fingerprint == str(fingerprint))

    def _has_own(self) -> bool:
        """Return whether this address has learned anything of the peer itself."""
        ours = and_(_HISTORY.c.peer == self._peer, _HISTORY.c.own == self._own)
        return not self._own or self._connection.execute(select(_HISTORY.c.id).where(ours).limit(1)).first() is not None

    def _inherit(self, now: float) -> None:
        """Before this address learns something itself: let it have what it was shown till now."""
        if self._has_own():
            return
        for key in self.keys():
            self._connection.execute(insert(_TRUST).values(self._row(key)))
            self._append_history(key, INHERITED, now)

    def _make_room(self) -> None:
        """Drop the key that was retired first if there is no room: as one never met, it is refused beside a verified one."""
        retired = next((key for key in self.keys() if key.verified_by == RETIRED), None)
        if retired is not None and self._reached_limit() is not None:
            self._connection.execute(delete(_TRUST).where(self._which(retired.fingerprint)))

    def _check_room(self) -> None:
        if (limit := self._reached_limit()) is not None:
            cause = f"{limit} keys of {self._peer} are remembered, and this would be one more"
            raise StoreError(self._path, cause, StoreReason.TOO_MANY_KEYS)

    def _reached_limit(self) -> int | None:
        for which, limit in (
            (self._which(None), KEYS_PER_PEER),
            (_TRUST.c.peer == self._peer, KEYS_AT_ALL_ADDRESSES),
        ):
            count = select(func.count()).select_from(_TRUST).where(which)
            if self._connection.execute(count).scalar_one() >= limit:
                return limit
        return None

    def _save(self, key: KnownKey, new: bool, what: str, now: float) -> None:
        """Write the key, and the line of the history about it: never one without the other."""
        self._inherit(now)
        change = insert(_TRUST) if new else update(_TRUST).where(self._which(key.fingerprint))
        self._connection.execute(change.values(self._row(key)))
        self._append_history(key, what, now)

    def _row(self, key: KnownKey) -> dict[str, object]:
        return {
            "peer": self._peer,
            "fingerprint": str(key.fingerprint),
            "assurance": str(key.assurance),
            "method": key.verified_by,
            "since": key.first_seen,
            "blocked": key.blocked,
            "own": self._own,
        }

    def _append_history(self, key: KnownKey, what: str, now: float) -> None:
        row = {
            "peer": self._peer,
            "at": now,
            "fingerprint": str(key.fingerprint),
            "what": what,
            "assurance": str(key.assurance),
            "method": key.verified_by,
            "own": self._own,
        }
        self._connection.execute(insert(_HISTORY).values(row))

    def _parse_key(self, row: Row[Any]) -> KnownKey:
        def parse() -> KnownKey:
            fingerprint, assurance = Fingerprint.parse(row.fingerprint), Assurance.parse(row.assurance)
            return KnownKey(fingerprint, assurance, row.method, row.since, row.blocked)

        return parse_row(self._path, _TRUST, parse)

    def _parse_change(self, row: Row[Any]) -> Change:
        def parse() -> Change:
            return Change(row.at, Fingerprint.parse(row.fingerprint), row.what, Assurance.parse(row.assurance), row.method)

        return parse_row(self._path, _HISTORY, parse)

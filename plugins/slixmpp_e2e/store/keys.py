"""The keys of peers and their history, within one transaction.

What a row says is parsed at the door: a word that is none of ours is a damaged store, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import KeyBlocked, StoreDamaged, TooManyKeys
from xmpp_e2e.identity import Assurance, Fingerprint, KnownKey
from xmpp_e2e.trust.store import Change

KEYS_PER_PEER = 64
"""Keys of a peer remembered without the user's doing: more than anybody has devices, and a session is handed all."""

ACCEPTED = "accepted"
"""In the history: the key was taken as it came."""

_TRUST, _HISTORY = tables.trust, tables.history
_T = TypeVar("_T")


def parsed(path: Path, table: Table, parse: Callable[[], _T]) -> _T:
    """What ``parse`` makes of a row; StoreDamaged if it is nonsense, or of another type than the column."""
    try:
        return parse()
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreDamaged(path, f"a row of the table {table.name} makes no sense: {error}") from error


def decided(connection: Connection, path: Path, since: int | None) -> tuple[int, frozenset[str]]:
    """The last line of everybody's history, and whose keys were decided about after ``since`` (None: nobody's).

    A first contact is no decision: every session makes one.
    """
    last = connection.execute(select(func.max(_HISTORY.c.id))).scalar() or 0
    if since is None:
        return last, frozenset()
    query = select(_HISTORY.c.peer).where(and_(_HISTORY.c.id > since, _HISTORY.c.what != ACCEPTED))
    return last, parsed(path, _HISTORY, lambda: frozenset(map(str, connection.execute(query).scalars())))


class PeerKeys:
    """The keys of one peer, in one transaction."""

    def __init__(self, connection: Connection, path: Path, peer: str) -> None:
        self._connection = connection
        self._path = path
        self._peer = peer

    def all(self, fingerprint: Fingerprint | None = None) -> tuple[KnownKey, ...]:
        """All keys, or the one with this fingerprint, the oldest first."""
        query = select(_TRUST).where(self._which(fingerprint)).order_by(_TRUST.c.since, _TRUST.c.fingerprint)
        return tuple(self._known(row) for row in self._connection.execute(query))

    def accept(self, fingerprint: Fingerprint, assurance: Assurance, method: str, now: float) -> bool:
        """Insert the key or raise its level; False if there is nothing to raise, or it is blocked. TooManyKeys."""
        key = self._one(fingerprint)
        if assurance is Assurance.KNOWN or (key is not None and (key.blocked or key.assurance >= assurance)):
            return False
        if key is None and assurance < Assurance.VERIFIED:
            self._make_sure_of_room()
        what = "pinned" if method == "pin" else ACCEPTED if key is None else "raised"
        self._write(KnownKey(fingerprint, assurance, method, key.since if key else now), key is None, what, now)
        return True

    def pin(self, fingerprint: Fingerprint, now: float) -> bool:
        """VERIFIED by ``pin``; False if it was verified before. KeyBlocked."""
        key = self._one(fingerprint)
        if key is not None and key.blocked:
            raise KeyBlocked(f"{fingerprint} of {self._peer} is blocked and cannot be pinned")
        return self.accept(fingerprint, Assurance.VERIFIED, "pin", now)

    def block(self, fingerprint: Fingerprint, now: float) -> bool:
        """Refuse the key, remembered or not; False if it was blocked before."""
        key = self._one(fingerprint)
        if key is not None and key.blocked:
            return False
        blocked = (
            KnownKey(fingerprint, key.assurance, key.method, key.since, blocked=True)
            if key
            else KnownKey(fingerprint, Assurance.NONE, "block", now, blocked=True)
        )
        self._write(blocked, key is None, "blocked", now)
        return True

    def forget(self, fingerprint: Fingerprint | None, now: float) -> int:
        """Forget one key or all; the number forgotten."""
        keys = self.all(fingerprint)
        for key in keys:
            self._note(key, "forgotten", now)
        self._connection.execute(delete(_TRUST).where(self._which(fingerprint)))
        return len(keys)

    def history(self) -> tuple[Change, ...]:
        """Everything that was ever decided, oldest first."""
        query = select(_HISTORY).where(_HISTORY.c.peer == self._peer).order_by(_HISTORY.c.id)
        return tuple(self._change(row) for row in self._connection.execute(query))

    def _one(self, fingerprint: Fingerprint) -> KnownKey | None:
        return next(iter(self.all(fingerprint)), None)

    def _which(self, fingerprint: Fingerprint | None) -> ColumnElement[bool]:
        of_peer = _TRUST.c.peer == self._peer
        return of_peer if fingerprint is None else and_(of_peer, _TRUST.c.fingerprint == str(fingerprint))

    def _make_sure_of_room(self) -> None:
        count = select(func.count()).select_from(_TRUST).where(self._which(None))
        if self._connection.execute(count).scalar_one() >= KEYS_PER_PEER:
            cause = f"{KEYS_PER_PEER} keys of {self._peer} are remembered, and this would be one more"
            raise TooManyKeys(self._path, cause)

    def _write(self, key: KnownKey, new: bool, what: str, now: float) -> None:
        """The key as it stands from now on, and the line in the history that says so: never one without the other."""
        row = {
            "peer": self._peer,
            "fingerprint": str(key.fingerprint),
            "assurance": str(key.assurance),
            "method": key.method,
            "since": key.since,
            "blocked": key.blocked,
        }
        change = insert(_TRUST) if new else update(_TRUST).where(self._which(key.fingerprint))
        self._connection.execute(change.values(row))
        self._note(key, what, now)

    def _note(self, key: KnownKey, what: str, now: float) -> None:
        row = {
            "peer": self._peer,
            "at": now,
            "fingerprint": str(key.fingerprint),
            "what": what,
            "assurance": str(key.assurance),
            "method": key.method,
        }
        self._connection.execute(insert(_HISTORY).values(row))

    def _known(self, row: Row[Any]) -> KnownKey:
        def parse() -> KnownKey:
            fingerprint, assurance = Fingerprint.parse(row.fingerprint), Assurance.parse(row.assurance)
            return KnownKey(fingerprint, assurance, row.method, row.since, row.blocked)

        return parsed(self._path, _TRUST, parse)

    def _change(self, row: Row[Any]) -> Change:
        def parse() -> Change:
            return Change(row.at, Fingerprint.parse(row.fingerprint), row.what, Assurance.parse(row.assurance), row.method)

        return parsed(self._path, _HISTORY, parse)

"""The store of one account on one device, in SQL.

All methods but ``run`` are synchronous: rows are small, and each call takes some hundred microseconds. What reads waits for
nobody. What writes may wait five seconds for another process, so an event loop has it done by ``run``, in a thread, or under
``at_once``. Any thread may call; locks make them take turns, one for what reads and one for what writes.
"""

from __future__ import annotations

import asyncio
import os
import string
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import platformdirs
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from slixmpp_e2e.store import handled_table, tables
from slixmpp_e2e.store.database import AT_ONCE_MS, Changes, Database, open_database
from slixmpp_e2e.store.error_mapping import BUSY_SECONDS
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.key_protection.key_file import key_file_beside
from slixmpp_e2e.store.key_protection.protection import KeyProtection
from slixmpp_e2e.store.key_table import IS_DECISION, KeyTable, parse_row
from slixmpp_e2e.store.policy_table import PolicyTable
from slixmpp_e2e.store.secret_table import SecretTable
from slixmpp_e2e.store.values import Change, PeerPolicy, StoredOwnKey
from xmpp_e2e.inner.resumption import Handled, Link
from xmpp_e2e.types import Assurance, Fingerprint, KnownKeys

_SAFE = frozenset((string.ascii_lowercase + string.digits + "-_.@").encode())
_NAME_BYTES = 200
"""The longest file name that spells out a JID. File systems allow 255, and SQLite and we append to it."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SEEN, _FAILURES = tables.seen, tables.failures


def path_for(bare_jid: str, directory: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of an account's store: one file for each bare JID, by default in the user's data folder.

    All characters but a-z, 0-9 and ``-_.@`` are percent-encoded, also upper case, so that two JIDs never share a file where
    file names ignore case. JIDs that are too long for a file name are hashed. ValueError for a full JID.
    """
    folder = Path(directory) if directory is not None else platformdirs.user_data_path("xmpp-e2e", appauthor=False)
    raw = require_bare(bare_jid).encode()
    name = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw)
    if len(name) > _NAME_BYTES:
        name = f"~{sha256(raw).hexdigest()}"
    return folder / f"{name}.db"


def require_bare(jid: str) -> str:
    """Return ``jid`` if it is a bare JID. ValueError if not: a query for a full JID would silently find nothing."""
    if not jid or "/" in jid:
        raise ValueError(f"{jid!r} is no bare JID: expected name@domain or domain")
    return jid


class SQLStore:
    """An open store. ``open`` and ``for_jid`` make it; ``close`` or ``with`` ends it. All methods raise StoreError.

    ``own`` is the address of ours (a bare JID) whose keys, secrets and attempts are meant. Only a component has several, so it
    counts only with ``component`` set; without it, what was stored before addresses were told apart is meant.
    """

    def __init__(self, database: Database, protection: KeyProtection) -> None:
        self._database = database
        self._protection = protection
        self._secrets = SecretTable(database.path, protection)
        self._lock, self._write_lock = threading.RLock(), threading.RLock()
        self._thread = ThreadPoolExecutor(1, "e2e-store")
        # a client that is dropped without unloading the plugin must not leave the file open
        self._close = weakref.finalize(self, _close, self._thread, self._write_lock, self._lock, database)
        self.is_ending = False
        """True once ``end`` was called: what is stored after that is for nobody here."""
        self.component: str | None = None
        """The domain of the component whose store this is."""
        changes = tables.changes
        self.changed_peers = Changes(database, self._lock, tables.history, IS_DECISION)
        """The peers about whose keys somebody has decided since the last call."""
        self.changed_policies = Changes(database, self._lock, changes, changes.c.what == tables.POLICY_SET)
        """The peers for whom the user's settings have changed since the last call."""

    def __repr__(self) -> str:
        return f"SQLStore({str(self.path)!r})"

    @classmethod
    def open(cls, path: str | os.PathLike[str], protection: KeyProtection | None = None) -> Self:
        """Open the store at ``path``, or make it. By default the key file beside it protects the secrets.

        ``Passphrase("…")`` or ``Keyring()`` protects a new store in another way, and opens a store that is protected so. A
        wrong key is found at the first secret, or by ``load_key``; everything else can be read without any key.
        """
        resolved = Path(path).expanduser().resolve()
        chosen = protection or key_file_beside(resolved)
        return cls(open_database(resolved, chosen), chosen)

    @classmethod
    def for_jid(
        cls, bare_jid: str, directory: str | os.PathLike[str] | None = None, protection: KeyProtection | None = None
    ) -> Self:
        """Open the store of an account, at ``path_for(bare_jid, directory)``."""
        return cls.open(path_for(bare_jid, directory), protection)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The database file; ``-wal``, ``-shm`` and the key file are beside it."""
        return self._database.path

    @property
    def key_notice(self) -> str | None:
        """One sentence for the user, if this object made the key that protects the secrets."""
        return self._secrets.notice

    @property
    def migration_notice(self) -> str | None:
        """One sentence for the user, if opening the store has migrated its schema."""
        if (backup := self._database.backup) is None:
            return None
        return f"The store {self.path} was made by an older version and is migrated now. Its old content is kept in {backup}."

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, self._database.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._write_lock, self._database.writing() as connection:
            yield connection

    @contextmanager
    def _encrypting(self) -> Iterator[Connection]:
        """Run a transaction that writes, and may make the first key. StoreError."""
        with self._write_lock:
            if self.protection_kind() is None:
                with self._database.writing_durably() as connection:  # a key outlives a power cut: so must the note about it
                    key_exists = self._protection.has_key() or key_file_beside(self.path).has_key()
                    self._secrets.note_first_key(connection, key_exists=key_exists)
            with self._writing() as connection:
                yield connection

    def run(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Make a call of this store in its thread, after those before it: whoever holds the store's lock blocks no event loop.

        The call is made though whoever waits for it is cancelled. The future raises what the call raises: soon, if the calls
        before it have already waited in vain for whoever holds the lock.
        """
        by = time.monotonic() + BUSY_SECONDS

        def make() -> _T:
            # who holds the store was waited for by the calls before this one
            with self.at_once() if time.monotonic() > by else nullcontext():
                return call(*args, **kwargs)

        try:
            calling = asyncio.get_running_loop().run_in_executor(self._thread, make)
        except RuntimeError:
            raise StoreError(self.path, "the store is closed", StoreReason.UNUSABLE) from None
        return asyncio.shield(calling)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write in the event loop: what others do is waited for some 50 ms. StoreError if it takes longer."""
        if not self._write_lock.acquire(timeout=AT_ONCE_MS / 1000):
            raise StoreError(self.path, "a change waits for another process, which holds the store", StoreReason.BUSY)
        try:
            with self._database.at_once():
                yield
        finally:
            self._write_lock.release()

    def end(self) -> None:
        """Close the file when all that ``run`` was asked for is done; it is waited for no longer than in ``at_once``."""
        self.is_ending = True
        closing = self._thread.submit(self.close)
        self._thread.shutdown(wait=False)
        wait((closing,), AT_ONCE_MS / 1000)

    # --- the key protection ----------------------------------------------------------------------------------------

    def protection_kind(self) -> str | None:
        """Return the ``kind`` of the protection that the secrets need, or None as long as there are none. Needs no key."""
        with self._reading() as connection:
            return self._secrets.protection_kind(connection)

    def load_key(self) -> bool:
        """Load the key and check that it fits. Return False if nothing is encrypted yet.

        StoreError if it does not. It may take a fraction of a second of computing, or until the user has unlocked their
        keyring. Other threads can use the store meanwhile.
        """
        with self._reading() as connection:
            self._secrets.bind(connection)
        self._protection.load_key()
        with self._reading() as connection:
            return self._secrets.check_key(connection)

    def change_protection(self, protection: KeyProtection) -> str | None:
        """Encrypt the secrets with another key, then delete the old one. Return what the user should know about the new one.

        All secrets are changed or none, also in a crash: both keys exist until the change is done. If the key of ``protection``
        exists, it is used. Copies of the store that an old key file protects need a copy of that file. ValueError if the key
        stays the same.
        """
        if protection == self._protection:  # its key would be deleted
            raise ValueError("this key protects the store already")
        self.load_key()
        protection.bind(self.path, None)
        protection.load_key()
        with self._write_lock, self._lock:
            old = self._protection
            secrets = SecretTable(self.path, protection)
            with self._database.writing_durably() as connection:
                changed = self._secrets.change_protection(connection, secrets)
            self._protection, self._secrets = protection, secrets
            if changed:
                try:
                    old.delete_key()
                except StoreError as error:
                    return f"{secrets.notice or ''} The old key opens nothing any more, but cannot be deleted: {error}".lstrip()
            return secrets.notice

    def protect_copy(self, copy: Connection, other: SecretTable) -> None:
        """Encrypt the secrets in a copy of this store with the key of ``other``. StoreError."""
        with self._lock:
            self._secrets.change_protection(copy, other)

    # --- our identity and the secrets ------------------------------------------------------------------------------

    def own_key(self, create: Callable[[], StoredOwnKey], *, anew: bool = False) -> StoredOwnKey:
        """Return our identity. ``create`` makes it once, even if several processes ask at the same time.

        One that was deleted is not made again, unless ``anew``: the user asks for it.
        """
        with self._reading() as connection:
            found = self._secrets.own_key(connection)
        if found is not None:
            return found
        with self._encrypting() as connection:  # another process may have been faster
            return self._secrets.own_key(connection) or self._secrets.create_own_key(connection, create, anew)

    def own_certificate(self) -> bytes | None:
        """Return our certificate (DER), or None. Needs no key."""
        with self._reading() as connection:
            return self._secrets.own_certificate(connection)

    def rotate_own_key(self, rotate: Callable[[StoredOwnKey], StoredOwnKey]) -> StoredOwnKey:
        """Replace our identity by what ``rotate`` makes of it, and return that. Nothing is left of the old private key."""
        with self._write_lock, self._database.writing_durably() as connection:
            return self._secrets.rotate_own_key(connection, rotate)

    def put_secret(self, bare_jid: str, kind: str, key_id: str, value: bytes, own: str = "") -> None:
        """Store a secret shared with the peer, encrypted, in the place of any with the same kind and id. ValueError."""
        with self._encrypting() as connection:
            self._secrets.put_secret(connection, require_bare(bare_jid), kind, key_id, value, self.own(own))

    def secret(self, bare_jid: str, kind: str, key_id: str, own: str = "") -> bytes | None:
        """Return the secret, or None."""
        with self._reading() as connection:
            return self._secrets.secret(connection, require_bare(bare_jid), kind, key_id, self.own(own))

    def secret_kinds(self, bare_jid: str, own: str = "") -> frozenset[str]:
        """Return the kinds of secrets that there are, also from before a component's addresses were told apart."""
        with self._reading() as connection:
            return self._secrets.secret_kinds(connection, require_bare(bare_jid), {self.own(own), ""})

    def secret_ids(self, bare_jid: str, kind: str, own: str = "") -> tuple[str, ...]:
        """Return the ids of the secrets of this kind, sorted."""
        with self._reading() as connection:
            return self._secrets.secret_ids(connection, require_bare(bare_jid), kind, self.own(own))

    def forget_secret(self, bare_jid: str, kind: str, key_id: str, own: str = "") -> bool:
        """Forget a secret. Return False if there was none."""
        with self._writing() as connection:
            return self._secrets.forget_secret(connection, require_bare(bare_jid), kind, key_id, self.own(own))

    # --- the keys of peers -----------------------------------------------------------------------------------------

    def known_keys(self, bare_jid: str, own: str = "") -> KnownKeys:
        """Return the keys of the peer for a new session, the oldest first."""
        with self._reading() as connection:
            return self._keys(connection, bare_jid, own).known()

    def remember_key(
        self, bare_jid: str, fingerprint: Fingerprint, assurance: Assurance, method: str, now: float, own: str = ""
    ) -> bool:
        """Remember a key when its session opens, or raise its assurance; never lower it. Return whether something changed.

        Nothing changes for KNOWN, which proves nothing new, and for a blocked key. ValueError for NONE.
        """
        if assurance is Assurance.NONE:
            raise ValueError("a key without any assurance is not remembered")
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).remember(fingerprint, assurance, method, now)

    def pin(self, bare_jid: str, fingerprint: Fingerprint, now: float, own: str = "") -> bool:
        """Make the key VERIFIED by ``pin``: the user vouches for it. Return False if it was verified before. KeyBlocked."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).pin(fingerprint, now)

    def accept(self, bare_jid: str, fingerprint: Fingerprint, now: float, own: str = "") -> bool:
        """Accept the key without a proof. Return False if it was verified or accepted before. KeyBlocked."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).accept(fingerprint, now)

    def doubt(self, bare_jid: str, fingerprint: Fingerprint, now: float, own: str = "") -> bool:
        """Take back that the key is verified. Return False if it was not."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).doubt(fingerprint, now)

    def rotate_key(
        self, bare_jid: str, old: Fingerprint, new: Fingerprint, now: float, own: str = "", pinned: bool = False
    ) -> bool:
        """Retire a verified key, and verify the one that takes its place. Return False if either is blocked."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).rotate(old, new, now, pinned)

    def block(self, bare_jid: str, fingerprint: Fingerprint, now: float, own: str = "") -> bool:
        """Block the key, remembered or not, until it is forgotten. Return False if it was blocked before."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).block(fingerprint, now)

    def forget(self, bare_jid: str, fingerprint: Fingerprint | None, now: float, own: str = "") -> int:
        """Forget one key, or with None all keys of the peer. Return the number of forgotten keys.

        The policy, ``has_used_e2e`` and the history stay.
        """
        with self._writing() as connection:
            return self._keys(connection, bare_jid, own).forget(fingerprint, now)

    def history(self, bare_jid: str, own: str = "") -> tuple[Change, ...]:
        """Return all changes of the peer's keys, the oldest first."""
        with self._reading() as connection:
            return self._keys(connection, bare_jid, own).history()

    def peers(self) -> tuple[str, ...]:
        """Return the bare JIDs of all peers of whom any address of ours remembers a key, sorted."""
        with self._reading() as connection:
            found = connection.execute(select(tables.trust.c.peer).distinct()).scalars().all()
        return parse_row(self.path, tables.trust, lambda: tuple(sorted(map(require_bare, found))))

    def remembers(self, bare_jid: str) -> bool:
        """Return whether any address of ours remembers a key of the peer."""
        query = select(tables.trust.c.peer).where(tables.trust.c.peer == require_bare(bare_jid)).limit(1)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def own(self, own: str) -> str:
        """Return what stands in the column ``own`` for an address of ours."""
        return require_bare(own) if own and self.component is not None else ""

    def _keys(self, connection: Connection, bare_jid: str, own: str = "") -> KeyTable:
        return KeyTable(connection, self.path, require_bare(bare_jid), self.own(own))

    # --- policies, and who has used encryption ---------------------------------------------------------------------

    def policy(self, bare_jid: str) -> PeerPolicy:
        """Return the user's settings for the peer."""
        with self._reading() as connection:
            return PolicyTable(connection, self.path).policy(require_bare(bare_jid))

    def set_policy(self, bare_jid: str, policy: PeerPolicy) -> None:
        """Replace the user's settings for the peer."""
        peer = require_bare(bare_jid)
        with self._writing() as connection:
            PolicyTable(connection, self.path).replace(peer, policy)

    def change_policy(self, bare_jid: str, change: Callable[[PeerPolicy], PeerPolicy]) -> None:
        """Replace the user's settings for the peer by what ``change`` makes of them. Nobody else changes them meanwhile."""
        peer = require_bare(bare_jid)
        with self._writing() as connection:
            table = PolicyTable(connection, self.path)
            table.replace(peer, change(table.policy(peer)))

    def watch_settings(self) -> Changes:
        """Return a watch that tells for whom ``policy`` or ``has_used_e2e`` may return something else than when last asked."""
        return Changes(self._database, self._lock, tables.changes)

    def has_used_e2e(self, bare_jid: str) -> bool:
        """Return whether we have met the peer: one of us has accepted an offer of the other, or had a session with them."""
        query = select(_SEEN.c.peer).where(_SEEN.c.peer == require_bare(bare_jid))
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def record_e2e_use(self, bare_jid: str, now: float) -> None:
        """Note that we have met the peer: an offer was accepted, or a session is open."""
        which = _SEEN.c.peer == require_bare(bare_jid)
        with self._writing() as connection:
            if connection.execute(update(_SEEN).where(which).values(last=now)).rowcount == 0:
                connection.execute(insert(_SEEN).values({"peer": bare_jid, "first": now, "last": now}))
                PolicyTable(connection, self.path).note_change(bare_jid, tables.FIRST_USE)

    # --- what sessions have left -----------------------------------------------------------------------------------

    def handled(self, link: Link, sid: str) -> int | None:
        """Return how many stanzas of the peer were handled in a session, by any program with this store; None: nothing is
        known of it."""
        with self._reading() as connection:
            return handled_table.count(connection, self.path, self.own(link.own_account), link, sid)

    def note_handled(self, changes: Iterable[Handled], now: float) -> None:
        """Note what has come, so that the next run knows."""
        with self._writing() as connection:
            handled_table.note(connection, ((self.own(change.link.own_account), change) for change in changes), now)

    # --- failed attempts -------------------------------------------------------------------------------------------

    def count_failed_attempt(self, bare_jid: str, kind: str, own: str = "") -> int:
        """Count one more failed attempt, and return the new count, which survives a restart."""
        which, own = self._is_counter(bare_jid, kind, own), self.own(own)
        with self._writing() as connection:
            if connection.execute(update(_FAILURES).where(which).values(count=_FAILURES.c.count + 1)).rowcount == 0:
                connection.execute(insert(_FAILURES).values({"peer": bare_jid, "kind": kind, "count": 1, "own": own}))
            return self._count(connection, which)

    def failed_attempts(self, bare_jid: str, kind: str, own: str | None = None) -> int:
        """Return the failed attempts since the last ``clear_failed_attempts``; with None those at all addresses of ours."""
        with self._reading() as connection:
            return self._count(connection, self._is_counter(bare_jid, kind, own))

    def clear_failed_attempts(self, bare_jid: str, kind: str, own: str | None = None) -> None:
        """Set the count to 0; with None at all addresses of ours."""
        with self._writing() as connection:
            connection.execute(delete(_FAILURES).where(self._is_counter(bare_jid, kind, own)))

    def _is_counter(self, bare_jid: str, kind: str, own: str | None) -> ColumnElement[bool]:
        which = and_(_FAILURES.c.peer == require_bare(bare_jid), _FAILURES.c.kind == kind)
        return which if own is None else and_(which, _FAILURES.c.own == self.own(own))

    def _count(self, connection: Connection, which: ColumnElement[bool]) -> int:
        found = connection.execute(select(_FAILURES.c.count).where(which)).scalars().all()
        return parse_row(self.path, _FAILURES, lambda: sum(map(int, found)))


def _close(thread: ThreadPoolExecutor, write_lock: threading.RLock, lock: threading.RLock, database: Database) -> None:
    thread.shutdown(wait=False)
    with write_lock, lock:
        database.close()

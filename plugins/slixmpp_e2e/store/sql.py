"""The store of one account and device in SQL: ``xmpp_e2e.trust.store.TrustStore``, with secrets sealed.

Synchronous, for small rows: each call takes some hundred microseconds. What is asked for every stanza (``policy``,
``seen``) is kept in memory until another process writes, and takes ten. Any thread may use it; one at a time gets in.
"""

from __future__ import annotations

import os
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.database import Database, open_database
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.store.key_protection.key_file import KeyFile, Sealer
from slixmpp_e2e.store.keys import PeerKeys, decided, parsed
from slixmpp_e2e.store.vault import Vault
from xmpp_e2e.identity import Assurance, Fingerprint, Remembered, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e.trust.store import Change, PeerPolicy, StoredIdentity

CACHED_PEERS = 4096
"""Peers whose policy is kept in memory, some 300 bytes each: strangers must not fill it. Beyond, it is begun anew."""

_SAFE = frozenset((string.ascii_lowercase + string.digits + "-_.@").encode())
_NAME_BYTES = 200
"""The longest file name that is spelled out: file systems allow 255, and SQLite and we append to it."""

_POLICY, _SEEN, _FAILURES = tables.policy, tables.seen, tables.failures


def path_for(bare_jid: str, directory: str | os.PathLike[str] | None = None) -> Path:
    """The store of an account: one file for each bare JID, by default in the user's data folder.

    Whatever is not a-z, 0-9 or one of ``-_.@`` is percent-encoded, upper case too, so that two JIDs never share a file,
    not even where file names ignore case; JIDs too long for a file name are hashed. ValueError for a full JID.
    """
    folder = Path(directory) if directory is not None else platformdirs.user_data_path("xmpp-e2e", appauthor=False)
    raw = bare(bare_jid).encode()
    name = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw)
    if len(name) > _NAME_BYTES:
        name = f"~{sha256(raw).hexdigest()}"
    return folder / f"{name}.db"


def bare(jid: str) -> str:
    """``jid`` if it is a bare JID; ValueError if not: what is asked of a full one would quietly find nothing."""
    if not jid or "/" in jid:
        raise ValueError(f"{jid!r} is no bare JID: expected name@domain or domain")
    return jid


def key_beside(path: Path) -> KeyFile:
    """The key file of the store at a path, which may be a link to it: one store, one key."""
    resolved = path.expanduser().resolve()
    return KeyFile(resolved.with_name(f"{resolved.name.removesuffix('.db')}.key"))


class SQLStore:
    """An open store; made by ``open`` or ``for_jid``, ended by ``close`` or ``with``. All methods raise StoreError."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._vault = Vault(database.path, sealer)
        self._lock = threading.RLock()
        self._version = -1
        self._told_version = -1
        self._told: int | None = None
        self._policies: dict[str, PeerPolicy] = {}
        self._seen: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"SQLStore({str(self.path)!r})"

    @classmethod
    def open(cls, path: str | os.PathLike[str], sealer: Sealer | None = None) -> Self:
        """Open the store at ``path``, or make it; secrets are sealed with the key file beside it by default.

        ``sealer=Passphrase("…")`` or ``Keyring()`` seals a new store otherwise, and opens one that is sealed so. Whether
        it fits is told at the first secret, or by ``unlock``: what is not sealed can be read without any key.
        """
        resolved = Path(path).expanduser().resolve()
        chosen = sealer or key_beside(resolved)
        return cls(open_database(resolved, chosen), chosen)

    @classmethod
    def for_jid(cls, bare_jid: str, directory: str | os.PathLike[str] | None = None, sealer: Sealer | None = None) -> Self:
        """Open the store of an account: ``path_for`` says where."""
        return cls.open(path_for(bare_jid, directory), sealer)

    def close(self) -> None:
        """Let go of the file. Twice does no harm."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The database file; ``-wal``, ``-shm`` and the key file are beside it."""
        return self._database.path

    @property
    def created_notice(self) -> str | None:
        """One sentence for the user, if the key that seals the secrets was made through this object."""
        return self._vault.notice

    @property
    def migrated_notice(self) -> str | None:
        """One sentence for the user, if opening the store has changed its schema."""
        copy = self._database.copy
        return None if copy is None else f"The store {self.path} was made by an older version; as it was, it is kept in {copy}."

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, self._database.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._lock, self._database.writing() as connection:
            yield connection

    # --- the seal --------------------------------------------------------------------------------------------------

    def sealed_with(self) -> str | None:
        """The ``kind`` of the sealer that opens the secrets; None as long as there are none. It needs no key."""
        with self._reading() as connection:
            return self._vault.sealed_with(connection)

    def unlock(self) -> bool:
        """Try the key: True if it fits, False if nothing is sealed yet. KeyWrong, KeyMissing, …

        It may take long: a fraction of a second of computing, or as long as a keyring's user takes. Other threads do not wait
        for it.
        """
        with self._reading() as connection:
            self._vault.attach(connection)
        self._sealer.load()
        with self._reading() as connection:
            return self._vault.unlock(connection)

    def reseal(self, sealer: Sealer) -> str | None:
        """Seal the secrets with another key, then delete the old one; what the user should know about the new one.

        All or nothing, a crash included; meanwhile both keys are there. A key that ``sealer`` has already is taken as it
        is. Copies of the store that are sealed with an old key file need a copy of that. ValueError if it is the same key.
        """
        if sealer == self._sealer:  # it would be deleted
            raise ValueError("the store is sealed with this key already")
        self.unlock()
        sealer.attach(self.path, None)
        sealer.load()
        with self._lock:
            old = self._sealer
            vault = Vault(self.path, sealer)
            with self._database.writing_durably() as connection:
                anything = self._vault.reseal(connection, vault)
            self._sealer, self._vault = sealer, vault
            if anything:
                try:
                    old.retire()
                except StoreError as error:
                    return f"{vault.notice or ''} The old key opens nothing any more, but cannot be deleted: {error}".lstrip()
            return vault.notice

    # --- our identity and the secrets ------------------------------------------------------------------------------

    def identity(self, create: Callable[[], StoredIdentity]) -> StoredIdentity:
        """Our identity; ``create`` makes it, once, even if several processes ask at the same time."""
        with self._reading() as connection:
            found = self._vault.identity(connection)
        if found is not None:
            return found
        with self._writing() as connection:  # another process may have been faster
            return self._vault.identity(connection) or self._vault.new_identity(connection, create)

    def put_secret(self, bare_jid: str, kind: str, key_id: str, value: bytes) -> None:
        """Store a secret that is shared with the peer, sealed; replaces the one of the same kind and id. ValueError."""
        with self._writing() as connection:
            self._vault.put_secret(connection, bare(bare_jid), kind, key_id, value)

    def secret(self, bare_jid: str, kind: str, key_id: str) -> bytes | None:
        """The secret, or None."""
        with self._reading() as connection:
            return self._vault.secret(connection, bare(bare_jid), kind, key_id)

    def secret_ids(self, bare_jid: str, kind: str) -> tuple[str, ...]:
        """The ids of the secrets of this kind, sorted."""
        with self._reading() as connection:
            return self._vault.secret_ids(connection, bare(bare_jid), kind)

    def forget_secret(self, bare_jid: str, kind: str, key_id: str) -> bool:
        """Forget a secret; False if there was none."""
        with self._writing() as connection:
            return self._vault.forget_secret(connection, bare(bare_jid), kind, key_id)

    # --- the keys of peers -----------------------------------------------------------------------------------------

    def remembered(self, bare_jid: str) -> Remembered:
        """What to hand to a session with this peer, the oldest key first."""
        with self._reading() as connection:
            return Remembered(self._keys(connection, bare_jid).all())

    def accept(self, bare_jid: str, fingerprint: Fingerprint, assurance: Assurance, method: str, now: float) -> bool:
        """Remember a key once its session is open, or raise its level; never lowers it. True if something changed.

        False also for KNOWN (nothing was learnt) and for a blocked key. ValueError for NONE; TooManyKeys.
        """
        if assurance is Assurance.NONE:
            raise ValueError("a key of which nothing is known is not remembered")
        with self._writing() as connection:
            return self._keys(connection, bare_jid).accept(fingerprint, assurance, method, now)

    def pin(self, bare_jid: str, fingerprint: Fingerprint, now: float) -> bool:
        """The user vouches for the key: VERIFIED by ``pin``. False if it was verified before; KeyBlocked."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid).pin(fingerprint, now)

    def block(self, bare_jid: str, fingerprint: Fingerprint, now: float) -> bool:
        """The user refuses the key, remembered or not, until it is forgotten. False if it was blocked before."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid).block(fingerprint, now)

    def forget(self, bare_jid: str, fingerprint: Fingerprint | None, now: float) -> int:
        """Forget one key (None: all keys) of the peer; the number forgotten. Policy, ``seen`` and history stay."""
        with self._writing() as connection:
            return self._keys(connection, bare_jid).forget(fingerprint, now)

    def history(self, bare_jid: str) -> tuple[Change, ...]:
        """Everything that was ever decided about the peer's keys, oldest first."""
        with self._reading() as connection:
            return self._keys(connection, bare_jid).history()

    def news(self) -> frozenset[str]:
        """The peers about whose keys somebody decided since this was last asked; nobody the first time.

        5 µs as long as no other process writes; its decisions come with our own.
        """
        with self._lock:
            version = self._database.version()
            if version == self._told_version:
                return frozenset()
            with self._reading() as connection:
                last, peers = decided(connection, self.path, self._told)
            self._told_version, self._told = version, last
            return peers

    def peers(self) -> tuple[str, ...]:
        """The bare JIDs of which we remember a key, sorted."""
        with self._reading() as connection:
            found = connection.execute(select(tables.trust.c.peer).distinct()).scalars().all()
        return parsed(self.path, tables.trust, lambda: tuple(sorted(map(bare, found))))

    def _keys(self, connection: Connection, bare_jid: str) -> PeerKeys:
        return PeerKeys(connection, self.path, bare(bare_jid))

    # --- what is asked for every stanza ----------------------------------------------------------------------------

    def policy(self, bare_jid: str) -> PeerPolicy:
        """What the user wants for the peer."""
        with self._lock:
            self._forget_if_stale()
            if bare_jid not in self._policies:
                self._policies[bare_jid] = self._read_policy(bare(bare_jid))
            return self._policies[bare_jid]

    def set_policy(self, bare_jid: str, policy: PeerPolicy) -> None:
        """Replace what the user wants for the peer."""
        row = {
            "peer": bare(bare_jid),
            "policy": policy.policy and policy.policy.value,
            "trust_model": policy.trust_model and policy.trust_model.value,
            "plaintext_allowed": policy.plaintext_allowed,
            "on_key_change": policy.on_key_change and policy.on_key_change.value,
        }
        with self._writing() as connection:
            self._policies.pop(bare_jid, None)
            connection.execute(delete(_POLICY).where(_POLICY.c.peer == bare_jid))
            if policy != PeerPolicy():
                connection.execute(insert(_POLICY).values(row))

    def seen(self, bare_jid: str) -> bool:
        """Has the peer ever advertised encryption to us, or had a session with us?"""
        with self._lock:
            self._forget_if_stale()
            if bare_jid not in self._seen:
                query = select(_SEEN.c.peer).where(_SEEN.c.peer == bare(bare_jid))
                with self._reading() as connection:
                    self._seen[bare_jid] = connection.execute(query).first() is not None
            return self._seen[bare_jid]

    def mark_seen(self, bare_jid: str, now: float) -> None:
        """The peer advertises encryption, or has a session with us."""
        which = _SEEN.c.peer == bare(bare_jid)
        with self._writing() as connection:
            self._seen.pop(bare_jid, None)
            if connection.execute(update(_SEEN).where(which).values(last=now)).rowcount == 0:
                connection.execute(insert(_SEEN).values({"peer": bare_jid, "first": now, "last": now}))

    def _read_policy(self, peer: str) -> PeerPolicy:
        with self._reading() as connection:
            row = connection.execute(select(_POLICY).where(_POLICY.c.peer == peer)).first()
        if row is None:
            return PeerPolicy()
        return parsed(self.path, _POLICY, lambda: _policy(row))

    def _forget_if_stale(self) -> None:
        """Begin the memory anew if another process has written, or if it has grown too large."""
        version = self._database.version()
        if version != self._version or max(len(self._policies), len(self._seen)) >= CACHED_PEERS:
            self._version = version
            self._policies.clear()
            self._seen.clear()

    # --- failed guesses --------------------------------------------------------------------------------------------

    def count_failure(self, bare_jid: str, kind: str) -> int:
        """Count a failed guess; the new count, which survives a restart."""
        which = _is_failure(bare(bare_jid), kind)
        with self._writing() as connection:
            if connection.execute(update(_FAILURES).where(which).values(count=_FAILURES.c.count + 1)).rowcount == 0:
                connection.execute(insert(_FAILURES).values({"peer": bare_jid, "kind": kind, "count": 1}))
            return self._count(connection, which)

    def failures(self, bare_jid: str, kind: str) -> int:
        """Failed guesses since the last ``clear_failures``."""
        with self._reading() as connection:
            return self._count(connection, _is_failure(bare(bare_jid), kind))

    def clear_failures(self, bare_jid: str, kind: str) -> None:
        """The count is 0 again."""
        with self._writing() as connection:
            connection.execute(delete(_FAILURES).where(_is_failure(bare(bare_jid), kind)))

    def _count(self, connection: Connection, which: ColumnElement[bool]) -> int:
        found = connection.execute(select(_FAILURES.c.count).where(which)).scalar()
        return parsed(self.path, _FAILURES, lambda: int(found or 0))


def _policy(row: Row[Any]) -> PeerPolicy:
    return PeerPolicy(
        policy=None if row.policy is None else Policy(row.policy),
        trust_model=None if row.trust_model is None else TrustModel(row.trust_model),
        plaintext_allowed=row.plaintext_allowed,
        on_key_change=None if row.on_key_change is None else OnKeyChange(row.on_key_change),
    )


def _is_failure(peer: str, kind: str) -> ColumnElement[bool]:
    return and_(_FAILURES.c.peer == peer, _FAILURES.c.kind == kind)

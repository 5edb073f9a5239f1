"""The encrypted rows of a store: our identity and the secrets that we share with peers, within one transaction.

The first value that is encrypted is a known text (meta, ``KEY_CHECK``). It shows whether anything is encrypted, so that a
missing key is never replaced by a new one, and it tells a wrong key from a damaged row. The key protection is named beside it
(meta, ``PROTECTION``). A note (meta, ``KEY_BEGUN``) precedes the first key, so that a key beside a store that knows nothing of
it shows that the store has lost its content: then nothing new is made.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import StoreError, StoreReason
from slixmpp_e2e.store.key_protection.key_file import KeyFile
from slixmpp_e2e.store.key_protection.protection import KeyProtection
from slixmpp_e2e.store.key_table import ACCEPTED, RAISED, parse_row
from slixmpp_e2e.store.values import StoredOwnKey
from xmpp_e2e.types import ACCEPT

SECRET_BYTES = 4096
"""The largest secret: keys have 32 bytes, passwords some hundreds."""

_META, _IDENTITY, _SECRETS, _HISTORY = tables.meta, tables.identity, tables.secrets, tables.history
_CHECK_TEXT = b"xmpp-e2e"
_CHECK_PLACE = (_META.name, tables.KEY_CHECK)


class _EncryptedRow(NamedTuple):
    """An encrypted value, and where it is stored."""

    table: Table
    where: ColumnElement[bool]
    column: str
    encrypted: bytes
    place: tuple[str | bytes, ...]
    description: str

    def __repr__(self) -> str:
        return f"_EncryptedRow({self.description})"  # without the place, which holds our certificate


class SecretTable:
    """The encrypted rows of a store. ``connection`` is that of a transaction; what may encrypt needs one for writing."""

    def __init__(self, path: Path, protection: KeyProtection) -> None:
        self._path = path
        self._protection = protection
        self.notice: str | None = None
        """A sentence for the user about the key, if this object made it."""

    def own_key(self, connection: Connection) -> StoredOwnKey | None:
        """Return our identity, or None."""
        query = select(_IDENTITY).order_by(_IDENTITY.c.generation.desc()).limit(1)
        found = connection.execute(query).first()
        if found is None:
            return None
        row = _identity_row(found.generation, found.certificate, found.private_key)
        told = connection.execute(select(_META.c.value).where(_META.c.name == tables.ROTATIONS)).scalar() or ""
        rotations = parse_row(self._path, _META, lambda: base64.b64decode(told, validate=True))
        return StoredOwnKey(found.certificate, self._decrypt(connection, row), rotations)

    def own_certificate(self, connection: Connection) -> bytes | None:
        """Return our certificate, or None. Needs no key."""
        query = select(_IDENTITY.c.certificate).order_by(_IDENTITY.c.generation.desc()).limit(1)
        certificate: bytes | None = connection.execute(query).scalar()
        return certificate

    def create_own_key(self, connection: Connection, create: Callable[[], StoredOwnKey], anew: bool) -> StoredOwnKey:
        """Make and store our identity. The certificate is part of the place, so that neither half can be exchanged.

        StoreError if the user has deleted one, unless ``anew``, or if the history tells of sessions: there was one then.
        """
        if connection.execute(delete(_META).where(_META.c.name == tables.IDENTITY_DELETED)).rowcount:
            if not anew:
                raise StoreError(self._path, "the identity in it was deleted", StoreReason.IDENTITY_DELETED)
        else:
            self._check_never_used(connection)
        made = create()
        self._insert_own_key(connection, made, 1)
        return made

    def _check_never_used(self, connection: Connection) -> None:
        in_session = and_(_HISTORY.c.what.in_((ACCEPTED, RAISED)), _HISTORY.c.method != ACCEPT)
        if connection.execute(select(_HISTORY.c.id).where(in_session).limit(1)).first() is not None:
            cause = "its history tells of sessions, but the identity that had them is gone"
            raise StoreError(self._path, cause, StoreReason.IDENTITY_MISSING)

    def rotate_own_key(self, connection: Connection, rotate: Callable[[StoredOwnKey], StoredOwnKey]) -> StoredOwnKey:
        """Replace our identity by what ``rotate`` makes of it. The old private key is gone afterwards. StoreError."""
        old = self.own_key(connection)
        if old is None:
            raise StoreError(self._path, "the store has no identity, so none to rotate", StoreReason.IDENTITY_MISSING)
        new = rotate(old)
        generation = connection.execute(select(func.max(_IDENTITY.c.generation))).scalar_one()
        connection.execute(delete(_IDENTITY))
        self._insert_own_key(connection, new, generation + 1)
        connection.execute(delete(_META).where(_META.c.name == tables.ROTATIONS))
        told = {"name": tables.ROTATIONS, "value": base64.b64encode(new.rotations).decode()}
        connection.execute(insert(_META).values(told))
        return new

    def _insert_own_key(self, connection: Connection, made: StoredOwnKey, generation: int) -> None:
        encrypted = self._encrypt(connection, made.private_key, _IDENTITY.name, str(generation), made.certificate)
        row = {"generation": generation, "certificate": made.certificate, "private_key": encrypted}
        connection.execute(insert(_IDENTITY).values(row))

    def note_first_key(self, connection: Connection, *, key_exists: bool) -> None:
        """Note that the first key is about to be made, if nothing is encrypted yet. Commit it before that key is made.

        StoreError if ``key_exists`` and nobody has noted it: the store has lost what the key encrypts.
        """
        noted = select(_META.c.name).where(_META.c.name.in_((tables.KEY_CHECK, tables.KEY_BEGUN)))
        if connection.execute(noted).first() is not None:
            return
        if key_exists:
            cause = "the key of the store is there, but the store holds no identity and nothing else that it opens"
            raise StoreError(self._path, cause, StoreReason.IDENTITY_MISSING)
        connection.execute(insert(_META).values({"name": tables.KEY_BEGUN, "value": ""}))

    def put_secret(self, connection: Connection, peer: str, kind: str, key_id: str, value: bytes, own: str = "") -> None:
        """Store a secret in the place of any with the same kind and id. ValueError if it is too large."""
        if len(value) > SECRET_BYTES:
            raise ValueError(f"a secret has at most {SECRET_BYTES} bytes, not {len(value)}")
        encrypted = self._encrypt(connection, value, *_secret_place(peer, kind, key_id, own))
        connection.execute(delete(_SECRETS).where(_is_secret(peer, kind, key_id, own)))
        row = {"peer": peer, "kind": kind, "key_id": key_id, "value": encrypted, "own": own}
        connection.execute(insert(_SECRETS).values(row))

    def secret(self, connection: Connection, peer: str, kind: str, key_id: str, own: str = "") -> bytes | None:
        """Return the secret, or None."""
        encrypted = connection.execute(select(_SECRETS.c.value).where(_is_secret(peer, kind, key_id, own))).scalar()
        return None if encrypted is None else self._decrypt(connection, _secret_row(peer, kind, key_id, own, encrypted))

    def secret_kinds(self, connection: Connection, peer: str, owns: set[str]) -> frozenset[str]:
        """Return the kinds of secrets that there are with the peer, at any of these addresses of ours."""
        query = select(_SECRETS.c.kind).where(and_(_SECRETS.c.peer == peer, _SECRETS.c.own.in_(owns)))
        return frozenset(connection.execute(query).scalars())

    def secret_ids(self, connection: Connection, peer: str, kind: str, own: str = "") -> tuple[str, ...]:
        """Return the ids of the secrets of this kind, sorted."""
        of_kind = and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind, _SECRETS.c.own == own)
        query = select(_SECRETS.c.key_id).where(of_kind)
        found = connection.execute(query).scalars().all()
        return parse_row(self._path, _SECRETS, lambda: tuple(sorted(found)))

    def forget_secret(self, connection: Connection, peer: str, kind: str, key_id: str, own: str = "") -> bool:
        """Delete a secret. Return False if there was none."""
        return connection.execute(delete(_SECRETS).where(_is_secret(peer, kind, key_id, own))).rowcount > 0

    def protection_kind(self, connection: Connection) -> str | None:
        """Return the ``kind`` of the protection that the store needs, or None if nothing is encrypted yet."""
        entries = self._entries(connection)
        return entries.get(tables.PROTECTION, KeyFile.kind).partition(" ")[0] if tables.KEY_CHECK in entries else None

    def bind(self, connection: Connection) -> None:
        """Tell the protection which key it needs, before it loads it. StoreError."""
        self._bind(connection)

    def check_key(self, connection: Connection) -> bool:
        """Return False if nothing is encrypted yet. StoreError."""
        check = self._bind(connection)
        if check is None:
            return False
        try:
            self._protection.decrypt(base64.b64decode(check, validate=True), *_CHECK_PLACE)
        except (InvalidTag, ValueError):
            raise self._protection.wrong_key_error(self._path) from None
        return True

    def change_protection(self, connection: Connection, other: SecretTable) -> bool:
        """Encrypt every row with the key of ``other``, which is for the same store. Return False if nothing is encrypted yet.

        The key is made, or taken if ``has_key()``. This object keeps the old key. Raises what ``check_key`` raises, and
        StoreError if a row does not open.
        """
        if not self.check_key(connection):
            return False
        opened = [(row, self._decrypt(connection, row)) for row in _encrypted_rows(connection)]
        other._begin(connection)
        for row, value in opened:
            encrypted = other._protection.encrypt(value, *row.place)
            connection.execute(update(row.table).where(row.where).values({row.column: encrypted}))
        return True

    def _entries(self, connection: Connection) -> dict[str, str]:
        query = select(_META.c.name, _META.c.value).where(_META.c.name.in_((tables.KEY_CHECK, tables.PROTECTION)))
        return {row.name: row.value for row in connection.execute(query)}

    def _bind(self, connection: Connection) -> str | None:
        """Bind the protection to the store, and return the encrypted known text, if anything is encrypted."""
        entries = self._entries(connection)
        if not entries:
            self._protection.bind(self._path, None)
            return None
        kind, _, parameters = entries.get(tables.PROTECTION, KeyFile.kind).partition(" ")
        if kind != self._protection.kind:
            opened_with = self._protection.kind
            cause = f"the secrets in this store are protected by a {kind}, and it was opened with a {opened_with}"
            raise StoreError(self._path, cause, StoreReason.OTHER_PROTECTION)
        try:
            self._protection.bind(self._path, parameters)
        except ValueError as error:
            raise StoreError(
                self._path, f"the store is damaged, or of a later version ({error})", StoreReason.DAMAGED
            ) from None
        return entries.get(tables.KEY_CHECK, "")

    def _begin(self, connection: Connection) -> None:
        """Make the key, if it does not exist yet, and note which protection is used from now on."""
        self._protection.bind(self._path, None)
        # A key that exists already was left by a change that was interrupted.
        if not self._protection.has_key():
            self.notice = self._protection.create_key()
        check = base64.b64encode(self._protection.encrypt(_CHECK_TEXT, *_CHECK_PLACE)).decode()
        entries = [{"name": tables.KEY_CHECK, "value": check}]
        if self._protection.kind != KeyFile.kind:
            entries.append({"name": tables.PROTECTION, "value": f"{self._protection.kind} {self._protection.parameters()}"})
        replaced = (tables.KEY_CHECK, tables.PROTECTION, tables.KEY_BEGUN)
        connection.execute(delete(_META).where(_META.c.name.in_(replaced)))
        connection.execute(insert(_META), entries)

    def _encrypt(self, connection: Connection, value: bytes, *place: str | bytes) -> bytes:
        if not self.check_key(connection):
            self._begin(connection)
        return self._protection.encrypt(value, *place)

    def _decrypt(self, connection: Connection, row: _EncryptedRow) -> bytes:
        self._bind(connection)
        try:
            return parse_row(self._path, row.table, lambda: self._protection.decrypt(row.encrypted, *row.place))
        except InvalidTag:
            self.check_key(connection)  # raises if the key is wrong, and not the row
            cause = f"{row.description} does not open: the row was altered, or belongs elsewhere"
            raise StoreError(self._path, cause, StoreReason.SECRET_DAMAGED) from None


def _encrypted_rows(connection: Connection) -> Iterator[_EncryptedRow]:
    """Yield all of them, earlier identities too."""
    for row in connection.execute(select(_IDENTITY)).all():
        yield _identity_row(row.generation, row.certificate, row.private_key)
    for row in connection.execute(select(_SECRETS)).all():
        yield _secret_row(row.peer, row.kind, row.key_id, row.own, row.value)


def _identity_row(generation: int, certificate: bytes, encrypted: bytes) -> _EncryptedRow:
    where = _IDENTITY.c.generation == generation
    place = (_IDENTITY.name, str(generation), certificate)
    return _EncryptedRow(_IDENTITY, where, "private_key", encrypted, place, "our private key")


def _secret_row(peer: str, kind: str, key_id: str, own: str, encrypted: bytes) -> _EncryptedRow:
    where, place = _is_secret(peer, kind, key_id, own), _secret_place(peer, kind, key_id, own)
    description = f"the secret {key_id!r} of the kind {kind!r} shared with {peer}"
    return _EncryptedRow(_SECRETS, where, "value", encrypted, place, description)


def _secret_place(peer: str, kind: str, key_id: str, own: str) -> tuple[str, ...]:
    """Return where a secret belongs. Without an own address, that is where it belonged before there was that column."""
    return (_SECRETS.name, peer, kind, key_id, *([own] if own else []))


def _is_secret(peer: str, kind: str, key_id: str, own: str) -> ColumnElement[bool]:
    return and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind, _SECRETS.c.key_id == key_id, _SECRETS.c.own == own)

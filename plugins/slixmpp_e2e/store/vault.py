"""What is sealed in a store: our identity and the secrets that we share with peers, within one transaction each.

The first thing that is sealed is a known text (meta, ``KEY_CHECK``). It tells whether anything is sealed at all, so
that a missing key is never replaced by a new one, and tells the wrong key from a broken row. Beside it stands what it
is sealed with (meta, ``SEAL``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, select, update

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import SealBroken, SealedOtherwise, StoreDamaged
from slixmpp_e2e.store.key_protection.key_file import KeyFile, Sealer
from slixmpp_e2e.store.keys import parsed
from xmpp_e2e.trust.store import StoredIdentity

SECRET_BYTES = 4096
"""The largest secret: keys have 32 bytes, passwords some hundreds."""

_META, _IDENTITY, _SECRETS = tables.meta, tables.identity, tables.secrets
_CHECK_TEXT = b"xmpp-e2e"
_CHECK_PLACE = (_META.name, tables.KEY_CHECK)


class _Row(NamedTuple):
    """A sealed value, and where it is."""

    table: Table
    where: ColumnElement[bool]
    column: str
    sealed: bytes
    place: tuple[str | bytes, ...]
    what: str

    def __repr__(self) -> str:
        return f"_Row({self.what})"  # our certificate is nobody's business either


class Vault:
    """The sealed rows of a store. ``connection`` is that of the transaction; what may seal needs a writing one."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._path = path
        self._sealer = sealer
        self.notice: str | None = None
        """What the user should know about the key, if it was made here."""

    def identity(self, connection: Connection) -> StoredIdentity | None:
        """Our identity, or None."""
        query = select(_IDENTITY).order_by(_IDENTITY.c.generation.desc()).limit(1)
        found = connection.execute(query).first()
        if found is None:
            return None
        row = _identity_row(found.generation, found.certificate, found.private_key)
        return StoredIdentity(found.certificate, self._unseal(connection, row))

    def new_identity(self, connection: Connection, create: Callable[[], StoredIdentity]) -> StoredIdentity:
        """Make and store our first identity. The certificate is part of the place: neither half can be swapped."""
        made = create()
        sealed = self._seal(connection, made.private_key, _IDENTITY.name, "1", made.certificate)
        connection.execute(insert(_IDENTITY).values({"generation": 1, "certificate": made.certificate, "private_key": sealed}))
        return made

    def put_secret(self, connection: Connection, peer: str, kind: str, key_id: str, value: bytes) -> None:
        """Seal a secret; replaces the one of the same kind and id. ValueError if it is too large."""
        if len(value) > SECRET_BYTES:
            raise ValueError(f"a secret has at most {SECRET_BYTES} bytes, not {len(value)}")
        sealed = self._seal(connection, value, _SECRETS.name, peer, kind, key_id)
        connection.execute(delete(_SECRETS).where(_is_secret(peer, kind, key_id)))
        row = {"peer": peer, "kind": kind, "key_id": key_id, "value": sealed}
        connection.execute(insert(_SECRETS).values(row))

    def secret(self, connection: Connection, peer: str, kind: str, key_id: str) -> bytes | None:
        """The secret, or None."""
        sealed = connection.execute(select(_SECRETS.c.value).where(_is_secret(peer, kind, key_id))).scalar()
        return None if sealed is None else self._unseal(connection, _secret_row(peer, kind, key_id, sealed))

    def secret_ids(self, connection: Connection, peer: str, kind: str) -> tuple[str, ...]:
        """The ids of the secrets of this kind, sorted."""
        query = select(_SECRETS.c.key_id).where(and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind))
        found = connection.execute(query).scalars().all()
        return parsed(self._path, _SECRETS, lambda: tuple(sorted(found)))

    def forget_secret(self, connection: Connection, peer: str, kind: str, key_id: str) -> bool:
        """Delete a secret; False if there was none."""
        return connection.execute(delete(_SECRETS).where(_is_secret(peer, kind, key_id))).rowcount > 0

    def sealed_with(self, connection: Connection) -> str | None:
        """The ``kind`` of the sealer that the store needs; None as long as nothing is sealed."""
        entries = self._entries(connection)
        return entries.get(tables.SEAL, KeyFile.kind).partition(" ")[0] if tables.KEY_CHECK in entries else None

    def attach(self, connection: Connection) -> None:
        """Tell the sealer which key it needs, before it is loaded. SealedOtherwise, StoreDamaged."""
        self._attach(connection)

    def unlock(self, connection: Connection) -> bool:
        """Is anything sealed, and with our key? KeyWrong, KeyMissing, SealedOtherwise, SealUnavailable."""
        check = self._attach(connection)
        if check is None:
            return False
        try:
            self._sealer.unseal(base64.b64decode(check, validate=True), *_CHECK_PLACE)
        except (InvalidTag, ValueError):
            raise self._sealer.wrong(self._path) from None
        return True

    def reseal(self, connection: Connection, other: Vault) -> bool:
        """Seal every row with the key of the other vault of this store. As ``unlock``; SealBroken if a row does not open.

        That key is made or, if it is ``ready()``, taken. This object goes on with the old one.
        """
        if not self.unlock(connection):
            return False
        opened = [(row, self._unseal(connection, row)) for row in _sealed_rows(connection)]
        other._begin(connection)
        for row, value in opened:
            sealed = other._sealer.seal(value, *row.place)
            connection.execute(update(row.table).where(row.where).values({row.column: sealed}))
        return True

    def _entries(self, connection: Connection) -> dict[str, str]:
        query = select(_META.c.name, _META.c.value).where(_META.c.name.in_((tables.KEY_CHECK, tables.SEAL)))
        return {row.name: row.value for row in connection.execute(query)}

    def _attach(self, connection: Connection) -> str | None:
        """Tell the sealer what the store says of the seal; the sealed text that we know, if anything is sealed."""
        entries = self._entries(connection)
        if not entries:
            self._sealer.attach(self._path, None)
            return None
        kind, _, parameters = entries.get(tables.SEAL, KeyFile.kind).partition(" ")
        if kind != self._sealer.kind:
            cause = f"the secrets in this store are sealed with a {kind}, and it was opened with a {self._sealer.kind}"
            raise SealedOtherwise(self._path, cause)
        try:
            self._sealer.attach(self._path, parameters)
        except ValueError as error:
            raise StoreDamaged(self._path, f"the store is damaged, or of a later version ({error})") from None
        return entries.get(tables.KEY_CHECK, "")

    def _begin(self, connection: Connection) -> None:
        """Make the key, if there is none, and note what is sealed with from now on."""
        self._sealer.attach(self._path, None)
        # A key that is there already was left by a change that did not come through.
        if not self._sealer.ready():
            self.notice = self._sealer.create()
        check = base64.b64encode(self._sealer.seal(_CHECK_TEXT, *_CHECK_PLACE)).decode()
        entries = [{"name": tables.KEY_CHECK, "value": check}]
        if self._sealer.kind != KeyFile.kind:
            entries.append({"name": tables.SEAL, "value": f"{self._sealer.kind} {self._sealer.parameters()}"})
        connection.execute(delete(_META).where(_META.c.name.in_((tables.KEY_CHECK, tables.SEAL))))
        connection.execute(insert(_META), entries)

    def _seal(self, connection: Connection, value: bytes, *place: str | bytes) -> bytes:
        if not self.unlock(connection):
            self._begin(connection)
        return self._sealer.seal(value, *place)

    def _unseal(self, connection: Connection, row: _Row) -> bytes:
        self._attach(connection)
        try:
            return parsed(self._path, row.table, lambda: self._sealer.unseal(row.sealed, *row.place))
        except InvalidTag:
            self.unlock(connection)  # or is it the key?
            cause = f"{row.what} does not open: the row was altered, or belongs elsewhere"
            raise SealBroken(self._path, cause) from None


def _sealed_rows(connection: Connection) -> Iterator[_Row]:
    """All of them, the identities of the past too."""
    for row in connection.execute(select(_IDENTITY)).all():
        yield _identity_row(row.generation, row.certificate, row.private_key)
    for row in connection.execute(select(_SECRETS)).all():
        yield _secret_row(row.peer, row.kind, row.key_id, row.value)


def _identity_row(generation: int, certificate: bytes, sealed: bytes) -> _Row:
    where = _IDENTITY.c.generation == generation
    place = (_IDENTITY.name, str(generation), certificate)
    return _Row(_IDENTITY, where, "private_key", sealed, place, "our private key")


def _secret_row(peer: str, kind: str, key_id: str, sealed: bytes) -> _Row:
    what = f"the secret {key_id!r} of the kind {kind!r} shared with {peer}"
    return _Row(_SECRETS, _is_secret(peer, kind, key_id), "value", sealed, (_SECRETS.name, peer, kind, key_id), what)


def _is_secret(peer: str, kind: str, key_id: str) -> ColumnElement[bool]:
    return and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind, _SECRETS.c.key_id == key_id)

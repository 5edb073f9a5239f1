"""What is sealed in a store: our identity and the secrets that we share with peers, within one transaction each.

The first thing that is sealed is a known text (meta, ``KEY_CHECK``). It tells whether anything is sealed at all, so
that a missing key is never replaced by a new one, and tells the wrong key from a broken row.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from slixmpp_e2e.store import tables
from slixmpp_e2e.store.errors import KeyWrong, SealBroken
from slixmpp_e2e.store.seal import Sealer
from xmpp_e2e.trust.store import StoredIdentity

SECRET_BYTES = 4096
"""The largest secret: keys have 32 bytes, passwords some hundreds."""

_META, _IDENTITY, _SECRETS = tables.meta, tables.identity, tables.secrets
_CHECK_TEXT = b"xmpp-e2e"
_CHECK_PLACE = (_META.name, tables.KEY_CHECK)


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
        row = connection.execute(query).first()
        if row is None:
            return None
        private_key = self._unseal(
            connection, row.private_key, "our private key", _IDENTITY.name, str(row.generation), row.certificate
        )
        return StoredIdentity(row.certificate, private_key)

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
        if sealed is None:
            return None
        what = f"the secret {key_id!r} of the kind {kind!r} shared with {peer}"
        return self._unseal(connection, sealed, what, _SECRETS.name, peer, kind, key_id)

    def secret_ids(self, connection: Connection, peer: str, kind: str) -> tuple[str, ...]:
        """The ids of the secrets of this kind, sorted."""
        query = select(_SECRETS.c.key_id).where(and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind))
        return tuple(sorted(connection.execute(query).scalars()))

    def forget_secret(self, connection: Connection, peer: str, kind: str, key_id: str) -> bool:
        """Delete a secret; False if there was none."""
        return connection.execute(delete(_SECRETS).where(_is_secret(peer, kind, key_id))).rowcount > 0

    def _seal(self, connection: Connection, value: bytes, *place: str | bytes) -> bytes:
        if not self._checked(connection):
            # Nothing is sealed yet: a key that is there already was left by a change that did not come through.
            if not self._sealer.ready():
                self.notice = self._sealer.create()
            check = base64.b64encode(self._sealer.seal(_CHECK_TEXT, *_CHECK_PLACE)).decode()
            connection.execute(insert(_META).values({"name": tables.KEY_CHECK, "value": check}))
        return self._sealer.seal(value, *place)

    def _unseal(self, connection: Connection, sealed: bytes, what: str, *place: str | bytes) -> bytes:
        try:
            return self._sealer.unseal(sealed, *place)
        except InvalidTag:
            self._checked(connection)  # or is it the key?
            raise SealBroken(self._path, f"{what} does not open: the row was altered, or belongs elsewhere") from None

    def _checked(self, connection: Connection) -> bool:
        """Is anything sealed, and with our key? KeyWrong, KeyMissing."""
        check = connection.execute(select(_META.c.value).where(_META.c.name == tables.KEY_CHECK)).scalar()
        if check is None:
            return False
        try:
            self._sealer.unseal(base64.b64decode(check, validate=True), *_CHECK_PLACE)
        except (InvalidTag, binascii.Error):
            raise KeyWrong(self._path, "the key is not the one that sealed the secrets in this store") from None
        return True


def _is_secret(peer: str, kind: str, key_id: str) -> ColumnElement[bool]:
    return and_(_SECRETS.c.peer == peer, _SECRETS.c.kind == kind, _SECRETS.c.key_id == key_id)

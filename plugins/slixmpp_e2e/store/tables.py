"""The schema, version ``HEAD``. New stores are made from it; ``migrations`` brings older stores to it.

It uses SQLAlchemy Core, and nothing that is special to SQLite. Peers are bare JIDs, fingerprints ``SHA256:…``, times seconds
since 1970; assurances and choices are stored in the words that users see.

``own`` is the address of ours to which a row belongs, a bare JID: a component has several. It is empty for a client, and in
rows from before a component's addresses were told apart.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, String, Table, Text

HEAD = "0004"
"""The version of the schema below: the last in ``migrations/versions``. It is repeated here, as Alembic takes long to load."""

version = Table(
    "xmpp_e2e_schema",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="xmpp_e2e_schema_pkc"),
)
"""Alembic notes the version of a store here; it would make the same table. The table also shows that the database is ours."""

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about the store as a whole. The constants below are its names."""

SCHEMA = "xmpp-e2e schema"
"""meta: the version in stores that are older than the migrations. It is always 1, the schema that 0001 makes."""
KEY_CHECK = "key check"
"""meta: base64 of a known text, encrypted. It shows that something is encrypted, and tells a wrong key from a damaged row."""
KEY_BEGUN = "key begun"
"""meta: the first key is being made, or was made by a change that was interrupted. Gone as soon as it encrypts something."""
ROTATIONS = "rotations"
"""meta: base64 of how our key took the place of earlier ones, as peers are told. Absent if it never did."""
IDENTITY_DELETED = "identity deleted"
"""meta: the user has deleted the identity. Only they can have another one made."""
PROTECTION = "seal"
"""meta: the kind of key protection and its parameters. Absent for a key file, which has no parameters."""

identity = Table(
    "identity",
    metadata,
    # counts from 1, and grows when the identity is rotated: the last one is in use, and the others are deleted
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("private_key", LargeBinary, nullable=False),  # encrypted
)

trust = Table(
    "trust",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("assurance", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("own", Text, primary_key=True),
)
"""The current keys of peers."""

history = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("peer", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("assurance", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("own", Text, nullable=False),
    Index(None, "peer"),
    sqlite_autoincrement=True,
)
"""All changes of the keys of peers. Rows are only appended, and autoincrement never uses an id twice."""

policy = Table(
    "policy",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("policy", Text),
    Column("trust_model", Text),
    Column("plaintext_allowed", Boolean, nullable=False),
    Column("on_key_change", Text),
)
"""The user's settings for a peer. Null: the same as for every peer."""

changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("peer", Text, nullable=False),
    Column("what", Text, nullable=False),
    Index(None, "peer"),
    sqlite_autoincrement=True,
)
"""The last change of each peer's settings, by the constants below: who keeps settings in memory reads these again.
Autoincrement never uses an id twice."""

POLICY_SET = "policy"
"""changes: the user has decided about the peer."""
FIRST_USE = "use"
"""changes: the peer is in ``seen`` now."""

handled = Table(
    "handled",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("peer", Text, nullable=False),
    Column("own_key", Text, nullable=False),
    Column("peer_key", Text, nullable=False),
    Column("sid", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("own", Text, nullable=False),
    Index(None, "sid"),
)
"""How many stanzas of the peer were handled in a session between two keys, the one with the greatest id being the newest."""

secrets = Table(
    "secrets",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),  # encrypted
    Column("own", Text, primary_key=True),
)

failures = Table(
    "failures",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("own", Text, primary_key=True),
)
"""Failed attempts at a password or comparison. They must survive a restart."""

seen = Table(
    "seen",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
)
"""Peers who have advertised E2E encryption to us, or had a session with us."""

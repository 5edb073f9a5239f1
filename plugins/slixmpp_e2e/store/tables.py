"""The schema, version ``HEAD``: new stores are made of it, older ones are brought to it by ``migrations``.

SQLAlchemy Core, nothing that only SQLite knows. Peers are bare JIDs, fingerprints ``SHA256:…``, levels and choices the
words that people see, times seconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, String, Table, Text

HEAD = "0001"
"""The version of the schema below: the last of ``migrations/versions``. Known here too, as asking Alembic takes long."""

version = Table(
    "xmpp_e2e_schema",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="xmpp_e2e_schema_pkc"),
)
"""Where Alembic notes the version of a store, as it would make this table. It also says that the database is ours."""

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What is true of the store as a whole: the names are the constants below."""

SCHEMA = "xmpp-e2e schema"
"""meta: the version in stores from before there were migrations: always 1, which is what 0001 makes."""
KEY_CHECK = "key check"
"""meta: base64 of a known text, sealed: tells that something is sealed at all, and a wrong key from a broken row."""
SEAL = "seal"
"""meta: what it is sealed with, and what that needs to find the key again; absent for a key file, which needs nothing."""

identity = Table(
    "identity",
    metadata,
    # counts from 1 and grows when the identity is rotated: the last one is in use
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("private_key", LargeBinary, nullable=False),  # sealed
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
)
"""The keys of peers, as they stand."""

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
    Index(None, "peer"),
    sqlite_autoincrement=True,
)
"""How they came to stand so; only ever appended to (hence autoincrement: an id is never used twice)."""

policy = Table(
    "policy",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("policy", Text),
    Column("trust_model", Text),
    Column("plaintext_allowed", Boolean, nullable=False),
    Column("on_key_change", Text),
)
"""What the user wants for a peer; null = as for everybody."""

secrets = Table(
    "secrets",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),  # sealed
)

failures = Table(
    "failures",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)
"""Failed guesses; they must survive a restart."""

seen = Table(
    "seen",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
)
"""Peers who have advertised encryption to us, or had a session with us."""

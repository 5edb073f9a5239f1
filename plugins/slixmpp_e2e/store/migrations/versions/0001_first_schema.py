"""The first schema. It repeats what ``tables.py`` said then, as a migration must not change when that file does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "identity",
        sa.Column("generation", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
        sa.Column("private_key", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("generation", name="pk_identity"),
    )
    op.create_table(
        "trust",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("assurance", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("peer", "fingerprint", name="pk_trust"),
    )
    _history()
    op.create_table(
        "policy",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("trust_model", sa.Text),
        sa.Column("plaintext_allowed", sa.Boolean, nullable=False),
        sa.Column("on_key_change", sa.Text),
        sa.PrimaryKeyConstraint("peer", name="pk_policy"),
    )
    op.create_table(
        "secrets",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("peer", "kind", "key_id", name="pk_secrets"),
    )
    op.create_table(
        "failures",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("peer", "kind", name="pk_failures"),
    )
    op.create_table(
        "seen",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("first", sa.Double, nullable=False),
        sa.Column("last", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("peer", name="pk_seen"),
    )


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("assurance", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_history_peer", "history", ["peer"])

"""Keys, secrets and failed attempts are of one own address: a component has many. What is there keeps the empty address."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column ``own``, which is a part of the primary key but in the history."""
    _replace(
        "history",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("assurance", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        key=("id",),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_history_peer", "history", ["peer"])
    _replace(
        "trust",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("assurance", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        key=("peer", "fingerprint", "own"),
    )
    _replace(
        "secrets",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        key=("peer", "kind", "key_id", "own"),
    )
    _replace(
        "failures",
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        key=("peer", "kind", "own"),
    )


def _replace(name: str, *columns: sa.Column[Any], key: tuple[str, ...], **options: Any) -> None:
    """Make the table anew, with ``own`` at the end, as SQLite cannot change a primary key."""
    names, old = ", ".join(column.name for column in columns), f"{name}_before"
    op.rename_table(name, old)
    own = sa.Column("own", sa.Text, nullable=False)
    op.create_table(name, *columns, own, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"), **options)
    op.execute(f"INSERT INTO {name} ({names}, own) SELECT {names}, '' FROM {old}")
    op.drop_table(old)

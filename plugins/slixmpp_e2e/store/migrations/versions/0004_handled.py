"""How many stanzas were handled in each session, for what resumes it after a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table. Earlier programs have noted nothing."""
    op.create_table(
        "handled",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("own_key", sa.Text, nullable=False),
        sa.Column("peer_key", sa.Text, nullable=False),
        sa.Column("sid", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("own", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_handled"),
    )
    op.create_index("ix_handled_sid", "handled", ["sid"])

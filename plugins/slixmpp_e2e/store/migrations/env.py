"""The script that Alembic runs to migrate a store; ``slixmpp_e2e.store.migrate`` calls it.

To change the schema: edit ``tables.py``, write the migration in ``versions/NNNN_what.py``, set ``tables.HEAD``. A test
fails if the two differ. There is no ``__init__.py`` here: Alembic finds these files, and nothing else imports them.
"""

from __future__ import annotations

from alembic import context

from slixmpp_e2e.store import tables

context.configure(
    # Ours, in the middle of our transaction: Alembic neither begins nor commits one, so that all steps happen or none.
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=tables.version.name,
)
context.run_migrations()

"""What SQLite and SQLAlchemy say, said for people: with the file's name, the cause, and without a row's content."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slixmpp_e2e.store.errors import NotAStore, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreInaccessible

BUSY_SECONDS = 5.0
"""How long we wait for another process: its changes take milliseconds, so after this it hangs."""

_CAUSES: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_NOTADB: (NotAStore, "this is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "the store is damaged"),
    sqlite3.SQLITE_FULL: (StoreFull, "the disk is full"),
    sqlite3.SQLITE_BUSY: (StoreBusy, f"another process has held the store for {BUSY_SECONDS:g} seconds"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "the store is locked"),
    sqlite3.SQLITE_READONLY: (StoreInaccessible, "the store cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (StoreInaccessible, "the store cannot be opened"),
    sqlite3.SQLITE_IOERR: (StoreInaccessible, "the disk cannot be read or written"),
    sqlite3.SQLITE_PERM: (StoreInaccessible, "access to the store is denied"),
}
_NOT_TEXT = "Could not decode to UTF-8"
"""Python's own complaint, without a code; what follows is the row's content."""
_NOT_OURS = ("no such table", "no such column", "unsupported file format")
"""Our statements fit the schema that the store says it has: then it has lost some of it."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever the database says becomes a StoreError about the file at ``path``."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(path, error.orig) from error
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged page, and Python cannot read the quotation
        raise StoreDamaged(path, "the store is damaged (what SQLite says of it cannot be read)") from error
    except SQLAlchemyError as error:
        raise StoreError(path, f"the store cannot be used ({type(error).__name__})") from error


def inaccessible(path: Path, what: str, error: OSError) -> StoreInaccessible:
    """What the operating system says about the file at ``path``: ``what`` was not possible."""
    kind = StoreFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StoreInaccessible
    return kind(path, f"{what} ({error.strerror})")


def _explain(path: Path, error: BaseException | None) -> StoreError:
    if str(error).startswith(_NOT_TEXT):
        return StoreDamaged(path, "the store is damaged (a text in it is not UTF-8)")
    if str(error).startswith(_NOT_OURS):
        return StoreDamaged(path, f"the store is damaged ({error})")
    code = getattr(error, "sqlite_errorcode", None)
    kind, cause = _CAUSES.get(code & 0xFF if code else -1, (StoreError, "the store cannot be used"))
    return kind(path, f"{cause} ({error})")

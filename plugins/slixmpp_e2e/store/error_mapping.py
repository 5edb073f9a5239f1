"""Turn errors of SQLite, SQLAlchemy and the operating system into ``StoreError``s, without the content of a row."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slixmpp_e2e.store.errors import StoreError, StoreReason

BUSY_SECONDS = 5.0
"""Time to wait for another process. Its changes take milliseconds, so after this it hangs."""

_CAUSES: dict[int, tuple[StoreReason, str]] = {
    sqlite3.SQLITE_NOTADB: (StoreReason.NOT_A_STORE, "this is no SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StoreReason.DAMAGED, "the store is damaged"),
    sqlite3.SQLITE_FULL: (StoreReason.FULL, "the disk is full"),
    sqlite3.SQLITE_BUSY: (StoreReason.BUSY, "another process holds the store"),
    sqlite3.SQLITE_LOCKED: (StoreReason.BUSY, "the store is locked"),
    sqlite3.SQLITE_READONLY: (StoreReason.NO_ACCESS, "the store cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (StoreReason.NO_ACCESS, "the store cannot be opened"),
    sqlite3.SQLITE_IOERR: (StoreReason.NO_ACCESS, "the disk cannot be read or written"),
    sqlite3.SQLITE_PERM: (StoreReason.NO_ACCESS, "access to the store is denied"),
}
_UNUSABLE = (StoreReason.UNUSABLE, "the store cannot be used")
_NOT_TEXT = "Could not decode to UTF-8"
"""Python's own complaint, which has no code. The content of the row follows it."""
_NOT_OURS = ("no such table", "no such column", "unsupported file format")
"""Our statements fit the schema that the store claims to have. If one fails like this, part of the schema is lost."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise a StoreError about the file at ``path`` for each error of the database."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(path, error.orig) from error
    except sqlite3.Error as error:
        raise _translate(path, error) from error
    except UnicodeDecodeError as error:  # SQLite's message quotes the damaged page, and Python cannot decode the quote
        raise StoreError(
            path, "the store is damaged (SQLite's message about it cannot be read)", StoreReason.DAMAGED
        ) from error
    except SQLAlchemyError as error:
        raise StoreError(path, f"the store cannot be used ({type(error).__name__})") from error


def os_error(path: Path, cause: str, error: OSError) -> StoreError:
    """Return the StoreError for an error of the operating system about the file at ``path``."""
    reason = StoreReason.FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else StoreReason.NO_ACCESS
    return StoreError(path, f"{cause} ({error.strerror})", reason)


def _translate(path: Path, error: BaseException | None) -> StoreError:
    if str(error).startswith(_NOT_TEXT):
        return StoreError(path, "the store is damaged (a text in it is not UTF-8)", StoreReason.DAMAGED)
    if str(error).startswith(_NOT_OURS):
        return StoreError(path, f"the store is damaged ({error})", StoreReason.DAMAGED)
    code = getattr(error, "sqlite_errorcode", None)
    reason, cause = _CAUSES.get(code & 0xFF if code else -1, _UNUSABLE)
    return StoreError(path, f"{cause} ({error})", reason)

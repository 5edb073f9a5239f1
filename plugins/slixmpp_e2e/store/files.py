"""Keep files from other users, and make new ones durable."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def restrict_to_owner(path: Path) -> None:
    """Take all permissions of other users from a file, if it exists: restored copies are often readable by all. OSError."""
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)


def sync_folder(folder: Path) -> None:
    """Make the name of a new file durable, on systems that can synchronise folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A small disk that a test can fill (Linux, root)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DISK_KIB = 6 * 1024
"""Enough for a store and its journal, which grows to 4 MiB, and for little else."""


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Mount a disk in a new folder; skip the test if that is not permitted, as to root in some containers."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def exhaust(disk: Path, leave: int = 0) -> Path:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(file.tell() - leave, 0))
    return ballast

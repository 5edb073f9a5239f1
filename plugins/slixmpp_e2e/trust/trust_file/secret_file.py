"""A file that holds one secret in one line, taken only if nobody else can read it; and how a generated key is written."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from xmpp_e2e.authenticate.psk import WeakKey, strong

SECRET_FILE_BYTES = 4096
"""The longest file that is read: keys have 48 characters, passwords some dozens; longer ones are some other file."""
PREFIX = "psk:"
"""Before a key that is written: nobody takes a password for one, or the other way round."""


def secret_in(path: Path) -> str:
    """The one line that the file holds. ValueError says what is wrong, and nothing of what is in it."""
    try:
        # Not blocking: a pipe in its place must not stop the program.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            raw = opened.read(SECRET_FILE_BYTES + 1) if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
    if raw is None:
        raise ValueError("it is no ordinary file")
    _check_owner(status)
    if len(raw) > SECRET_FILE_BYTES:
        raise ValueError(f"the file has more than {SECRET_FILE_BYTES} bytes, which is no secret of one line")
    try:
        line = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # from None: the error carries the bytes
        raise ValueError("the file is not UTF-8 text") from None
    if not line or "\n" in line:
        raise ValueError("the file has to hold one line, the secret, and nothing else")
    return line


def _check_owner(status: os.stat_result) -> None:
    """Ours alone; or root's, who may let our group read it, as systemd does with credentials."""
    if os.name != "posix":
        return  # permissions say nothing there
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError("the file belongs to another user, who can read and exchange it")
    others = 0o037 if status.st_uid != os.geteuid() else 0o077
    if mode := stat.S_IMODE(status.st_mode) & others:
        can = "change" if mode & 0o022 else "read"
        raise ValueError(f"other users can {can} the file (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 it")


def psk_text(key: bytes) -> str:
    """A key as it is written: ``psk:`` and base64url without padding."""
    return PREFIX + base64.urlsafe_b64encode(key).decode().rstrip("=")


def psk_in(text: str) -> bytes:
    """The key that is written so. ValueError, which does not repeat it."""
    body = text.removeprefix(PREFIX)
    try:
        key = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError:
        key = b""
    if psk_text(key) != text:
        raise ValueError("this is no key as `xmpp-e2e psk new` prints them; what people think up is a password, not a key")
    try:
        return strong(key)
    except WeakKey as error:
        raise ValueError(f"{error}; a password is no key") from None

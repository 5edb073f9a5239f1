"""Read a file that holds one secret in one line, if no other user can read it; and write keys as text."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from xmpp_e2e.authenticate.psk import WeakKey, check_key_length

SECRET_FILE_BYTES = 4096
"""The longest file that is read. Keys have 48 characters and passwords some dozens; a longer file is another file."""
PSK_PREFIX = "psk:"
"""Starts the text of a key, so that a key and a password cannot be confused."""


def read_secret_file(path: Path) -> str:
    """Return the one line of the file. ValueError, whose message does not repeat the content."""
    try:
        # O_NONBLOCK: a pipe in the file's place must not stop the program.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            raw = opened.read(SECRET_FILE_BYTES + 1) if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
    if raw is None:
        raise ValueError("it is no ordinary file")
    check_private(status)
    if len(raw) > SECRET_FILE_BYTES:
        raise ValueError(f"the file has more than {SECRET_FILE_BYTES} bytes, which is no secret of one line")
    if (text := decode_utf8(raw)) is None:
        raise ValueError("the file is not UTF-8 text")
    line = text.removesuffix("\n").removesuffix("\r")
    if not line or "\n" in line:
        raise ValueError("the file has to hold one line, the secret, and nothing else")
    return line


def decode_utf8(raw: bytes) -> str | None:
    """Return the text, or None if it is none: an error would carry the bytes, also as the context of another."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def check_private(status: os.stat_result) -> None:
    """Accept our own files that nobody else can read, and root's files that our group may read (systemd's credentials).

    ValueError for any other file.
    """
    if os.name != "posix":
        return  # permissions mean nothing there
    _check_owner(status)
    others = 0o037 if status.st_uid != os.geteuid() else 0o077
    if mode := stat.S_IMODE(status.st_mode) & others:
        can = "change" if mode & 0o022 else "read"
        raise ValueError(f"other users can {can} the file (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 it")


def check_unchangeable(status: os.stat_result) -> None:
    """Accept our own files and root's that nobody else can change, whoever reads them. ValueError for any other file."""
    if os.name != "posix":
        return
    _check_owner(status)
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise ValueError(f"other users can change the file (mode {stat.S_IMODE(status.st_mode):04o}): chmod go-w it")


def _check_owner(status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError("the file belongs to another user, who can read and exchange it")


def encode_psk(key: bytes) -> str:
    """Return the text of a key: ``psk:`` and base64url without padding."""
    return PSK_PREFIX + base64.urlsafe_b64encode(key).decode().rstrip("=")


def decode_psk(text: str) -> bytes:
    """Return the key of a text. ValueError, whose message does not repeat the text."""
    body = text.removeprefix(PSK_PREFIX)
    try:
        key = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError:
        key = b""
    if encode_psk(key) != text:
        raise ValueError("this is no key as `xmpp-e2e psk new` prints them; a text that a person made up is a password")
    try:
        return check_key_length(key)
    except WeakKey as error:
        raise ValueError(f"{error}; a password is no key") from None

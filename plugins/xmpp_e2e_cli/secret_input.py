"""Read a secret from a file, or let the user type it at the terminal, where it is not shown."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path

from slixmpp_e2e.trust.trust_file.secret_file import SECRET_FILE_BYTES, check_private, decode_utf8
from xmpp_e2e_cli.errors import UsageError, UsageReason


def read_first_line(file: Path, what: str, reason: UsageReason) -> str:
    """Return the first line of a file that no other user can read, or of a pipe. Raises UsageError for ``reason``.

    ``what`` names the line in the message.
    """
    try:
        with file.open("rb") as opened:
            _check_private(opened.fileno(), f"the {what} file {file}")
            raw = opened.read(SECRET_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the {what} file {file} ({error.strerror})", reason) from None
    if (text := decode_utf8(raw)) is None:
        raise UsageError(f"cannot read the {what} file {file} (it is not UTF-8 text)", reason)
    lines = text.splitlines()
    if len(raw) > SECRET_FILE_BYTES or not lines or not lines[0]:
        raise UsageError(f"the {what} file {file} has no {what} in its first line", reason)
    return lines[0]


def _check_private(descriptor: int, name: str) -> None:
    status = os.fstat(descriptor)
    if stat.S_ISCHR(status.st_mode):
        return  # /dev/stdin at a terminal, to which its owner's group may write
    try:
        check_private(status)
    except ValueError as error:
        raise UsageError(f"{name} is not used: {error}", UsageReason.FILE_NOT_PRIVATE) from None


def has_terminal() -> bool:
    """Return whether a user can be asked for a secret."""
    return sys.stderr.isatty()


def ask(question: str, what: str, reason: UsageReason, *, otherwise: str = "", twice: bool = False) -> str:
    """Return what the user types. Raises UsageError for ``reason`` if that is nothing, or if there is no terminal.

    ``what`` names the secret in the message. ``otherwise`` is the way out without a terminal, where the reason has none.
    ``twice`` is for a new secret: typing is hidden, so a slip would go unnoticed.
    """
    if not has_terminal():
        raise UsageError(f"there is no terminal to ask for the {what}{otherwise}", reason)
    typed = getpass.getpass(f"{question}: ")
    if not typed:
        raise UsageError(f"no {what} was given", reason)
    if twice and getpass.getpass("The same again: ") != typed:
        raise UsageError("the two are not the same", reason)
    return typed

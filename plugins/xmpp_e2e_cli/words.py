"""Passwords and passphrases from files."""

from __future__ import annotations

from pathlib import Path

from xmpp_e2e_cli.codes import UsageProblem

WORD_BYTES = 4096
"""The longest file that is read: longer ones are some other file."""


def first_line(file: Path, what: str, problem: type[UsageProblem]) -> str:
    """The first line of a file, which is ``what``; ``problem`` if there is none."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(WORD_BYTES + 1)
        lines = raw.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        # From None: a decoding error carries the bytes.
        raise problem(f"the {what} file {file} cannot be read ({reason})") from None
    if len(raw) > WORD_BYTES or not lines or not lines[0]:
        raise problem(f"the {what} file {file} holds no {what} in its first line")
    return lines[0]

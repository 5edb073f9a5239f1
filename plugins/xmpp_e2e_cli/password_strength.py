"""Read passwords and passphrases from files, and estimate how easy they are to guess."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zxcvbn import zxcvbn

from xmpp_e2e_cli.errors import UsageError, UsageReason

MAX_FILE_BYTES = 4096
"""Longer files are refused: they hold something else."""
SCORED_CHARACTERS = 72
"""Only the first characters are scored: zxcvbn takes no more, and gets slow. A strong beginning is enough."""
GOOD_SCORE = 3
"""On zxcvbn's scale from 0 to 4. It means more than 10^8 guesses, too many to try over a network."""


def read_first_line(file: Path, what: str, reason: UsageReason) -> str:
    """Return the first line of a file. Raises UsageError for ``reason``, with a message that calls the line ``what``."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
        lines = raw.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        # "from None", because a decoding error carries the bytes of the secret.
        raise UsageError(f"cannot read the {what} file {file} ({cause})", reason) from None
    if len(raw) > MAX_FILE_BYTES or not lines or not lines[0]:
        raise UsageError(f"the {what} file {file} has no {what} in its first line", reason)
    return lines[0]


def describe_weakness(password: str, jids: Iterable[str]) -> str | None:
    """Explain why a password is weak, without repeating it; None if it is strong.

    ``jids`` are the accounts that use it: their names are no secret and count as known words.
    """
    names = [part for jid in jids for part in (jid, *jid.split("@"))]
    score = zxcvbn(password[:SCORED_CHARACTERS], user_inputs=names)
    if score["score"] >= GOOD_SCORE:
        return None
    tries = f"About {int(score['guesses']):,} guesses find it."
    advice = (score["feedback"]["warning"], tries, *score["feedback"]["suggestions"])
    return " ".join(sentence for sentence in advice if sentence)

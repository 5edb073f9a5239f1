"""Passwords and passphrases: from files, and how easy it is to guess them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zxcvbn import zxcvbn

from xmpp_e2e_cli.codes import UsageProblem

WORD_BYTES = 4096
"""The longest file that is read: longer ones are some other file."""
JUDGED = 72
"""Characters that are looked at, as many as zxcvbn takes; it needs the longer the more there are. What begins well is good."""
GOOD_SCORE = 3
"""Of 0 to 4: more than 10^8 guesses by who knows what people choose, beyond what can be tried from afar."""


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


def weakness(password: str, jids: Iterable[str]) -> str | None:
    """What makes it easy to guess, in sentences that do not repeat it; None: nothing. ``jids``: whose names are no secret."""
    names = [part for jid in jids for part in (jid, *jid.split("@"))]
    judged = zxcvbn(password[:JUDGED], user_inputs=names)
    if judged["score"] >= GOOD_SCORE:
        return None
    tries = f"About {int(judged['guesses']):,} guesses find it."
    advice = (judged["feedback"]["warning"], tries, *judged["feedback"]["suggestions"])
    return " ".join(sentence for sentence in advice if sentence)

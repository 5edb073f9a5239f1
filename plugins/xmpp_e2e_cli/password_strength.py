"""Estimate how easy passwords and passphrases are to guess."""

from __future__ import annotations

from collections.abc import Iterable

from zxcvbn import zxcvbn

SCORED_CHARACTERS = 72
"""Only the first characters are scored: zxcvbn takes no more, and gets slow. A strong beginning is enough."""
GOOD_SCORE = 3
"""On zxcvbn's scale from 0 to 4. It means more than 10^8 guesses, too many to try over a network."""


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

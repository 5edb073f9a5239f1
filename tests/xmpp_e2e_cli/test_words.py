"""What is easy to guess is told, in words that say why, and do not repeat it."""

from __future__ import annotations

import time

import pytest

from xmpp_e2e_cli.words import weakness

NAMES = ("alice@home.test", "robert@home.test")


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("hunter2", "very common password"),
        ("aaaabbbb1111", "Add another word or two"),
        ("123456789012", "similar to a commonly used password"),
        ("Passw0rd1234", "similar to a commonly used password"),
        ("robert@home.test", "About"),
        ("qwertzuiop", "very common password"),
        ("copper lantern wanders north", None),
        ("grüne Grütze am Abend", None),
        ("robert likes copper lanterns", None),
    ],
)
def test_what_is_weak(password: str, weak: str | None) -> None:
    """What people choose, the names of the two among it."""
    said = weakness(password, NAMES)
    assert said == weak or (weak is not None and said is not None and weak in said)
    assert not password or said is None or password not in said


def test_a_long_one_takes_no_time() -> None:
    """A file may hold 4 KiB of anything; its beginning is judged."""
    before = time.process_time()
    assert weakness("copper lantern wanders north " * 140, NAMES) is None
    assert weakness("x" * 4096, NAMES) is not None
    assert time.process_time() - before < 5

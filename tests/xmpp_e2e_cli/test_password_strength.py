"""Weak passwords are explained without repeating them."""

from __future__ import annotations

import time

import pytest

from xmpp_e2e_cli.password_strength import describe_weakness

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
    """The names of both accounts count as weak."""
    said = describe_weakness(password, NAMES)
    assert said == weak or (weak is not None and said is not None and weak in said)
    assert not password or said is None or password not in said


def test_a_long_one_takes_no_time() -> None:
    """Only the beginning is scored."""
    before = time.process_time()
    assert describe_weakness("copper lantern wanders north " * 140, NAMES) is None
    assert describe_weakness("x" * 4096, NAMES) is not None
    assert time.process_time() - before < 5

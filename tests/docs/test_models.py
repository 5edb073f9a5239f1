"""docs/models/VERDICTS.md speaks of the models as they are, and each defence that it claims has a control."""

from __future__ import annotations

import difflib

import pytest

from tests.docs import models
from tests.docs.models import MODELS, SHARED, digest, expected, verdict

TABLE = models.table()
NAMES = [path.name for path in models.models()]
CONTROLS = sorted(name for name in NAMES if "-" in name)
_CHANGED_LINES = 6
"""What a control leaves out takes so many lines: all else is its model's."""


def test_each_model_has_a_verdict() -> None:
    """Every model is in the table, and nothing else is but what they share."""
    assert sorted(TABLE) == sorted([*NAMES, SHARED.name])


@pytest.mark.parametrize("name", [*NAMES, SHARED.name])
def test_a_verdict_is_of_the_model_as_it_is(name: str) -> None:
    """A model that has changed since its verdict was taken has none: run ``make models``."""
    assert TABLE[name][1] == digest(MODELS / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_is_what_was_expected(name: str) -> None:
    """The first line of each model says what was found."""
    assert TABLE[name][0] == expected(MODELS / name)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(CONTROLS)))
def test_each_model_holds_and_has_a_control(name: str) -> None:
    """Of a model all is true but the one query that shows that it can run at all; and a control of it exists."""
    assert TABLE[name][0].split(", ").count("false") == 1
    assert any(control.startswith(name.removesuffix(".pv") + "-") for control in CONTROLS)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_leaves_out_one_defence(name: str) -> None:
    """A control is its model but for a few lines, and more is false of it."""
    model = name.partition("-")[0] + ".pv"
    assert TABLE[name][0].split(", ").count("false") > 1
    one, other = ((MODELS / each).read_text(encoding="utf-8").partition("*)")[2].splitlines() for each in (model, name))
    changes = [line for line in difflib.ndiff(one, other) if line.startswith("+ ")]
    assert 1 <= len(changes) <= _CHANGED_LINES


def test_what_proverif_says_is_read_in_the_order_of_the_queries() -> None:
    """A weak secret comes last wherever it was told; remarks in brackets are no verdicts; what cannot be proved shows."""
    said = (
        "RESULT Weak secret w is true.\nRESULT not attacker(s[]) is false.\n"
        "RESULT (even event(A) ==> event(B) is false.)\nRESULT event(A) ==> event(B) cannot be proved.\n"
    )
    assert verdict(said) == "false, cannot be proved, true"

"""What changes the shape of a function, and what does not."""

from __future__ import annotations

import ast

import pytest

from tests.evidence.shapes import shape

FUNCTION = '''
def f(self, size: int) -> None:
    """Text."""
    if self.size < size and not self.open:
        raise TooLarge("it is too large")
    self.size = size
'''


def of(source: str) -> str:
    return shape(ast.parse(source))


@pytest.mark.parametrize(
    ("before", "after"),
    [("f(self", "fits(self"), ("size", "length"), ("Text", "Words"), ("it is too", "far too"), (": int) -> None", ")")],
)
def test_names_and_words_do_not_matter(before: str, after: str) -> None:
    assert of(FUNCTION.replace(before, after)) == of(FUNCTION)


@pytest.mark.parametrize(
    ("before", "after"),
    [("<", "<="), ("not self.open", "self.open"), ("self.open", "self.size"), ("= size", "= self"), ("and", "or")],
)
def test_what_it_does_matters(before: str, after: str) -> None:
    assert of(FUNCTION.replace(before, after)) != of(FUNCTION)

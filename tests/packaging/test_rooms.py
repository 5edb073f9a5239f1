"""`python -m tests.packaging.rooms` prints rooms and arrows, and finds a circle."""

from __future__ import annotations

from graphlib import CycleError

import pytest

from tests.packaging import rooms


def test_the_arrows_go_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Both packages have an order, and each room says which question it answers."""
    assert rooms.main() == 0
    printed = capsys.readouterr().out
    assert all(room.rpartition(".")[2] in printed for package in rooms.PACKAGES for room in rooms.arrows(package))


def test_a_circle_is_found() -> None:
    """Two rooms that import each other have no order."""
    with pytest.raises(CycleError):
        rooms.ordered({"above": {"below"}, "below": {"above"}})

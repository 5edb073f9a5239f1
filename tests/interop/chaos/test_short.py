"""Two programs talk while everything around them fails, for twenty seconds; `make soak` plays many seeds, and longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.chaos.faults import SHORT
from interop.chaos.play import Plan, play


@pytest.mark.slow
@pytest.mark.parametrize(("server", "seed"), [("prosody", 3), ("federation", 4)])
async def test_every_promise_is_kept(tmp_path: Path, server: str, seed: int) -> None:
    """On one server to full JIDs, and across two that federate to bare ones: nothing is lost untold, repeated or reordered, and
    each stanza has one final event."""
    outcome = await play(Plan(server, seed, SHORT), tmp_path)
    assert outcome.good, outcome
    for direction in outcome.verdict.values():
        assert direction.given == SHORT.stanzas
        assert direction.delivered, "nothing was tried"

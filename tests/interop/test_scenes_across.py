"""Scenes across two servers; `make interop` does the same at full length."""

from __future__ import annotations

import pytest

from interop.theatre import Scene, Theatre
from tests.interop.playing import play, played_on


@pytest.mark.asyncio(loop_scope="module")
@played_on("federation", "exchanged")
async def test_it_plays(monkeypatch: pytest.MonkeyPatch, theatre: Theatre, scene: Scene, server: str) -> None:
    """The scene passes, if need be a shorter one."""
    await play(monkeypatch, theatre, scene, server)

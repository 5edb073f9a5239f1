"""Every scene on ejabberd. `make interop` runs them in full length."""

from __future__ import annotations

import pytest

from interop.runner import Runner, Scene
from tests.interop.running import on_servers, run_shortened


@pytest.mark.asyncio(loop_scope="module")
@on_servers("ejabberd")
async def test_it_passes(monkeypatch: pytest.MonkeyPatch, runner: Runner, scene: Scene, server: str) -> None:
    """Long scenes are shortened."""
    await run_shortened(monkeypatch, runner, scene, server)

"""Every scene on every server; `make interop` does the same at full length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from interop.scenes import debian_limits, farewell, first_message, many_stanzas, presence_and_iq, tie_break, two_devices
from interop.servers.loopback import Loopback
from interop.stage import Stage
from interop.theatre import SERVERS, Scene, Theatre, scenes
from slixmpp_e2e import presences
from slixmpp_e2e.errors import PeerWithoutE2E

LIMITED = {"changed_key", "debian_limits", "echo_bot", "first_message", "presence_and_iq", "require_without_e2e"}
"""What is played under Debian's limits here; `make interop` plays everything."""
PLAYED = [
    pytest.param(scene, server, id=f"{scene.name}-{server}{'-limited' if scene.setup.limits else ''}")
    for server in SERVERS
    for scene in sorted(scenes(), key=lambda scene: repr(scene.setup))
    if server not in scene.not_on and not (scene.setup.limits and scene.name not in LIMITED)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre() -> AsyncIterator[Theatre]:
    """One for all scenes: it keeps a server while the next scene wants the same."""
    async with Theatre() as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("scene", "server"), PLAYED)
async def test_it_plays(monkeypatch: pytest.MonkeyPatch, theatre: Theatre, scene: Scene, server: str) -> None:
    """The scene passes, if need be a shorter one."""
    monkeypatch.setattr(tie_break, "TIMES", 3)
    monkeypatch.setattr(many_stanzas, "COUNT", 100)
    monkeypatch.setattr(many_stanzas, "EVERY", 50)
    monkeypatch.setattr(debian_limits, "LETTER", debian_limits.LETTER[:8000])
    if scene.name == "peer_offline":
        monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.2)  # who never comes is not waited for
    monkeypatch.setattr(debian_limits, "COUNT", 10)
    result = await theatre.play(scene, server)
    if result.error is not None:
        result.error.add_note(result.log)
        raise result.error


@pytest.mark.parametrize("scene", [first_message, farewell, presence_and_iq, two_devices])
async def test_without_encryption_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: clients that speak in clear do not pass."""
    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    async with Loopback() as server, Stage(server) as stage:
        monkeypatch.setattr(stage, "encrypted", partial(stage.encrypted, policy="off"))
        with pytest.raises((AssertionError, PeerWithoutE2E)):
            await scene.play(stage)

"""Every scene on one server; `make interop` does the same at full length."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from interop.scenes import farewell, first_message, presence_and_iq, two_devices
from interop.servers.loopback import Loopback
from interop.stage import Stage
from interop.theatre import SERVERS, Scene, Theatre
from slixmpp_e2e.errors import PeerWithoutE2E
from tests.interop.playing import play, played_on

ALONE = ("loopback", "prosody", "ejabberd")
TWO = ("federation", "exchanged")
"""In a file of their own."""


def test_no_server_is_forgotten() -> None:
    """Each that there is belongs to one of the files."""
    assert {*ALONE, *TWO} == set(SERVERS)


@pytest.mark.asyncio(loop_scope="module")
@played_on(*ALONE)
async def test_it_plays(monkeypatch: pytest.MonkeyPatch, theatre: Theatre, scene: Scene, server: str) -> None:
    """The scene passes, if need be a shorter one."""
    await play(monkeypatch, theatre, scene, server)


@pytest.mark.parametrize("scene", [first_message, farewell, presence_and_iq, two_devices])
async def test_without_encryption_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: clients that speak in clear do not pass."""
    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    async with Loopback() as server, Stage(server) as stage:
        monkeypatch.setattr(stage, "encrypted", partial(stage.encrypted, policy="off"))
        with pytest.raises((AssertionError, PeerWithoutE2E)):
            await scene.play(stage)

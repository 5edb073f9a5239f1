"""Every scene on every server, and the bot of the documentation; `make interop` does the same at full length."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from slixmpp import ClientXMPP

from interop.props import Heard, say
from interop.scenes import debian_limits, farewell, first_message, many_stanzas, presence_and_iq, tie_break, two_devices
from interop.servers.loopback import Loopback
from interop.servers.prosody import Prosody
from interop.stage import Stage
from interop.theatre import SERVERS, Scene, Theatre, scenes
from slixmpp_e2e.errors import PeerWithoutE2E

ROOT = Path(__file__).parents[2]
PLAYED = [
    pytest.param(scene, server, id=f"{scene.name}-{server}{'-limited' if scene.setup.limits else ''}")
    for server in SERVERS
    for scene in sorted(scenes(), key=lambda scene: repr(scene.setup))
    if server not in scene.not_on
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


async def test_the_bot_of_the_documentation_answers_on_prosody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """docs/examples/echo_bot.py as it is: it answers through the session, and says how the message came."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with Prosody() as server, Stage(server) as stage:
        bot = echo_bot(stage.jid("bob"), server.accounts["bob"])
        await stage.enter(bot)
        alice = await stage.encrypted("alice")
        heard = Heard(alice, "message")
        say(alice, stage.jid("bob"), "Is it you?")
        answer = await heard.take()
        assert answer["body"] == "Is it you? [vouched]"
        assert str(answer["e2e"]["assurance"]) == "vouched"
        assert stage.readable("Is it you", "<body") == []
    assert os.listdir(tmp_path), "the bot kept its key elsewhere"


def echo_bot(jid: str, password: str) -> ClientXMPP:
    """The bot, from its file."""
    spec = spec_from_file_location("echo_bot", ROOT / "docs/examples/echo_bot.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    bot: ClientXMPP = module.Echo(jid, password)
    return bot

"""The scenes on a real Prosody, and the bot of the documentation among them; `make interop` plays all, on every server."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP

from interop import run
from interop.props import Heard, say
from interop.scenes import farewell, first_message, presence_and_iq, two_devices
from interop.servers.loopback import Loopback
from interop.servers.prosody import Prosody
from interop.stage import Stage
from slixmpp_e2e.errors import PeerWithoutE2E

ROOT = Path(__file__).parents[2]
LONG = {"debian_limits", "many_stanzas"}
"""Each takes longer than all the others together: for `make interop`."""
SCENES = {scene.name: scene for scene in run.scenes()}


@pytest.mark.parametrize("name", sorted(SCENES.keys() - LONG))
async def test_it_plays_on_prosody(name: str) -> None:
    """The scene passes."""
    result = await run.perform(SCENES[name], SCENES[name].servers["prosody"])
    if result.error is not None:
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

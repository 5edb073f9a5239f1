"""The bot of docs/examples, exactly that file, answers through the session and says how the message came."""

from __future__ import annotations

import os
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import patch

from slixmpp import ClientXMPP

from interop.props import Heard, say
from interop.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "docs/examples/echo_bot.py"


def bot(jid: str, password: str) -> ClientXMPP:
    """The bot, from its file."""
    spec = spec_from_file_location("echo_bot", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made: ClientXMPP = module.Echo(jid, password)
    return made


async def play(stage: Stage) -> None:
    """Bob's bot keeps its key where any program of his account would; Alice asks it something."""
    with tempfile.TemporaryDirectory() as folder:
        with patch.dict(os.environ, XDG_DATA_HOME=folder):
            bob = bot(stage.jid("bob"), stage.server.accounts["bob"])
        await stage.enter(bob)
        alice = await stage.encrypted("alice")
        heard = Heard(alice, "message")
        say(alice, stage.jid("bob"), "Is it you?")
        answer = await heard.take()
        assert answer["body"] == "Is it you? [vouched]"
        assert str(answer["e2e"]["assurance"]) == "vouched"
        assert stage.readable("Is it you", "<body") == []
        assert os.listdir(folder), "the bot kept its key elsewhere"
        await stage.leave(bob)

"""The bot in docs/examples answers through the session and says how the message came."""

from __future__ import annotations

import os
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import patch

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, say

EXAMPLE = Path(__file__).parents[2] / "docs/examples/echo_bot.py"


def bot(jid: str, password: str) -> ClientXMPP:
    """Load the bot from its file."""
    spec = spec_from_file_location("echo_bot", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made: ClientXMPP = module.Echo(jid, password)
    return made


async def run(harness: Harness) -> None:
    """Bob's bot keeps its key in the default place, and Alice asks it something."""
    with tempfile.TemporaryDirectory() as folder:
        with patch.dict(os.environ, XDG_DATA_HOME=folder):
            bob = bot(harness.jid("bob"), harness.server.accounts["bob"])
        await harness.log_in(bob)
        alice = await harness.e2e_client("alice")
        heard = Events(alice, "message")
        say(alice, harness.jid("bob"), "Is it you?")
        answer = await heard.take()
        assert answer["body"] == "Is it you? [vouched]"
        assert str(answer["e2e"]["assurance"]) == "vouched"
        assert harness.find_text("Is it you", "<body") == []
        assert os.listdir(folder), "the bot kept its key elsewhere"
        await harness.log_out(bob)

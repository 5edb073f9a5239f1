"""A program stands still for 90 s: what is written to it meanwhile, with no session open, arrives when it goes on, in order."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from interop import programs
from interop.harness import Harness
from interop.helpers import Events, Outcomes, plugin, say
from interop.scenes.server_restarts import offers
from interop.scenes.service_bot import EXAMPLE, until_there
from interop.servers.daemon import Daemon

NOT_ON = {
    "loopback": "one server is enough for what the peer does not do",
    **dict.fromkeys(("federation", "swapped"), "the program looks for one server"),
}
NOT_LIMITED = "sends little: limits change only how long it takes"

MESSAGES = 5
STILL_SECONDS = 90.0
"""Longer than an offer may go unanswered (`step_seconds`)."""
SETTINGS: dict[str, Any] = {}
"""Of Alice: the defaults."""
OUTCOME_SECONDS = 120.0
"""Between two outcomes: the next offer may be made half a minute later."""


async def run(harness: Harness) -> None:
    """Alice writes to Bob's bot while it is suspended: before her offer has failed, and when it goes on."""
    assert isinstance(harness.server, Daemon)
    alice = await harness.e2e_client("alice", **SETTINGS)
    heard, here = Events(alice, "message"), Events(alice, "presence_available")
    outcomes = Outcomes(alice)
    bot, words = f"{harness.jid('bob')}/bot", [f"Wake up {number}" for number in range(2 * MESSAGES)]
    async with programs.running(harness, "bob", EXAMPLE, bot, ECHO_PASSWORD=harness.server.accounts["bob"]) as program:
        await until_there(here, bot)
        await plugin(alice, "xep_0030").get_info(bot)  # and so the plugin has been told, too, that the bot has encryption
        program.signal(signal.SIGSTOP)
        try:
            for word in words[:MESSAGES]:
                say(alice, bot, word)
            await asyncio.sleep(STILL_SECONDS)
            for word in words[MESSAGES:]:
                say(alice, bot, word)
        finally:
            program.signal(signal.SIGCONT)
        assert await outcomes.delivered(len(words), OUTCOME_SECONDS) == words
        assert [(await heard.body()).partition(" [")[0] for _ in words] == words
        program.signal(signal.SIGTERM)
        code, _, logged = await program.end()
    assert (code, "Traceback" in logged) == (0, False), logged
    assert not len(heard)
    assert offers(harness.server.handled()) > 1, "the offer was answered in time"
    assert harness.find_text("Wake up") == []

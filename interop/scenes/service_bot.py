"""The bot for systemd in docs/examples answers, returns when its server was restarted, and ends on a wrong password."""

from __future__ import annotations

import signal
from pathlib import Path

from slixmpp import ClientXMPP

from interop import programs
from interop.harness import Harness
from interop.helpers import Events, say
from interop.servers.daemon import Daemon

EXAMPLE = Path(__file__).parents[2] / "docs/examples/service_bot.py"
INCURABLE = 78
ANSWERS = 20
NOT_ON = {
    "loopback": "it cannot be restarted",
    **dict.fromkeys(("federation", "swapped"), "one server is enough for how a program ends"),
}
NOT_LIMITED = "sends little: limits change only how long it takes"


async def run(harness: Harness) -> None:
    """Bob's bot; Alice writes to it before and after the restart, and until it goes."""
    server, bot, password = harness.server, f"{harness.jid('bob')}/bot", harness.server.accounts["bob"]
    assert isinstance(server, Daemon)
    async with programs.running(harness, "bob", EXAMPLE, bot, ECHO_PASSWORD="not this one") as program:
        code, _, logged = await program.end()
    assert (code, "no login" in logged, "Traceback" in logged) == (INCURABLE, True, False), logged

    alice = await harness.e2e_client("alice")
    heard, here, ended = (Events(alice, name) for name in ("message", "presence_available", "e2e_session_closed"))
    async with programs.running(harness, "bob", EXAMPLE, bot, ECHO_PASSWORD=password) as program:
        await until_there(here, bot)
        say(alice, bot, "Is it you?")
        assert await heard.body() == "Is it you? [vouched]"

        await server.stop()
        await server.start_again()
        await harness.log_in(alice)
        alice.send_presence()
        await until_there(here, bot)
        say(alice, bot, "Again?")
        assert await heard.body() == "Again? [known]"
        ended.all()

        await say_and_end(alice, bot, heard, program)
        code, _, logged = await program.end()
    assert (code, "Traceback" in logged, "the connection is lost" in logged) == (0, False, True), logged
    assert (await ended.take()).clean
    assert harness.find_text("Is it you", "Again", "number") == []


async def until_there(here: Events, bot: str) -> None:
    """Wait until the bot is online."""
    while (await here.take())["from"].full != bot:
        pass


async def say_and_end(alice: ClientXMPP, bot: str, heard: Events, program: programs.Program) -> None:
    """Let the bot be told to go while it answers: all that it has answered arrives."""
    for number in range(ANSWERS):
        say(alice, bot, f"number {number}")
    assert await heard.body() == "number 0 [known]"
    program.signal(signal.SIGTERM)
    for number in range(1, ANSWERS):
        assert await heard.body() == f"number {number} [known]"

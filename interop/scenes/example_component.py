"""The component in docs/examples answers with and without encryption, returns after a cut, and ends on a wrong secret."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout

from interop import programs
from interop.chaos.proxy import Link
from interop.harness import Harness
from interop.helpers import EVENT_SECONDS, Events, plugin, say

EXAMPLE = Path(__file__).parents[2] / "docs/examples/component.py"
INCURABLE = 78
ASK_SECONDS = 2.0
"""Timeout of a question to a component that may have gone just now, with the question."""
NOT_ON = dict.fromkeys(("federation", "swapped"), "one server is enough for how a program ends")


async def run(harness: Harness) -> None:
    """Alice has encryption, Carol has not. The connection of the component is cut, and then it is told to go."""
    component = harness.server.component_client()
    domain = component.boundjid.bare
    bot = f"echo@{domain}"
    alice, carol = await harness.e2e_client("alice", accept_from=[domain]), await harness.client("carol")
    async with Link(component.server_port) as link:
        words = domain, component.server_host, str(link.port), alice.boundjid.domain
        async with programs.running(harness, "bots", EXAMPLE, *words, COMPONENT_SECRET="not this one") as program:
            code, _, logged = await program.end()
        assert (code, "not-authorized" in logged) == (INCURABLE, True), logged
        async with programs.running(harness, "bots", EXAMPLE, *words, COMPONENT_SECRET=component.secret) as program:
            await until_there(alice, bot)
            assert await reply(alice, bot, "Is it you?") == "Is it you? [vouched]"
            assert await reply(carol, bot, "In the open") == "In the open [none]"
            link.cut_all()
            await until_there(alice, bot)
            assert await reply(alice, bot, "Again?") == "Again? [known]"
            ended = Events(alice, "e2e_session_closed")
            program.signal(signal.SIGTERM)
            code, _, logged = await program.end()
        assert (code, "Traceback" in logged, logged.count("the connection is lost")) == (0, False, 1), logged
        assert (await ended.take()).clean
    assert harness.find_text("Is it you", "Again") == []


async def until_there(client: ClientXMPP, bot: str) -> None:
    """Wait until the component answers, and has shown itself to a contact."""
    here = Events(client, "presence_available")
    async with asyncio.timeout(EVENT_SECONDS):
        while True:
            try:
                await plugin(client, "xep_0030").get_info(jid=f"{bot}/bot", timeout=ASK_SECONDS)
                break
            except (IqError, IqTimeout):
                await asyncio.sleep(0.1)
    client.send_presence_subscription(JID(bot))
    while (await here.take())["from"].full != f"{bot}/bot":
        pass


async def reply(client: ClientXMPP, bot: str, words: str) -> str:
    """Return what the bot answers, which it does from its full JID."""
    heard = Events(client, "message")
    say(client, bot, words)
    answer = await heard.take()
    assert answer["from"].full == f"{bot}/bot"
    return str(answer["body"])

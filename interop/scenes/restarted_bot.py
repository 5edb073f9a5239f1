"""A bot starts again, and 80 contacts write to it at once, then 300 users of a named domain: all get their answers."""

from __future__ import annotations

import asyncio

from slixmpp import JID, ClientXMPP
from slixmpp.basexmpp import BaseXMPP

from interop.harness import Harness
from interop.helpers import Events, echo

NOT_ON = dict.fromkeys(("loopback", "federation", "swapped"), "the crowd is the component of the bot's server")
NOT_LIMITED = "many_at_once plays that"

CONTACTS, USERS = 80, 300
CROWD_SECONDS = 240.0
"""For all of a crowd to be answered. It takes some 30 ms for each if nothing else runs: both ends share a core."""


async def run(harness: Harness) -> None:
    """Everybody has talked with Bob's bot before, and does so again as soon as it is back."""

    def nothing(component: BaseXMPP) -> None:
        """It is only listened to."""

    many = await harness.component(nothing, accept_from=list(harness.server.domains))
    domain, subscribed, failed = many.boundjid.domain, Events(many, "presence_subscribed"), Events(many, "e2e_send_failed")
    bot = await harness.e2e_client("bob", prepare=echo)
    contacts = [f"contact{number}@{domain}" for number in range(CONTACTS)]
    users = [f"user{number}@{domain}" for number in range(USERS)]
    for contact in contacts:
        many.send_presence(pfrom=JID(contact), pto=JID(bot.boundjid.bare), ptype="subscribe")
    for _ in contacts:
        await subscribed.take()
    for crowd, accept_from in ((contacts, "roster"), (users, [domain])):
        for word in ("Before", "Again"):
            await harness.log_out(bot)
            bot = await harness.e2e_client("bob", prepare=echo, accept_from=accept_from)
            await all_answered(many, bot, crowd, word)
    await asyncio.gather(*(bot.del_roster_item(JID(contact)) for contact in contacts))  # other scenes use the account, too
    assert not len(failed)
    assert harness.find_text("Before", "Again", "You said") == []


async def all_answered(many: BaseXMPP, bot: ClientXMPP, crowd: list[str], word: str) -> None:
    """Let all of a crowd write in one turn."""
    answers = Events(many, "message")
    for user in crowd:
        many.send_message(mfrom=JID(f"{user}/desk"), mto=bot.boundjid, mbody=f"{word} {user}", mtype="chat")
    async with asyncio.timeout(CROWD_SECONDS):
        heard = [await answers.take(CROWD_SECONDS) for _ in crowd]
    answered = {(str(answer["to"].bare), str(answer["body"])) for answer in heard}
    assert answered == {(user, f"You said: {word} {user}") for user in crowd}

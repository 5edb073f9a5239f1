"""One `xmpp-e2e send` of somebody whose clients have no encryption: bots to which it did not write still answer them."""

from __future__ import annotations

from interop import programs
from interop.harness import Harness
from interop.helpers import Events, echo, say

NOT_LIMITED = "sends little: limits change only how long it takes"


async def run(harness: Harness) -> None:
    """Alice's phone has no encryption; her command writes to Bob, and all her contacts see that it is there."""
    phone = await harness.client("alice", "phone")
    bot = await harness.e2e_client("dave", prepare=echo)
    bob = await harness.e2e_client("bob")
    heard, answers = Events(bob, "message"), Events(phone, "message")
    came, failed = Events(bot, "presence_available"), Events(bot, "e2e_send_failed")
    async with programs.send_command(harness, "alice", harness.jid("bob"), "By the command.") as command:
        code, _, logged = await command.end()
    assert code == 0, logged
    assert await heard.body() == "By the command."
    while (seen := (await came.take())["from"]).bare != harness.jid("alice") or seen.resource == "phone":
        pass
    for number in range(2):
        say(phone, bot.boundjid.bare, f"To the bot: {number}")
        assert await answers.body() == f"You said: To the bot: {number}"
    await harness.settle(phone, bot)
    assert not len(failed)
    assert harness.find_text("By the command") == []

"""Two ordinary clients exchange a message in plaintext: the basis of all other scenes."""

from __future__ import annotations

import asyncio

from slixmpp import Message

from interop.harness import Harness


async def run(harness: Harness) -> None:
    """Bob answers Alice. Both see the stamped sender, and the server has read every word."""
    alice, bob = await harness.client("alice"), await harness.client("bob")
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Message] = loop.create_future()

    def echo(message: Message) -> None:
        message.reply(f"You said: {message['body']}").send()

    bob.add_event_handler("message", echo)
    alice.add_event_handler("message", answered.set_result)
    alice.send_message(bob.boundjid, "How is the weather?", mtype="chat")

    answer = await answered
    assert answer["from"] == bob.boundjid
    assert answer["body"] == "You said: How is the weather?"
    assert any("How is the weather?" in handled.text for handled in harness.server.handled())

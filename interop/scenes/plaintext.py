"""Two ordinary clients exchange a message in clear: what every other scene stands on."""

from __future__ import annotations

import asyncio

from slixmpp import Message

from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob answers Alice, both see the stamped sender, and the server has read every word."""
    alice, bob = await stage.client("alice"), await stage.client("bob")
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
    assert any("How is the weather?" in handled.text for handled in stage.server.handled())

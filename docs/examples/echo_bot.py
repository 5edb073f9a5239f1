"""A bot that answers each message with itself, through the session that it came by.

    XMPP_PASSWORD=… python echo_bot.py bot@example.org
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import slixmpp

import slixmpp_e2e


class Echo(slixmpp.ClientXMPP):
    def __init__(self, jid: str, password: str) -> None:
        super().__init__(jid, password)
        self.auto_authorize = None  # who is in the roster may open sessions: let nobody in unasked
        self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)  # the only new line
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("e2e_key_changed", lambda happened: print(happened.detail.text, file=sys.stderr))

    async def on_start(self, _: Any) -> None:
        await self.get_roster()
        self.send_presence()

    def on_message(self, message: slixmpp.Message) -> None:
        if message["type"] in ("chat", "normal"):
            message.reply(f"{message['body']} [{message['e2e']['assurance']}]").send()


async def main() -> None:
    bot = Echo(sys.argv[1], os.environ["XMPP_PASSWORD"])
    bot.connect()
    await bot.disconnected


if __name__ == "__main__":
    asyncio.run(main())

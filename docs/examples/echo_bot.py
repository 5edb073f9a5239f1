"""An echo bot that speaks end-to-end encrypted with everybody who can, and plainly with everybody else.

    ECHO_PASSWORD=… python echo_bot.py echo@example.org
"""

from __future__ import annotations

import asyncio
import os
import sys

import slixmpp

import slixmpp_e2e


class Echo(slixmpp.ClientXMPP):
    """Answers every message, and says what is known of the key that it came under."""

    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)  # the only line about encryption
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("message", self.on_message)

    async def on_start(self, event):
        await self.get_roster()
        self.send_presence()

    def on_message(self, msg):
        if msg["type"] in ("chat", "normal"):
            msg.reply(f"{msg['body']} [{msg['e2e']['assurance']}]").send()  # back through the same session


async def main():
    echo = Echo(sys.argv[1], os.environ["ECHO_PASSWORD"])
    print("our key:", slixmpp_e2e.of(echo).fingerprint)
    echo.connect()
    await echo.disconnected


if __name__ == "__main__":
    asyncio.run(main())

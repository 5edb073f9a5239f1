"""Says something and goes, end-to-end encrypted if the peer can. It exits 0 if nothing was lost, with 1 if something was.

    NOTIFIER_PASSWORD=… python notifier.py monitor@example.org alice@example.org "The backup is done."
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import slixmpp

import slixmpp_e2e
from slixmpp_e2e import SendFailed

SECONDS = 120.0  # for the login, and for a peer or a server that is slow


class Notifier(slixmpp.ClientXMPP):
    """Says one thing to one peer."""

    def __init__(self, jid, password, to, text):
        super().__init__(jid, password)
        self.to, self.text = slixmpp.JID(to), text
        self.lost = []
        self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)  # the only line about encryption
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("failed_all_auth", self.lost.append)
        self.add_event_handler(SendFailed.name, self.lost.append)  # the plugin logs it, too

    async def start(self, event):
        self.send_presence()  # servers tell only those who are online which devices the peer has
        await self.get_roster()
        self.send_message(mto=self.to, mbody=self.text, mtype="chat")
        self.disconnect()  # waits until the peer has acknowledged it


async def main(*words):
    """Return the exit code."""
    notifier = Notifier(words[0], os.environ["NOTIFIER_PASSWORD"], *words[1:])
    notifier.connect()
    try:
        async with asyncio.timeout(SECONDS):
            await notifier.disconnected
    except TimeoutError:
        logging.error("not done within %.0f s", SECONDS)
        return 1
    return 1 if notifier.lost else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    sys.exit(asyncio.run(main(*sys.argv[1:])))

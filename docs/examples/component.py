"""A component (XEP-0114) that speaks end-to-end encrypted with everybody who can, and plainly with everybody else.

    COMPONENT_SECRET=… python component.py bots.example.org localhost 5347 example.org

Users of example.org write to echo@bots.example.org. It connects again when the server goes, and says farewell on SIGTERM.
It exits with 78 on what a restart will not cure, a wrong secret or setting, or a store that cannot be used. For systemd:

    [Service]
    Restart=on-failure
    RestartPreventExitStatus=78
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import slixmpp

import slixmpp_e2e
from slixmpp_e2e import KeyChanged, PlaintextReceived, PlaintextRefused, SendFailed
from xmpp_e2e.errors import E2EError

log = logging.getLogger("component")

INCURABLE = 78
FATAL = {"not-authorized", "host-unknown", "invalid-namespace", "policy-violation"}
RETRY_SECONDS = 2.0


class Bots(slixmpp.ComponentXMPP):
    """One bot, at one address. A component may have as many as it likes."""

    def __init__(self, domain, secret, host, port, users):
        super().__init__(domain, secret, host, port)
        self.enable_direct_tls = False
        self.bot = slixmpp.JID(f"echo@{domain}/bot")  # a full JID: no session ends at a bare one, nor at the domain
        self.register_plugin("e2e", {"accept_from": [users]}, module=slixmpp_e2e)
        # slixmpp has forgotten after a restart who is subscribed, and would end the subscription of whoever asks
        self.del_event_handler("presence_probe", self._handle_probe)
        for event, handler in {
            "session_start": lambda _: log.info("connected as %s", self.boundjid),
            "presence_subscribe": self.show,
            "presence_probe": self.show,
            "message": self.answer,
            "stream_error": self.judge,
            "disconnected": self.return_later,
        }.items():
            self.add_event_handler(event, handler)
        for event in (SendFailed, KeyChanged, PlaintextReceived, PlaintextRefused):
            self.add_event_handler(event.name, lambda happened: log.warning("%s", happened))
        self.over = asyncio.get_running_loop().create_future()  # the exit code

    def show(self, presence):
        """Tell a contact that the bot is there, and at which full JID."""
        if presence["to"].bare == self.bot.bare:
            self.send_presence(pfrom=self.bot, pto=presence["from"].bare)

    def answer(self, msg):
        """Answer, and say what is known of the key that it came under."""
        if msg["to"].bare == self.bot.bare and msg["type"] in ("chat", "normal"):
            body = f"{msg['body']} [{msg['e2e']['assurance']}]"
            self.send_message(mfrom=self.bot, mto=msg["from"], mbody=body, mtype="chat")

    def judge(self, error):
        """The server ends the stream: for good, or until it is up again."""
        log.error("the server says: %s", error["condition"])
        if error["condition"] in FATAL:
            self.end(INCURABLE)

    def return_later(self, reason):
        """Connect again."""
        if not self.over.done():
            log.warning("the connection is lost")
            self.loop.call_later(RETRY_SECONDS, lambda: self.over.done() or self.connect())

    def end(self, code):
        """Let the program end."""
        if not self.over.done():
            self.over.set_result(code)


async def main(domain, host, port, users):
    """Run until SIGTERM; return the exit code."""
    try:
        bots = Bots(domain, os.environ["COMPONENT_SECRET"], host, int(port), users)
        await slixmpp_e2e.of(bots).wait_ready()
    except E2EError as error:
        log.error("%s", slixmpp_e2e.explain(error))
        return INCURABLE
    log.info("our key: %s", slixmpp_e2e.of(bots).fingerprint)
    bots.loop.add_signal_handler(signal.SIGTERM, bots.end, 0)
    bots.connect()
    code = await bots.over
    if bots.is_connected():
        await slixmpp_e2e.of(bots).close()  # what was sent has arrived, or an event has told
        await bots.disconnect()
    return code


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    sys.exit(asyncio.run(main(*sys.argv[1:])))

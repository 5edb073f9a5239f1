"""An echo bot for systemd. It connects again when the server goes, logs for the journal, and says farewell on SIGTERM.

    ECHO_PASSWORD=… python service_bot.py echo@example.org

It exits with 78 on what a restart will not cure: a wrong password or setting, a store that cannot be used, or another program
with the same full JID. The unit is echo_bot.service.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import slixmpp

import slixmpp_e2e
from slixmpp_e2e import StoreFailed
from xmpp_e2e.errors import E2EError

log = logging.getLogger("echo")

INCURABLE = 78
RETRY_SECONDS = (1.0, 60.0)  # at first, and at most


class Echo(slixmpp.ClientXMPP):
    """Answers every message, and says what is known of the key that it came under."""

    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.register_plugin("e2e", {"policy": "prefer"}, module=slixmpp_e2e)
        self.register_plugin("xep_0199", {"keepalive": True, "interval": 60, "timeout": 30})  # a dead line does not say so
        for event, handler in {
            "session_start": self.start,
            "message": self.answer,
            "failed_auth": self.note_refusal,
            "failed_all_auth": self.judge_login,
            "stream_error": self.judge,
            "disconnected": self.return_later,
            StoreFailed.name: lambda _: self.end(INCURABLE),  # the plugin logs this itself, as all that goes wrong
        }.items():
            self.add_event_handler(event, handler)
        self.wait, self.refusal = RETRY_SECONDS[0], ""
        self.over = asyncio.get_running_loop().create_future()  # the exit code

    async def start(self, event):
        log.info("online as %s", self.boundjid)
        self.wait = RETRY_SECONDS[0]
        self.send_presence()
        await self.get_roster()

    def answer(self, msg):
        if msg["type"] in ("chat", "normal"):
            msg.reply(f"{msg['body']} [{msg['e2e']['assurance']}]").send()  # back through the same session

    def note_refusal(self, failure):
        """The server refuses one way to log in; there may be others."""
        self.refusal = failure["condition"]

    def judge_login(self, event):
        """The server refuses the password: for good, unless it says that it cannot check any now."""
        log.error("no login: %s", self.refusal)
        if self.refusal != "temporary-auth-failure":
            self.end(INCURABLE)

    def judge(self, error):
        """The server ends the stream: until it is up again, unless another program has our place."""
        log.error("the server says: %s", error["condition"])
        if error["condition"] == "conflict":
            self.end(INCURABLE)

    def return_later(self, reason):
        if not self.over.done():
            log.warning("the connection is lost; the next attempt is in %.0f s", self.wait)
            self.loop.call_later(self.wait, self.come_back)
            self.wait = min(2 * self.wait, RETRY_SECONDS[1])

    def come_back(self):
        if not (self.over.done() or self.is_connected() or self.is_connecting()):
            self.connect()

    def end(self, code):
        if not self.over.done():
            self.over.set_result(code)


async def main(jid):
    """Run until SIGTERM; return the exit code."""
    try:
        echo = Echo(jid, os.environ["ECHO_PASSWORD"])
        await slixmpp_e2e.of(echo).wait_ready()
    except E2EError as error:
        log.error("%s", slixmpp_e2e.explain(error))
        return INCURABLE
    log.info("our key: %s", slixmpp_e2e.of(echo).fingerprint)
    echo.loop.add_signal_handler(signal.SIGTERM, echo.end, 0)
    echo.connect()
    code = await echo.over
    await echo.disconnect()  # what was answered arrives, or the log tells
    return code


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    sys.exit(asyncio.run(main(sys.argv[1])))

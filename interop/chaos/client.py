"""An ordinary slixmpp program, run as a child process: it counts aloud to its peer, reconnects, and leaves at SIGTERM.

    python -m interop.chaos.client '{"jid": …}'

It appends what happens to its journal, a JSON object a line (`check.Line`), each by one write, which survives SIGKILL. Started
again with the same journal, it goes on counting where it was. The only lines about encryption are the plugin and the events.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP, Message, Presence

import slixmpp_e2e
from interop.chaos.check import What
from xmpp_loopback import no_tls

TURN_SECONDS = 0.1
"""The program speaks ten times a second, and says as much as is due."""
LOGIN_SECONDS = 20.0
"""An attempt to log in that takes longer is given up, and made again: slixmpp waits without end for a server that stands
still."""
RETRY_SECONDS = 0.5
LONG = 50
"""One body in so many is long."""
LONG_BYTES = 20_000
EVENTS = {"e2e_sent": What.SENT, "e2e_delivered": What.DELIVERED, "e2e_send_failed": What.FAILED}


@dataclass(frozen=True)
class Orders:
    """What the program is told on its command line."""

    jid: str
    """Full JID."""
    password: str
    peer: str
    """To whom it counts: full or bare JID."""
    port: int
    """The port of its server on 127.0.0.1."""
    ca: str | None
    """The file with the authority of its server; None for a server without TLS."""
    journal: str
    """The file."""
    stanzas: int
    """How far it counts."""
    seconds: float
    """How long it takes for that, if nothing disturbs it."""
    e2e: Mapping[str, Any] | None
    """The plugin's settings; None for plain XMPP."""
    management: bool
    """Load stream management (XEP-0198)."""
    seed: int
    """Decides how long the bodies are."""


@dataclass
class Journal:
    """The journal, opened to append."""

    file: int
    first: int = 1
    """The next number to give."""

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal, and find how far an earlier life came."""
        lines = path.read_text().splitlines() if path.exists() else []
        given = [json.loads(line)["number"] for line in lines if f'"{What.GIVEN}"' in line]
        return cls(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), max(given, default=0) + 1)

    def note(self, what: What, number: int = 0, why: str = "") -> None:
        """Append a line."""
        line = {"at": time.monotonic(), "what": what, "number": number, "why": why}
        os.write(self.file, json.dumps(line).encode() + b"\n")


class Counter(ClientXMPP):
    """The program."""

    def __init__(self, orders: Orders, journal: Journal) -> None:
        super().__init__(orders.jid, orders.password, ssl_context=no_tls())
        self.leaving = False
        self.cut_off = ""
        """What kept it from a farewell."""
        self._orders, self._journal = orders, journal
        self._counting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._peer_there = asyncio.Event()
        self._is_up = False
        if orders.e2e is not None:
            self.register_plugin("e2e", dict(orders.e2e), module=slixmpp_e2e)
        if orders.management:
            self.register_plugin("xep_0198")
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("session_resumed", self.resumed)
        self.add_event_handler("disconnected", self.reconnect_later)
        self.add_event_handler("message", self.hear)
        self.add_event_handler("presence_available", self.see)
        self.add_event_handler("e2e_session_closed", self.note_end)
        for event, what in EVENTS.items():
            self.add_event_handler(event, lambda told, what=what: self.tell(what, told))

    def dial(self) -> None:
        """Connect to the server."""
        self.enable_direct_tls = False
        login = self.plugin["feature_mechanisms"]
        login.use_mech = "PLAIN"
        if self._orders.ca is None:
            self.enable_starttls, self.enable_plaintext, login.unencrypted_plain = False, True, True
        else:
            self.ssl_context = ssl.create_default_context(cafile=self._orders.ca)
        self._watch_login(True)
        self.connect("127.0.0.1", self._orders.port)

    async def start(self, _: object) -> None:
        self._watch_login(False)
        self._is_up = True
        self.send_presence()
        await self.get_roster()
        if self._orders.e2e is None:
            await self._peer_there.wait()  # who speaks plain XMPP loses what is said before
        if self._counting is None:
            self._counting = asyncio.create_task(self.count())

    def resumed(self, _: object) -> None:
        self._watch_login(False)
        self._is_up = True

    def reconnect_later(self, _: object) -> None:
        self._is_up = False
        if not self.leaving:
            self.loop.call_later(RETRY_SECONDS, self._dial_again)

    def _dial_again(self) -> None:
        if not self.leaving and self.transport is None:
            self.dial()

    async def count(self) -> None:
        """Say the numbers, as many as are due: what was missed by standing still is said at once."""
        orders, chance = self._orders, random.Random(self._orders.seed)
        begin, number = time.monotonic(), self._journal.first
        first = number
        while number <= orders.stanzas and not self.leaving:
            due = first + (time.monotonic() - begin) * orders.stanzas / orders.seconds
            while number <= min(due, orders.stanzas):
                size = LONG_BYTES if chance.randrange(LONG) == 0 else chance.randrange(200)
                self._journal.note(What.GIVEN, number)
                self.send_message(mto=JID(orders.peer), mbody=f"{number} ".ljust(size, "."), mtype="chat")
                number += 1
            await asyncio.sleep(TURN_SECONDS)

    def see(self, presence: Presence) -> None:
        if presence["from"].bare == JID(self._orders.peer).bare:
            self._peer_there.set()

    def hear(self, message: Message) -> None:
        if message["type"] == "error":
            return
        inside = "e2e" in self.plugin and message["e2e"]["session"] is not None
        self._journal.note(What.HEARD if inside else What.CLEAR, _number(message))

    def tell(self, what: What, told: Any) -> None:
        if told.stanza.name == "message":
            error = getattr(told, "error", None)
            why = "" if error is None else f"{type(error).__name__}: {error}"
            self._journal.note(what, _number(told.stanza), why)

    async def leave(self) -> None:
        """End in order, as programs do."""
        self.leaving = True
        plugins: Any = self.plugin
        if not self._is_up:
            self.cut_off = "no connection"
        elif "e2e" in plugins and not plugins["e2e"].sessions():
            self.cut_off = "no session with the peer"
        await self.disconnect()

    def note_end(self, closed: Any) -> None:
        if self.leaving and not closed.clean:
            self.cut_off = str(closed.error)

    def _watch_login(self, on: bool) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(LOGIN_SECONDS, self._give_up_login) if on else None

    def _give_up_login(self) -> None:
        logging.warning("no login within %.0f s", LOGIN_SECONDS)
        self.cancel_connection_attempt()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
        else:
            self.reconnect_later(None)


def _number(message: Message) -> int:
    return int(message["body"].split()[0])


async def serve(orders: Orders) -> None:
    """Run the program until SIGTERM."""
    journal = Journal.open(Path(orders.journal))
    journal.note(What.START)
    told_to_leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_leave.set)
    client = Counter(orders, journal)
    client.dial()
    await told_to_leave.wait()
    await client.leave()
    journal.note(What.END, why=client.cut_off)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("slixmpp").setLevel(logging.WARNING)
    asyncio.run(serve(Orders(**json.loads(sys.argv[1]))))

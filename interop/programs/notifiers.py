"""Notifiers that log in, say something and go, each in one of the ways in which slixmpp programs end.

    python notifiers.py WAY JID PASSWORD TO TEXT

They know nothing of encryption but the line that registers the plugin; those whose names begin with ``e2e`` know more.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from slixmpp import JID, ClientXMPP

import slixmpp_e2e

MESSAGES = 3
"""How often a notifier says its text."""


class Notifier(ClientXMPP):
    """A program like the example send_client.py of slixmpp."""

    def __init__(self, jid: str, password: str, to: str, text: str) -> None:
        super().__init__(jid, password)
        self.to, self.text = to, text
        self.register_plugin("e2e", module=slixmpp_e2e)

    def say(self) -> None:
        for number in range(MESSAGES):
            self.send_message(mto=JID(self.to), mbody=f"{self.text} {number}", mtype="chat")

    async def greet(self) -> None:
        self.send_presence()
        await self.get_roster()


Make = Callable[[], Notifier]
"""Makes the client: inside ``asyncio.run()``, if there is one, as slixmpp wants it."""


def until_disconnected(xmpp: Notifier) -> None:
    """The end of most programs."""
    xmpp.connect()
    xmpp.loop.run_until_complete(xmpp.disconnected)


# --- in the handler of session_start -----------------------------------------------------------------------------------


def disconnect_in_handler(make: Make) -> None:
    """As slixmpp's own example does."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.say()
        xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    until_disconnected(xmpp)


def disconnect_in_plain_handler(make: Make) -> None:
    """Asks for nothing first, and waits for nothing."""
    xmpp = make()

    def start(_: object) -> None:
        xmpp.send_presence()
        xmpp.say()
        xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    until_disconnected(xmpp)


def disconnect_wait_true(make: Make) -> None:
    """As slixmpp's documentation has shown for years."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.say()
        xmpp.disconnect(wait=True)

    xmpp.add_event_handler("session_start", start)
    until_disconnected(xmpp)


def await_disconnect_in_handler(make: Make) -> None:
    """Waits for the end where it is asked for."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.say()
        await xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    until_disconnected(xmpp)


def say_before_session(make: Make) -> None:
    """Speaks before it is online: slixmpp keeps that."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    xmpp.say()
    until_disconnected(xmpp)


def unavailable_first(make: Make) -> None:
    """Says that it goes, and goes."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.say()
        xmpp.send_presence(ptype="unavailable")
        xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    until_disconnected(xmpp)


# --- main() as a coroutine ---------------------------------------------------------------------------------------------


def run_await_disconnect(make: Make) -> None:
    """Ends when main() returns."""

    async def main() -> None:
        xmpp = make()
        xmpp.connect()
        await xmpp.wait_until("session_start")
        await xmpp.greet()
        xmpp.say()
        await xmpp.disconnect()

    asyncio.run(main())


def run_await_disconnected(make: Make) -> None:
    """Goes in a handler, while main() waits for the future."""

    async def main() -> None:
        xmpp = make()

        def start(_: object) -> None:
            xmpp.send_presence()
            xmpp.say()
            xmpp.disconnect()

        xmpp.add_event_handler("session_start", start)
        xmpp.connect()
        await xmpp.disconnected

    asyncio.run(main())


def run_in_time(make: Make) -> None:
    """Gives the end a limit of its own."""

    async def main() -> None:
        xmpp = make()
        xmpp.connect()
        await xmpp.wait_until("session_start")
        await xmpp.greet()
        xmpp.say()
        await asyncio.wait_for(xmpp.disconnect(), 60)

    asyncio.run(main())


def run_forever_until_stopped(make: Make) -> None:
    """Stops the loop in the handler of ``disconnected``."""
    xmpp = make()

    def start(_: object) -> None:
        xmpp.send_presence()
        xmpp.say()
        xmpp.disconnect()

    xmpp.add_event_handler("session_start", start)
    xmpp.add_event_handler("disconnected", lambda _: xmpp.loop.stop())
    xmpp.connect()
    xmpp.loop.run_forever()


# --- signals: the program says that it is ready, and somebody ends it --------------------------------------------------


def _speak_and_wait(xmpp: Notifier) -> None:
    async def start(_: object) -> None:
        await xmpp.greet()
        xmpp.say()
        print("ready", flush=True)

    xmpp.add_event_handler("session_start", start)


def interrupt_of_loop(make: Make) -> None:
    """KeyboardInterrupt out of run_until_complete(): it may come between any two lines, so this one speaks afterwards."""
    xmpp = make()

    async def start(_: object) -> None:
        await xmpp.greet()
        print("ready", flush=True)

    xmpp.add_event_handler("session_start", start)
    try:
        until_disconnected(xmpp)
    except KeyboardInterrupt:
        xmpp.say()
        xmpp.disconnect()
        xmpp.loop.run_until_complete(xmpp.disconnected)


def interrupt_of_run(make: Make) -> None:
    """asyncio.run() cancels main(), which goes in its ``finally``."""

    async def main() -> None:
        xmpp = make()
        _speak_and_wait(xmpp)
        xmpp.connect()
        try:
            await xmpp.disconnected
        finally:
            await xmpp.disconnect()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def terminate_handler(make: Make) -> None:
    """A handler of SIGTERM in the loop, which is ``disconnect`` itself."""
    xmpp = make()
    _speak_and_wait(xmpp)
    xmpp.loop.add_signal_handler(signal.SIGTERM, xmpp.disconnect)
    until_disconnected(xmpp)


def terminate_signal(make: Make) -> None:
    """A handler of SIGTERM between two lines of Python."""
    xmpp = make()
    _speak_and_wait(xmpp)
    signal.signal(signal.SIGTERM, lambda *_: xmpp.loop.call_soon_threadsafe(xmpp.disconnect))
    until_disconnected(xmpp)


# --- with the plugin's own words ---------------------------------------------------------------------------------------


def e2e_close(make: Make) -> None:
    """Closes all sessions between its last word and its end."""

    async def main() -> None:
        xmpp = make()
        xmpp.connect()
        await xmpp.wait_until("session_start")
        await xmpp.greet()
        xmpp.say()
        await slixmpp_e2e.of(xmpp).close()
        await xmpp.disconnect()

    asyncio.run(main())


def e2e_session(make: Make) -> None:
    """Opens a session and closes it itself."""

    async def main() -> None:
        xmpp = make()
        xmpp.connect()
        await xmpp.wait_until("session_start")
        await xmpp.greet()
        session = await slixmpp_e2e.of(xmpp).connect(xmpp.to)
        await session.wait_open()
        xmpp.say()
        await session.close()
        await xmpp.disconnect()

    asyncio.run(main())


def e2e_send(make: Make) -> None:
    """Knows of each message that it has arrived."""

    async def main() -> None:
        xmpp = make()
        xmpp.connect()
        await xmpp.wait_until("session_start")
        await xmpp.greet()
        for number in range(MESSAGES):
            await slixmpp_e2e.of(xmpp).send(xmpp.make_message(JID(xmpp.to), f"{xmpp.text} {number}", mtype="chat"))
        await xmpp.disconnect()

    asyncio.run(main())


WAYS: dict[str, Callable[[Make], None]] = {
    way.__name__: way
    for way in (
        disconnect_in_handler,
        disconnect_in_plain_handler,
        disconnect_wait_true,
        await_disconnect_in_handler,
        say_before_session,
        unavailable_first,
        run_await_disconnect,
        run_await_disconnected,
        run_in_time,
        run_forever_until_stopped,
        interrupt_of_loop,
        interrupt_of_run,
        terminate_handler,
        terminate_signal,
        e2e_close,
        e2e_session,
        e2e_send,
    )
}
SIGNALLED = {
    "interrupt_of_loop": signal.SIGINT,
    "interrupt_of_run": signal.SIGINT,
    "terminate_handler": signal.SIGTERM,
    "terminate_signal": signal.SIGTERM,
}
"""The ways that a signal ends, once the program has printed a line."""


if __name__ == "__main__":
    _, way, *words = sys.argv
    WAYS[way](lambda: Notifier(*words))

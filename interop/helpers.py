"""Helpers that scenes share: queues of events, an open session, shared secrets, a user who compares, an echo bot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from slixmpp import JID, Message
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e import E2E, E2ESession, SasPrompt
from slixmpp_e2e.trust.passwords import derive_srp_secret

EVENT_SECONDS = 40.0
"""Timeout of an event. It takes milliseconds, or seconds under Debian's limits."""


class EventMissing(AssertionError):
    """An expected event did not arrive."""


class Events:
    """Collects one event of a client from now on, in order."""

    def __init__(self, client: BaseXMPP, event: str) -> None:
        self._what = f"{client.requested_jid}: {event}"
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        client.add_event_handler(event, self._queue.put_nowait)

    def __len__(self) -> int:
        return self._queue.qsize()

    async def take(self, seconds: float = EVENT_SECONDS) -> Any:
        """Return the next event, past or future. Raises `EventMissing`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            raise EventMissing(f"{self._what} did not come within {seconds:.0f} s") from None

    def all(self) -> list[Any]:
        """Return all events that have arrived."""
        return [self._queue.get_nowait() for _ in range(len(self))]

    async def body(self) -> str:
        """Return the body of the next message."""
        return str((await self.take())["body"])


class Outcomes:
    """Collects what becomes of a client's messages from now on: each is delivered, or its sender is told."""

    def __init__(self, client: BaseXMPP) -> None:
        self.failed: list[str] = []
        """The bodies of those that failed."""
        self._delivered = "e2e_delivered"
        self._queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for event in (self._delivered, "e2e_send_failed"):
            client.add_event_handler(event, lambda told, event=event: self._queue.put_nowait((event, told.stanza)))

    async def delivered(self, number: int, seconds: float) -> list[str]:
        """Return the bodies of those among the next ``number`` messages that were delivered, in order.

        Raises `TimeoutError` if nothing is told for so many seconds. Iqs and directed presence are skipped.
        """
        bodies: list[str] = []
        while number:
            event, stanza = await asyncio.wait_for(self._queue.get(), seconds)
            if stanza.name == "message":
                number -= 1
                (bodies if event == self._delivered else self.failed).append(str(stanza["body"]))
        return bodies

    def __len__(self) -> int:
        return self._queue.qsize()


async def next_message(told: Events) -> str:
    """Return the body of the next message that is told as sent or delivered. Iqs and directed presence go inside, too."""
    while (stanza := (await told.take()).stanza).name != "message":
        pass
    return str(stanza["body"])


def e2e(client: BaseXMPP) -> E2E:
    """Return the client's plugin ``e2e``."""
    plugins: Any = client.plugin
    plugin: E2E = plugins["e2e"]
    return plugin


def plugin(client: BaseXMPP, name: str) -> Any:
    """Return another plugin of the client."""
    plugins: Any = client.plugin
    return plugins[name]


async def session(alice: BaseXMPP, bob: BaseXMPP) -> tuple[E2ESession, E2ESession]:
    """An open session between two clients, as each of them sees it."""
    started = Events(bob, "e2e_session_opened")
    ours = await e2e(alice).connect(bob.boundjid.full)
    await ours.wait_open()
    return ours, (await started.take()).session


def share(one: BaseXMPP, other: BaseXMPP, **secrets: bytes) -> None:
    """The user of ``one`` has set up secrets with the account of ``other``, by method, as ``xmpp-e2e psk`` and ``password`` do:
    ``psk=`` a key, ``srp=`` a derived password."""
    for method, secret in secrets.items():
        e2e(one).secrets.put(other.boundjid.bare, method, secret)


def derive_password(one: BaseXMPP, other: BaseXMPP, password: str) -> bytes:
    """What two accounts make of a password."""
    return derive_srp_secret(password, one.boundjid.bare, other.boundjid.bare)


def verified_keys(one: BaseXMPP, other: BaseXMPP) -> list[tuple[str, str]]:
    """Return the assurance and the method of each key of the account of ``other`` that ``one`` remembers."""
    return [(str(key.assurance), key.verified_by) for key in e2e(one).trust.show(other.boundjid.bare).keys]


class SasUser:
    """A user who compares short strings and answers as told."""

    def __init__(self) -> None:
        self.prompts: list[SasPrompt] = []
        self.says_match = True

    def compare(self, shown: SasPrompt) -> bool:
        """What the plugin asks."""
        self.prompts.append(shown)
        return self.says_match


def say(client: BaseXMPP, to: JID | str, body: str) -> None:
    """Send a chat message, as any program does."""
    client.send_message(mto=JID(to), mbody=body, mtype="chat")


def say_both(alice: BaseXMPP, bob: BaseXMPP, bodies: Sequence[str]) -> None:
    """Let each send all this to the other's device, in turn."""
    for body in bodies:
        say(alice, bob.boundjid, body)
        say(bob, alice.boundjid, body)


def echo(bot: BaseXMPP) -> None:
    """Answer every message, as a bot without encryption does."""

    def answer(message: Message) -> None:
        if message["type"] in ("chat", "normal"):
            message.reply(f"You said: {message['body']}").send()

    bot.add_event_handler("message", answer)

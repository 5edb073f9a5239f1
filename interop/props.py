"""What scenes share: an ear for events, a session to begin with, what two know, a person who looks, a bot."""

from __future__ import annotations

import asyncio
from typing import Any

from slixmpp import JID, Message
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e import E2E, Compare, Link
from slixmpp_e2e.trust.passwords import stretched

HEARD_SECONDS = 40.0
"""What is due comes within milliseconds, and within seconds under Debian's limits; later it does not come."""


class NotHeard(AssertionError):
    """Something that was due did not come."""


class Heard:
    """What a client gets of one event from now on, in order."""

    def __init__(self, client: BaseXMPP, event: str) -> None:
        self._what = f"{client.requested_jid}: {event}"
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        client.add_event_handler(event, self._queue.put_nowait)

    def __len__(self) -> int:
        return self._queue.qsize()

    async def take(self) -> Any:
        """The next one, come or to come. Raises `NotHeard`."""
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                return await self._queue.get()
        except TimeoutError:
            raise NotHeard(f"{self._what} did not come within {HEARD_SECONDS:.0f} s") from None

    def all(self) -> list[Any]:
        """Those that have come."""
        return [self._queue.get_nowait() for _ in range(len(self))]

    async def body(self) -> str:
        """The body of the next message."""
        return str((await self.take())["body"])


def e2e(client: BaseXMPP) -> E2E:
    """Our plugin."""
    plugins: Any = client.plugin
    plugin: E2E = plugins["e2e"]
    return plugin


def plugin(client: BaseXMPP, name: str) -> Any:
    """Any other."""
    plugins: Any = client.plugin
    return plugins[name]


async def session(alice: BaseXMPP, bob: BaseXMPP) -> tuple[Link, Link]:
    """An open session between two clients, as each of them sees it."""
    started = Heard(bob, "e2e_session_start")
    ours = await e2e(alice).connect(bob.boundjid.full)
    await ours.opened()
    return ours, (await started.take()).session


def share(one: BaseXMPP, other: BaseXMPP, **secrets: bytes) -> None:
    """The user of ``one`` has set up secrets with the account of ``other``, by method, as ``xmpp-e2e psk`` and ``password`` do:
    ``psk=`` a key, ``srp=`` a stretched password."""
    for method, secret in secrets.items():
        e2e(one).shared.put(other.boundjid.bare, method, secret)


def agreed(one: BaseXMPP, other: BaseXMPP, password: str) -> bytes:
    """What two accounts make of a password."""
    return stretched(password, one.boundjid.bare, other.boundjid.bare)


def proved(one: BaseXMPP, other: BaseXMPP) -> list[tuple[str, str]]:
    """What ``one`` remembers of each key of the account of ``other``: its level, and how that was found out."""
    return [(str(key.assurance), key.method) for key in e2e(one).trust.show(other.boundjid.bare).keys]


class Person:
    """Somebody who is shown what to compare, and says whether it is the same."""

    def __init__(self) -> None:
        self.saw: list[Compare] = []
        self.finds_it_the_same = True

    def looks(self, shown: Compare) -> bool:
        """What the plugin asks."""
        self.saw.append(shown)
        return self.finds_it_the_same


def say(client: BaseXMPP, to: JID | str, body: str) -> None:
    """Send a chat message, as any program does."""
    client.send_message(mto=JID(to), mbody=body, mtype="chat")


def echo(bot: BaseXMPP) -> None:
    """Answer every message, as a bot does that has never heard of encryption."""

    def answer(message: Message) -> None:
        if message["type"] in ("chat", "normal"):
            message.reply(f"You said: {message['body']}").send()

    bot.add_event_handler("message", answer)

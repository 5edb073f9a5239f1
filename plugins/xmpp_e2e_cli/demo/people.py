"""Alice and Bob, what comes to them, and what scenes do with the two."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from slixmpp import JID, Message

from slixmpp_e2e import E2E, Compare, Happened, Link, SendFailed
from slixmpp_e2e.xmpp.marker import Mark
from xmpp_e2e.errors import AuthenticationFailed, E2EError
from xmpp_e2e.events import KeyChanged, SessionFailed
from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.demo.story import Story
from xmpp_e2e_cli.demo.theatre import PASSWORDS, Theatre
from xmpp_loopback import to_text


@dataclass(frozen=True)
class Received:
    """A message as a handler got it, looked at on the spot."""

    body: str
    assurance: Assurance
    session: object
    """The Link that it came through; None if it came in clear."""
    xml: str


class Actor:
    """Alice or Bob: an ordinary client of an ordinary account, and what came to it."""

    def __init__(self, name: str, theatre: Theatre, folder: Path) -> None:
        self.name = name.capitalize()
        settings = {"store": str(folder / f"{name}.db"), "sas": self.compares}
        self.client = connection.make_client(
            JID(f"{name}@{theatre.domain}/{name}"), PASSWORDS[name], theatre.server, settings
        )
        self.e2e: E2E = connection.plugin_of(self.client)
        self.inbox: asyncio.Queue[Received | E2EError] = asyncio.Queue()
        self.refused: asyncio.Queue[E2EError] = asyncio.Queue()
        """Why sessions failed, here."""
        self.warned: asyncio.Queue[KeyChanged] = asyncio.Queue()
        """Of keys that are not those of before."""
        self.screen: asyncio.Queue[Compare] = asyncio.Queue()
        self.says: asyncio.Queue[bool] = asyncio.Queue()
        """Whether it is the same on the other's screen."""
        handlers: dict[str, Callable[[Any], None]] = {
            "message": self._got,
            "e2e_send_failed": self._failed,
            "e2e_session_failed": self._no_session,
            "e2e_key_changed": self._other_key,
        }
        for event, handler in handlers.items():
            self.client.add_event_handler(event, handler)

    @property
    def jid(self) -> str:
        """The full JID."""
        return str(self.client.boundjid.full)

    @property
    def account(self) -> str:
        """The bare JID."""
        return str(self.client.boundjid.bare)

    @property
    def session(self) -> Link:
        """The one that is open. Untold if it is not exactly one."""
        links = self.e2e.sessions()
        if len(links) != 1:
            raise Untold(f"{self.name} should have one open session, and has {len(links)}")
        return links[0]

    def write(self, to: Actor, body: str) -> None:
        """As any program would."""
        self.client.send_message(mto=JID(to.jid), mbody=body, mtype="chat")

    async def receives(self) -> Received:
        """The next message; raises the error if one of our own could not be sent."""
        got = await self.inbox.get()
        if isinstance(got, E2EError):
            raise got
        return got

    async def fails(self) -> E2EError:
        """Why our own message was not sent. Untold if one came instead."""
        got = await self.inbox.get()
        if isinstance(got, E2EError):
            return got
        raise Untold(f"{self.name} got a message where an error was due: {got.body}")

    async def compares(self, compare: Compare) -> bool:
        """Look at the screen, ask the other, say whether it is the same."""
        self.screen.put_nowait(compare)
        return await self.says.get()

    def shares(self, other: Actor, method: str, secret: bytes) -> None:
        """What ``xmpp-e2e psk`` and ``xmpp-e2e password`` do."""
        self.e2e.shared.put(other.account, method, secret)

    def proof(self, other: Actor) -> str:
        """By what the other's key was verified."""
        keys = self.e2e.trust.show(other.account).keys
        return ", ".join(key.method for key in keys if key.assurance is Assurance.VERIFIED)

    async def forget(self, other: Actor) -> None:
        """Everything about the other: they meet for the first time."""
        await self.e2e.trust.forget(other.account)
        for method in ("psk", "srp"):
            self.e2e.shared.forget(other.account, method)
        self.e2e.shared.unlock(other.account)
        for queue in (self.inbox, self.refused, self.warned):
            while not queue.empty():
                queue.get_nowait()

    def _got(self, message: Message) -> None:
        shown = copy.deepcopy(message.xml)
        for mark in shown.findall(Mark.tag_name()):  # how the plugin tells handlers; it was never on a wire
            shown.remove(mark)
        protection = message["e2e"]
        self.inbox.put_nowait(
            Received(message["body"], protection["assurance"], protection["session"], to_text(shown))
        )

    def _failed(self, report: SendFailed) -> None:
        self.inbox.put_nowait(report.error)

    def _no_session(self, happened: Happened) -> None:
        assert isinstance(happened.detail, SessionFailed)
        self.refused.put_nowait(happened.detail.error)

    def _other_key(self, happened: Happened) -> None:
        assert isinstance(happened.detail, KeyChanged)
        self.warned.put_nowait(happened.detail)


@dataclass
class Play:
    """Everything that a scene needs."""

    story: Story
    theatre: Theatre
    alice: Actor
    bob: Actor

    async def round_trip(self, body: str) -> tuple[Received, Received]:
        """Alice writes, Bob's handler echoes: what Bob got, and what came back."""
        self.alice.write(self.bob, body)
        there = await self.story.until("Alice's message reaches Bob", self.bob.receives())
        back = await self.story.until("Bob's answer reaches Alice", self.alice.receives())
        return there, back

    async def part(self) -> None:
        """End whatever is between them."""
        for actor in (self.alice, self.bob):
            await self.story.until("the session ends", actor.e2e.close())

    async def strangers(self) -> None:
        """Let them part, and forget each other and what they share."""
        await self.part()
        await self.alice.forget(self.bob)
        await self.bob.forget(self.alice)

    async def compare(self, same: bool) -> E2EError | None:
        """Alice asks for a short string: both screens are shown, and both people say what everybody sees. What comes of it
        at Alice's."""
        alice, bob, story = self.alice, self.bob, self.story
        asked = asyncio.ensure_future(alice.session.verify_sas(alice.compares))
        hers = await story.until("Alice is shown a string", alice.screen.get())
        his = await story.until("Bob is shown a string", bob.screen.get())
        story.screens([(f"{actor.name}'s screen", _screen(seen)) for actor, seen in ((alice, hers), (bob, his))])
        claim = "It is the same, and both say so." if same else "It is not the same, and both say so."
        story.fact(f"They read it out to each other. {claim}", (hers.text == his.text) is same)
        for actor in (alice, bob):
            actor.says.put_nowait(same)
        try:
            await story.until("the comparison ends", asked)
        except AuthenticationFailed as error:
            return error
        return None


def _screen(compare: Compare) -> str:
    return f"Compare with {JID(compare.peer).bare}:\n\n  {compare.text}"


Scene: TypeAlias = Callable[[Play], Awaitable[None]]

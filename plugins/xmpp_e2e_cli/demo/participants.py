"""Alice and Bob: their clients, what they receive, and the steps that scenes have in common."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from slixmpp import JID, Message

import slixmpp_e2e
from slixmpp_e2e import E2E, E2ESession, KeyChanged, SasPrompt, SendFailed, SessionFailed
from slixmpp_e2e.xmpp.marker import E2EMarker
from xmpp_e2e.errors import AuthenticationFailed, E2EError
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.demo.narrator import Narrator
from xmpp_e2e_cli.demo.servers import PASSWORDS, DemoServer
from xmpp_e2e_cli.errors import DemoFailed
from xmpp_loopback import to_text


@dataclass(frozen=True)
class ReceivedMessage:
    """A message as a handler got it."""

    body: str
    assurance: Assurance
    session: object
    """The session that it came through; None for plaintext."""
    xml: str


class Participant:
    """Alice or Bob: an ordinary client, and queues of what it received."""

    def __init__(self, name: str, server: DemoServer, folder: Path) -> None:
        self.name = name.capitalize()
        settings = {"store_path": str(folder / f"{name}.db"), "ask_sas": self.compare_sas}
        self.client = connection.make_client(JID(f"{name}@{server.domain}/{name}"), PASSWORDS[name], server.address, settings)
        self.e2e: E2E = slixmpp_e2e.of(self.client)
        self.inbox: asyncio.Queue[ReceivedMessage | E2EError] = asyncio.Queue()
        self.failed_sessions: asyncio.Queue[E2EError] = asyncio.Queue()
        """The errors of sessions that failed on this side."""
        self.key_changes: asyncio.Queue[KeyChanged] = asyncio.Queue()
        """Warnings of changed keys."""
        self.sas_prompts: asyncio.Queue[SasPrompt] = asyncio.Queue()
        self.answers: asyncio.Queue[bool] = asyncio.Queue()
        """The answers to give to the next comparisons."""
        handlers: dict[str, Callable[[Any], None]] = {
            "message": self._on_message,
            "e2e_send_failed": self._on_send_failed,
            "e2e_session_failed": self._on_session_failed,
            "e2e_key_changed": self.key_changes.put_nowait,
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
    def session(self) -> E2ESession:
        """The only open session. Raises DemoFailed if there is not exactly one."""
        links = self.e2e.sessions()
        if len(links) != 1:
            raise DemoFailed(f"{self.name} should have one open session, and has {len(links)}")
        return links[0]

    def send(self, to: Participant, body: str) -> None:
        """Send a message, as any program does."""
        self.client.send_message(mto=JID(to.jid), mbody=body, mtype="chat")

    async def next_message(self) -> ReceivedMessage:
        """Return the next message. Raises the error if our own message could not be sent."""
        got = await self.inbox.get()
        if isinstance(got, E2EError):
            raise got
        return got

    async def send_error(self) -> E2EError:
        """Return why our own message was not sent. Raises DemoFailed if a message arrives instead."""
        got = await self.inbox.get()
        if isinstance(got, E2EError):
            return got
        raise DemoFailed(f"{self.name} got a message where an error was expected: {got.body}")

    async def compare_sas(self, compare: SasPrompt) -> bool:
        """Show the short string, and return the answer that the scene provides."""
        self.sas_prompts.put_nowait(compare)
        return await self.answers.get()

    def store_secret(self, other: Participant, method: str, secret: bytes) -> None:
        """Store a shared secret, as ``xmpp-e2e psk`` and ``xmpp-e2e password`` do."""
        self.e2e.secrets.put(other.account, method, secret)

    def verified_by(self, other: Participant) -> str:
        """Return the method that verified the other's key."""
        keys = self.e2e.trust.show(other.account).keys
        return ", ".join(key.verified_by for key in keys if key.assurance is Assurance.VERIFIED)

    async def forget(self, other: Participant) -> None:
        """Forget everything about the other, as if they had never met."""
        await self.e2e.trust.forget(other.account)
        for method in ("psk", "srp"):
            self.e2e.secrets.forget(other.account, method)
        self.e2e.secrets.unlock_password(other.account)
        for queue in (self.inbox, self.failed_sessions, self.key_changes):
            while not queue.empty():
                queue.get_nowait()

    def _on_message(self, message: Message) -> None:
        shown = copy.deepcopy(message.xml)
        for mark in shown.findall(E2EMarker.tag_name()):  # the plugin adds it for handlers; it was never on the wire
            shown.remove(mark)
        protection = message["e2e"]
        self.inbox.put_nowait(ReceivedMessage(message["body"], protection["assurance"], protection["session"], to_text(shown)))

    def _on_send_failed(self, report: SendFailed) -> None:
        self.inbox.put_nowait(report.error)

    def _on_session_failed(self, event: SessionFailed) -> None:
        self.failed_sessions.put_nowait(event.error)


@dataclass
class Demo:
    """The participants, the server and the narrator of all scenes."""

    narrator: Narrator
    server: DemoServer
    alice: Participant
    bob: Participant

    async def round_trip(self, body: str) -> tuple[ReceivedMessage, ReceivedMessage]:
        """Let Alice write and Bob's program answer; return both messages as they arrived."""
        self.alice.send(self.bob, body)
        there = await self.narrator.wait_for("Alice's message reaches Bob", self.bob.next_message())
        back = await self.narrator.wait_for("Bob's answer reaches Alice", self.alice.next_message())
        return there, back

    async def close_sessions(self) -> None:
        """Close all sessions between the two."""
        for participant in (self.alice, self.bob):
            await self.narrator.wait_for("the session ends", participant.e2e.close())

    async def start_over(self) -> None:
        """Close all sessions, and let both forget each other and their shared secrets."""
        await self.close_sessions()
        await self.alice.forget(self.bob)
        await self.bob.forget(self.alice)

    async def compare_sas(self, same: bool) -> E2EError | None:
        """Let Alice ask for a short string, show both screens, and answer truthfully for both.

        Return the error that Alice gets, if any.
        """
        alice, bob, narrator = self.alice, self.bob, self.narrator
        asked = asyncio.ensure_future(alice.session.verify_sas(alice.compare_sas))
        alices = await narrator.wait_for("Alice is shown a string", alice.sas_prompts.get())
        bobs = await narrator.wait_for("Bob is shown a string", bob.sas_prompts.get())
        screens = (("Alice's screen", alices), ("Bob's screen", bobs))
        narrator.screens([(title, _screen(shown)) for title, shown in screens])
        claim = "It is the same, and both say so." if same else "It is not the same, and both say so."
        narrator.claim(f"They read it out to each other. {claim}", (alices.text == bobs.text) is same)
        for participant in (alice, bob):
            participant.answers.put_nowait(same)
        try:
            await narrator.wait_for("the comparison ends", asked)
        except AuthenticationFailed as error:
            return error
        return None


def _screen(compare: SasPrompt) -> str:
    return f"Compare with {JID(compare.peer).bare}:\n\n  {compare.text}"


Scene: TypeAlias = Callable[[Demo], Awaitable[None]]

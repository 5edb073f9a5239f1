"""What happens in the demonstration, scene by scene; what is claimed is looked up in the clients and in the server's record."""

from __future__ import annotations

import asyncio
import base64
import copy
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from slixmpp import JID, ClientXMPP, Message

from slixmpp_e2e import E2E, Happened, Link, SendFailed
from slixmpp_e2e.loopback import to_text
from slixmpp_e2e.mark import Mark
from xmpp_e2e.errors import E2EError, FingerprintMismatch
from xmpp_e2e.events import SessionFailed
from xmpp_e2e.identity import Assurance
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.story import Story
from xmpp_e2e_cli.theatre import Handled, Theatre

OPENING = "Shall we meet beneath the windmill?"
SECOND = "Bring the lantern and the silver compass."
AGAIN = "Tomorrow, same place, another secret."
NEVER = "This sentence must never arrive anywhere."
WORD = 7
"""Letters of the words that are searched for: one of five is found by chance in the base64 of one run among thirty."""
SHOWN = 130
"""Characters of a block that are shown."""


def echo(message: Message) -> None:
    if message["type"] in ("chat", "normal"):
        message.reply(f"You said: {message['body']}").send()


@dataclass(frozen=True)
class Received:
    """A message as a handler got it, looked at on the spot."""

    body: str
    assurance: Assurance
    session: object
    """The Link that it came through; None if it came in clear."""
    xml: str


class Actor:
    """Alice or Bob: a client, and what came to it."""

    def __init__(self, name: str, client: ClientXMPP, e2e: E2E) -> None:
        self.name, self.client, self.e2e = name, client, e2e
        self.inbox: asyncio.Queue[Received | E2EError] = asyncio.Queue()
        self.refused: asyncio.Queue[E2EError] = asyncio.Queue()
        """Why sessions failed, here."""
        client.add_event_handler("message", self._got)
        client.add_event_handler("e2e_send_failed", self._failed)
        client.add_event_handler("e2e_session_failed", self._no_session)

    @property
    def jid(self) -> str:
        """The full JID."""
        return str(self.client.boundjid.full)

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

    async def part(self) -> tuple[Link, Link]:
        """End the session by farewells; both sides of it."""
        hers, his = self.alice.session, self.bob.session
        await self.story.until("the session ends", self.alice.e2e.close())
        ends = [await self.story.until("the session ends on both sides", link.ended()) for link in (hers, his)]
        self.story.fact("Farewells on both sides: nothing was lost at the end.", ends == [None, None])
        return hers, his


Scene: TypeAlias = Callable[[Play], Awaitable[None]]


# --- what a server can read ------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"<data\b[^>]*>([^<]*)</data>")


def blocks(handled: Handled) -> bytes:
    """The in-band bytes in a stanza (XEP-0047), decoded."""
    return b"".join(base64.b64decode(found) for found in _BLOCK.findall(handled.text))


def readable(word: str, record: list[Handled]) -> list[Handled]:
    """The stanzas in which ``word`` can be read, as text or in a decoded block; across blocks it counts for the last."""
    found = [handled for handled in record if word.lower() in handled.text.lower()]
    streams: dict[tuple[bool, str], bytes] = {}
    for handled in record:
        if data := blocks(handled):
            key = (handled.came, handled.client)
            tail = streams.get(key, b"")[-len(word.encode()) :]
            streams[key] = streams.get(key, b"") + data
            if word.lower().encode() in (tail + data).lower():
                found.append(handled)
    return found


def words(*bodies: str) -> list[str]:
    """The words that are long enough to be told from chance."""
    return sorted({word for body in bodies for word in re.findall(r"\w+", body) if len(word) >= WORD})


def nothing_readable(play: Play, *bodies: str) -> None:
    """Search all that the server has handled."""
    record, wanted = play.theatre.handled(), words(*bodies)
    leaked = [word for word in wanted if readable(word, record)]
    listed = ", ".join(wanted)
    play.story.fact(
        f"In all {len(record)} stanzas that the server has handled, as text and decoded, it never saw: {listed}.",
        bool(wanted) and not leaked,
    )


# --- the scenes ------------------------------------------------------------------------------------------------------


async def stage(play: Play) -> None:
    """Who is there."""
    story, theatre, alice, bob = play.story, play.theatre, play.alice, play.bob
    story.say(
        "Two people chat through an XMPP server that they have to trust with every word. "
        "Now their clients negotiate TLS with each other, through that server: it goes on carrying "
        "what they write, and cannot read it. Then it tries to get in between. "
        "All of this happens now, on this machine; it takes a few seconds."
    )
    story.gap()
    story.fact(f"The server: {theatre.title}.", bool(theatre.handled()))
    online = [actor.client.is_connected() and connection.plugin_of(actor.client) is actor.e2e for actor in (alice, bob)]
    story.fact(f"Two slixmpp clients are online: {alice.jid}, {bob.jid}.", online == [True, True])
    loading = [line.strip() for line in inspect.getsource(connection.make_client).splitlines() if "e2e" in line]
    story.fact("One line in the program of each loads the encryption:", len(loading) == 1)
    story.quote(loading[0])
    source = inspect.getsource(echo)
    story.fact("Bob's program answers every message. It knows nothing of encryption:", "e2e" not in source)
    story.quote(source.rstrip())


async def first_contact(play: Play) -> None:
    """A first message, and the session that it opened."""
    story, alice, bob = play.story, play.alice, play.bob
    there, back = await play.round_trip(OPENING)
    hers, his = alice.session, bob.session
    story.fact(f"Alice wrote to Bob for the first time: “{OPENING}”", there.body == OPENING)
    story.fact("Her message waited until a session was open. Both clients agree on it:", hers.sid == his.sid != "")
    story.row("protocol", hers.protocol, hers.protocol == his.protocol == "TLSv1.3")
    story.row("cipher", hers.cipher, hers.cipher == his.cipher != "")
    quantum = " (safe against quantum computers too)" if "MLKEM" in hers.group else ""
    story.row("key exchange", hers.group + quantum, hers.group == his.group != "")
    story.row("Alice's key", f"{alice.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    story.row("  Bob sees", f"{his.fingerprint}", his.fingerprint == alice.e2e.fingerprint)
    story.row("Bob's key", f"{bob.e2e.fingerprint}", alice.e2e.fingerprint != bob.e2e.fingerprint)
    story.row("  Alice sees", f"{hers.fingerprint}", hers.fingerprint == bob.e2e.fingerprint)
    levels = {hers.assurance, his.assurance, there.assurance, back.assurance}
    story.row("assurance", f"{hers.assurance}, for both", levels == {Assurance.VOUCHED})
    story.say(
        "`vouched` is worth as much as the server's word: it passed the fingerprints on, and "
        "at this first contact a server in the middle could have put in its own. To be sure, "
        "compare the two fingerprints by another way and pin them: xmpp-e2e trust pin."
    )


async def what_the_server_saw(play: Play) -> None:
    """One stanza, from both sides."""
    story, alice, bob = play.story, play.alice, play.bob
    before = len(play.theatre.handled())
    there, _ = await play.round_trip(SECOND)
    record = play.theatre.handled()
    sent = [seen for seen in record[before:] if seen.came and seen.client == alice.jid and blocks(seen)]
    story.fact("Alice writes again. This is what the server got from her (shortened):", bool(sent))
    block = sent[0]
    data = "".join(_BLOCK.findall(block.text))
    story.quote(block.text.replace(data, story.shortened(data, SHOWN)), "yellow")
    application_data = blocks(block)[:3] == b"\x17\x03\x03"
    story.fact(f"Decoded: {len(blocks(block))} bytes, a TLS record of encrypted data.", application_data)
    story.fact("This is the same stanza, as Bob's program got it:", there.body == SECOND and there.session is bob.session)
    story.quote(there.xml)
    story.gap()
    nothing_readable(play, OPENING, SECOND)
    between = [seen for seen in record if seen.text.startswith("<message")]
    story.fact("Not one of those stanzas is a <message/>: they travel inside.", not between)
    known = readable(bob.jid, record)
    story.fact(
        f"The same search finds `{bob.jid}` in {len(known)} of them: "
        "who talks to whom, when and how much, a server still sees.",
        bool(known),
    )


async def the_echo(play: Play) -> None:
    """The handler's own answer came through the session, too."""
    story, alice = play.story, play.alice
    _, back = await play.round_trip("And who are you?")
    story.fact(f"Bob's handler answered: “{back.body}”", back.body == "You said: And who are you?")
    story.fact("The answer came back inside the same session, though the handler knows of none.", back.session is alice.session)


async def the_second_time(play: Play) -> None:
    """Another session finds the same keys."""
    story, alice, bob = play.story, play.alice, play.bob
    old, _ = await play.part()
    there, back = await play.round_trip(AGAIN)
    new = alice.session
    story.fact("Alice wrote once more, and a new session was opened for it.", new.sid != old.sid and there.body == AGAIN)
    same = new.fingerprint == old.fingerprint == bob.e2e.fingerprint
    story.fact("Each has shown the same key as before.", same and bob.session.fingerprint == alice.e2e.fingerprint)
    levels = {new.assurance, bob.session.assurance, there.assurance, back.assurance}
    story.row("assurance", f"{new.assurance}, for both", levels == {Assurance.KNOWN})
    story.say(
        "`known` means: whoever is in the middle now has been there since the first contact. "
        "A new key would be told, and one that contradicts a pinned key is never accepted."
    )


async def the_attack(play: Play) -> None:
    """The server puts a fingerprint of its own in the place of Bob's."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.part()
    forged = ":".join(f"{byte:02X}" for byte in Identity.create(datetime.now(UTC)).certificate_digest)
    before = len(play.theatre.handled())
    play.theatre.swap(forged)
    alice.write(bob, NEVER)
    error = await story.until("Alice is told that her message was not sent", _failure(alice))
    await story.until("Bob's side of the attempt ends", bob.refused.get())
    record = play.theatre.handled()[before:]
    swapped = [seen.client for seen in record if forged in seen.text]
    story.fact("Alice wrote again. The server has changed the fingerprint that announces Bob's key:", swapped == [alice.jid])
    story.quote(f"{forged[:47]}…", "yellow")
    refused = isinstance(error, FingerprintMismatch)
    story.fact("Alice's client saw another key than the one announced, and refused. She reads:", refused)
    story.quote(error.explain(), "red")
    story.gap()
    story.fact("No session is open on either side.", not alice.e2e.sessions() and not bob.e2e.sessions())
    story.fact(f"“{NEVER}” Bob got nothing.", bob.inbox.empty())
    nothing_readable(play, OPENING, SECOND, AGAIN, NEVER)


async def _failure(actor: Actor) -> E2EError:
    got = await actor.inbox.get()
    if isinstance(got, E2EError):
        return got
    raise Untold(f"{actor.name} got a message where an error was due: {got.body}")


SCENES: tuple[tuple[str, Scene], ...] = (
    ("The stage", stage),
    ("A first message", first_contact),
    ("What the server saw", what_the_server_saw),
    ("The answer", the_echo),
    ("The second time", the_second_time),
    ("The attack", the_attack),
)
"""In order."""

"""``xmpp-e2e demo``: Alice and Bob on a server that reads along and then attacks.

It runs in temporary folders and leaves nothing behind. ``servers`` starts the server, ``participants`` are Alice and Bob;
``meeting``, ``verification`` and ``attacks`` are the scenes, in this order. ``server_view`` searches what the server can read,
and ``narrator`` checks every statement before it prints it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from xmpp_e2e.errors import E2EError
from xmpp_e2e_cli import connection
from xmpp_e2e_cli.demo import attacks, meeting, verification
from xmpp_e2e_cli.demo.narrator import Narrator
from xmpp_e2e_cli.demo.participants import Demo, Participant, Scene
from xmpp_e2e_cli.demo.servers import PASSWORDS, SERVERS, DemoServer, ServerKind
from xmpp_e2e_cli.errors import DemoFailed

__all__ = ["ServerKind", "run"]

PARTS: tuple[tuple[str, tuple[tuple[str, Scene], ...]], ...] = (
    (
        "",
        (
            ("The setting", meeting.setting),
            ("A first message", meeting.first_message),
            ("What the server saw", meeting.what_the_server_saw),
            ("The second time", meeting.the_second_time),
        ),
    ),
    (
        "Is it really Bob? Four ways to verify. Before each, the two forget each other.",
        (
            ("A fingerprint", verification.fingerprint),
            ("A short string", verification.short_string),
            ("A password", verification.password),
            ("A key", verification.key),
        ),
    ),
    (
        "Now the server attacks.",
        (
            ("It swaps a fingerprint", attacks.swapped_fingerprint),
            ("It gets in between two who have never met", attacks.first_contact),
            ("In between two who compare a short string", attacks.compared_strings),
            ("In between two who share a key, or a password", attacks.shared_secret),
            ("In between two who have met before", attacks.known_key),
            ("In between two who have verified a key", attacks.verified_key),
        ),
    ),
)
"""Headings, and the scenes below each in order."""


async def run(kind: ServerKind) -> None:
    """Run the whole demo. Raises DemoFailed if anything goes differently, ConnectionFailed without a server."""
    narrator = Narrator(sys.stdout)
    narrator.title("xmpp-e2e demo: Alice, Bob, and the server between them")
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-demo-") as name:
        folder = Path(name)
        async with SERVERS[kind]() as server, contextlib.AsyncExitStack() as stack:
            alice, bob = [await stack.enter_async_context(_participant(server, folder, who)) for who in PASSWORDS]
            bob.client.add_event_handler("message", meeting.echo)
            demo, number = Demo(narrator, server, alice, bob), itertools.count(1)
            for heading, scenes in PARTS:
                narrator.section(heading)
                for title, scene in scenes:
                    narrator.scene(next(number), title)
                    await _run_scene(demo, title, scene)
    narrator.gap()
    narrator.claim("Both have logged out. The server is gone, and so is everything that was written.", _gone(name))
    narrator.explain(
        f"Every statement with a mark was checked before it was printed: {narrator.checked} statements.\n"
        "Your turn: xmpp-e2e init you@your.server"
    )


def _gone(path: str) -> bool:
    return not os.path.lexists(path)


async def _run_scene(demo: Demo, title: str, scene: Scene) -> None:
    try:
        await scene(demo)
    except DemoFailed:
        raise
    except E2EError as error:
        raise DemoFailed(f"the scene `{title}` ended with {type(error).__name__}: {error}") from error


@contextlib.asynccontextmanager
async def _participant(server: DemoServer, folder: Path, name: str) -> AsyncIterator[Participant]:
    """Alice or Bob, online."""
    participant = Participant(name, server, folder)
    async with connection.online(participant.client, server.address):
        await participant.client.get_roster()
        participant.client.send_presence()
        yield participant

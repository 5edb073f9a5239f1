"""``xmpp-e2e demo``: sets the stage in temporary folders, plays the scenes, and clears everything away.

``theatre`` has the servers, ``people`` Alice and Bob; ``meeting``, ``proving`` and ``attacks`` are the scenes, in this order;
``record`` is what a server can read, and ``story`` the narrator, who checks what he says.
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
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.demo import attacks, meeting, proving
from xmpp_e2e_cli.demo.people import Actor, Play, Scene
from xmpp_e2e_cli.demo.story import Story
from xmpp_e2e_cli.demo.theatre import PASSWORDS, THEATRES, Kind, Theatre

__all__ = ["Kind", "tell"]

PARTS: tuple[tuple[str, tuple[tuple[str, Scene], ...]], ...] = (
    (
        "",
        (
            ("The stage", meeting.stage),
            ("A first message", meeting.first_message),
            ("What the server saw", meeting.what_the_server_saw),
            ("The second time", meeting.the_second_time),
        ),
    ),
    (
        "Is it really Bob? Four ways to be sure; before each the two forget each other.",
        (
            ("A fingerprint", proving.a_fingerprint),
            ("A short string", proving.a_short_string),
            ("A password", proving.a_password),
            ("A key", proving.a_key),
        ),
    ),
    (
        "Now the server attacks.",
        (
            ("It swaps a fingerprint", attacks.a_swap),
            ("It gets in between two who have never met", attacks.at_first_contact),
            ("In between two who compare a short string", attacks.when_strings_are_compared),
            ("In between two who share a key, or a password", attacks.when_a_secret_is_shared),
            ("In between two who have met before", attacks.when_they_know_each_other),
            ("In between two who have verified a key", attacks.when_a_key_is_verified),
        ),
    ),
)
"""The scenes in order, with what the narrator says before some of them."""


async def tell(kind: Kind) -> None:
    """Tell the whole story; Untold if any of it did not happen, ServerUnreachable if there is no server to tell it on."""
    story = Story(sys.stdout)
    story.title("xmpp-e2e demo: Alice, Bob, and the server between them")
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-demo-") as name:
        folder = Path(name)
        async with THEATRES[kind]() as theatre, contextlib.AsyncExitStack() as stack:
            alice, bob = [await stack.enter_async_context(_actor(theatre, folder, who)) for who in PASSWORDS]
            bob.client.add_event_handler("message", meeting.echo)
            play, number = Play(story, theatre, alice, bob), itertools.count(1)
            for said, scenes in PARTS:
                story.part(said)
                for title, scene in scenes:
                    story.scene(next(number), title)
                    await _perform(play, title, scene)
    story.gap()
    story.fact("Both have logged out, the server is gone, and so is everything that was written.", _gone(name))
    story.say(
        f"Every statement with a mark was checked before it was printed, {story.checked} of them.\n"
        "Your turn: xmpp-e2e init you@your.server"
    )


def _gone(path: str) -> bool:
    return not os.path.lexists(path)


async def _perform(play: Play, title: str, scene: Scene) -> None:
    try:
        await scene(play)
    except Untold:
        raise
    except E2EError as error:
        raise Untold(f"the scene `{title}` ended with {type(error).__name__}: {error}") from error


@contextlib.asynccontextmanager
async def _actor(theatre: Theatre, folder: Path, name: str) -> AsyncIterator[Actor]:
    """Alice or Bob, online."""
    actor = Actor(name, theatre, folder)
    async with connection.online(actor.client, theatre.server):
        await actor.client.get_roster()
        actor.client.send_presence()
        yield actor

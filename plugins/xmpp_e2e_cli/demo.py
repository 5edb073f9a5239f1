"""``xmpp-e2e demo``: sets the stage in temporary folders, plays the scenes, and clears everything away."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from slixmpp import JID

from xmpp_e2e.errors import E2EError
from xmpp_e2e_cli import connection, scenes
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.scenes import Actor, Play
from xmpp_e2e_cli.story import Story
from xmpp_e2e_cli.theatre import PASSWORDS, THEATRES, Kind, Theatre


async def tell(kind: Kind) -> None:
    """Tell the whole story; Untold if any of it did not happen, ServerUnreachable if there is no server to tell it on."""
    story = Story(sys.stdout)
    story.title("xmpp-e2e demo: Alice, Bob, and the server between them")
    with tempfile.TemporaryDirectory(prefix="xmpp-e2e-demo-") as name:
        folder = Path(name)
        async with THEATRES[kind]() as theatre, contextlib.AsyncExitStack() as stack:
            alice, bob = [await stack.enter_async_context(_actor(theatre, folder, who)) for who in PASSWORDS]
            bob.client.add_event_handler("message", scenes.echo)
            play = Play(story, theatre, alice, bob)
            for number, (title, scene) in enumerate(scenes.SCENES, 1):
                story.scene(number, title)
                await _perform(play, title, scene)
    story.gap()
    story.fact("Both have logged out, the server is gone, and so is everything that was written.", _gone(name))
    story.say(
        f"Every statement with a mark was checked before it was printed, {story.checked} of them.\n"
        "Your turn: xmpp-e2e init you@your.server"
    )


def _gone(path: str) -> bool:
    return not os.path.lexists(path)


async def _perform(play: Play, title: str, scene: scenes.Scene) -> None:
    try:
        await scene(play)
    except Untold:
        raise
    except E2EError as error:
        raise Untold(f"the scene `{title}` ended with {type(error).__name__}: {error}") from error


@contextlib.asynccontextmanager
async def _actor(theatre: Theatre, folder: Path, name: str) -> AsyncIterator[Actor]:
    """Alice or Bob, online: an ordinary client of an ordinary account."""
    client = connection.make_client(
        JID(f"{name}@{theatre.domain}/{name}"), PASSWORDS[name], theatre.server, {"store": str(folder / f"{name}.db")}
    )
    async with connection.online(client, theatre.server) as e2e:
        actor = Actor(name.capitalize(), client, e2e)
        await client.get_roster()
        client.send_presence()
        yield actor

"""A closed session ends cleanly on both sides. Nothing follows it, and the next message opens another."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, session
from xmpp_e2e.errors import LocalError

DATA, TERMINATE = "<data ", "session-terminate"


def carried(harness: Harness) -> list[str]:
    """Return the session's bytes and its end in the signalling, as the server carried them, in order."""
    return [word for handled in harness.server.handled() for word in (DATA, TERMINATE) if word in handled.text]


async def run(harness: Harness) -> None:
    """Alice says good night, Bob closes the session, and the next day Alice writes again."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    ours, theirs = await session(alice, bob)
    heard = Events(bob, "message")
    ends = [Events(client, "e2e_session_closed") for client in (alice, bob)]

    say(alice, bob.boundjid, "Good night, good night!")
    assert await heard.body() == "Good night, good night!"
    await theirs.close()
    for end in ends:
        happened = await end.take()
        assert happened.clean
        assert happened.error is None

    await harness.settle(alice, bob)
    before = carried(harness)
    # Once to the server and once from it, after the last byte.
    assert before.index(TERMINATE) == len(before) - 2
    message = alice.make_message(mto=bob.boundjid, mbody="Too late.", mtype="chat")
    for link in (ours, theirs):
        try:
            link.send(message)
        except LocalError:
            continue
        raise AssertionError(f"{link} took a stanza after its end")
    await harness.settle(alice, bob)
    assert carried(harness) == before

    say(alice, bob.boundjid, "Good morning!")
    morning = await heard.take()
    assert morning["body"] == "Good morning!"
    assert morning["e2e"]["session"].sid != theirs.sid
    assert harness.find_text("Good night", "Too late", "Good morning") == []

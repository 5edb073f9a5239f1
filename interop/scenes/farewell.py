"""A session that is closed ends cleanly on both sides; nothing of it follows, and the next message opens another."""

from __future__ import annotations

from interop.props import Heard, say, session
from interop.stage import Stage
from xmpp_e2e.errors import LocalError

DATA, TERMINATE = "<data ", "session-terminate"


def carried(stage: Stage) -> list[str]:
    """What the server has carried of the session, in order: its bytes, and its end in the signalling."""
    return [word for handled in stage.server.handled() for word in (DATA, TERMINATE) if word in handled.text]


async def play(stage: Stage) -> None:
    """Alice says good night, Bob closes, and the next day Alice writes again."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    ours, theirs = await session(alice, bob)
    heard = Heard(bob, "message")
    ends = [Heard(client, "e2e_session_end") for client in (alice, bob)]

    say(alice, bob.boundjid, "Good night, good night!")
    assert await heard.body() == "Good night, good night!"
    await theirs.close()
    for end in ends:
        happened = await end.take()
        assert happened.detail.clean
        assert happened.detail.error is None

    await stage.settle(alice, bob)
    before = carried(stage)
    # Once to the server and once from it, after the last byte.
    assert before.index(TERMINATE) == len(before) - 2
    message = alice.make_message(mto=bob.boundjid, mbody="Too late.", mtype="chat")
    for link in (ours, theirs):
        try:
            link.send(message.xml)
        except LocalError:
            continue
        raise AssertionError(f"{link} took a stanza after its end")
    await stage.settle(alice, bob)
    assert carried(stage) == before

    say(alice, bob.boundjid, "Good morning!")
    morning = await heard.take()
    assert morning["body"] == "Good morning!"
    assert morning["e2e"]["session"].sid != theirs.sid
    assert stage.readable("Good night", "Too late", "Good morning") == []

"""When a client's connection is cut, both sides report an unclean end. What was on its way arrives when it is back, once."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session
from xmpp_e2e.errors import E2EError


async def run(harness: Harness) -> None:
    """Bob's TCP connection is cut, and Alice writes to Bob."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    ours, _ = await session(alice, bob)
    alices_end, bobs_end, gone = (
        Events(client, event)
        for client, event in ((alice, "e2e_session_closed"), (bob, "e2e_session_closed"), (alice, "presence_unavailable"))
    )
    failed, delivered = Events(alice, "e2e_send_failed"), Events(alice, "e2e_delivered")
    heard = Events(bob, "message")

    say(alice, bob.boundjid, "The line is bad.")
    await harness.cut(bob)
    assert (await gone.take())["from"] == bob.boundjid
    for end, reason in ((alices_end, "went offline"), (bobs_end, "connection to the server was lost")):
        happened = await end.take()
        assert not happened.clean
        assert isinstance(happened.error, E2EError)
        assert reason in str(happened.error)
    assert await ours.wait_closed() is not None
    assert e2e(bob).sessions() == ()

    say(alice, bob.boundjid, "Are you still there?")
    say(alice, bob.boundjid.bare, "I can wait.")
    assert not await harness.log_in(bob)
    bob.send_presence()
    words = {"The line is bad.", "Are you still there?", "I can wait."}
    assert {await heard.body() for _ in words} == words
    assert {(await delivered.take()).stanza["body"] for _ in words} == words
    await harness.settle(alice, bob)
    assert not any(map(len, (heard, delivered, failed)))
    assert harness.find_text("The line is bad", "Are you still there?", "I can wait") == []

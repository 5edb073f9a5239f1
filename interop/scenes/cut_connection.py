"""When a client's connection is cut, both sides report an unclean end, and nothing is sent in plaintext."""

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
    failed = Events(alice, "e2e_send_failed")

    await harness.cut(bob)
    assert (await gone.take())["from"] == bob.boundjid
    for end, reason in ((alices_end, "went offline"), (bobs_end, "connection to the server was lost")):
        happened = await end.take()
        assert not happened.clean
        assert isinstance(happened.error, E2EError)
        assert reason in str(happened.error)
    assert await ours.wait_closed() is not None
    assert e2e(alice).sessions() == e2e(bob).sessions() == ()

    say(alice, bob.boundjid, "Are you still there?")
    assert "The peer is offline" in str(await failed.take())

    assert not await harness.log_in(bob)
    bob.send_presence()
    await session(alice, bob)
    assert harness.find_text("Are you still there?") == []

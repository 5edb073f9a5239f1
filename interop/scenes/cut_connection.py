"""A client whose connection dies is reported: the other side hears of an unclean end, and nothing goes out in clear."""

from __future__ import annotations

from interop.props import Heard, e2e, say, session
from interop.stage import Stage
from xmpp_e2e.errors import E2EError


async def play(stage: Stage) -> None:
    """Bob's TCP connection is gone, without a word; Alice writes to him all the same."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    ours, _ = await session(alice, bob)
    alices_end, bobs_end, gone = (
        Heard(client, event)
        for client, event in ((alice, "e2e_session_end"), (bob, "e2e_session_end"), (alice, "presence_unavailable"))
    )
    failed = Heard(alice, "e2e_send_failed")

    await stage.cut(bob)
    assert (await gone.take())["from"] == bob.boundjid
    for end, reason in ((alices_end, "went offline"), (bobs_end, "connection to the server was lost")):
        happened = await end.take()
        assert not happened.detail.clean
        assert isinstance(happened.detail.error, E2EError)
        assert reason in str(happened.detail.error)
    assert await ours.ended() is not None
    assert e2e(alice).sessions() == e2e(bob).sessions() == ()

    say(alice, bob.boundjid, "Are you still there?")
    assert "The peer is offline" in str(await failed.take())

    assert not await stage.enter(bob)
    bob.send_presence()
    await session(alice, bob)
    assert stage.readable("Are you still there?") == []

"""A session survives a lost connection that is resumed (XEP-0198): what was said meanwhile arrives, once and inside."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import Heard, say, session
from interop.stage import Stage


def manage_stream(client: ClientXMPP) -> None:
    """Load stream management."""
    client.register_plugin("xep_0198")


async def play(stage: Stage) -> None:
    """Alice goes through a tunnel, three times; in the dark she and Bob go on writing."""
    alice = await stage.encrypted("alice", prepare=manage_stream)
    bob = await stage.encrypted("bob", prepare=manage_stream)
    ours, theirs = await session(alice, bob)
    ends = [Heard(client, event) for client in (alice, bob) for event in ("e2e_session_end", "e2e_send_failed")]
    heard = {client: Heard(client, "message") for client in (alice, bob)}

    for tunnel in range(3):
        await stage.cut(alice)
        for number in range(20):
            say(bob, alice.boundjid, f"Hello? {tunnel}.{number}")
            say(alice, bob.boundjid, f"It is dark. {tunnel}.{number}")
        # While ejabberd 23.01 resumes a stream, what comes then can overtake what came just before: the session would end, as
        # it should. So Bob has said all that he can say without her when she is back.
        await stage.settle(bob)
        assert await stage.enter(alice), "the server did not resume the stream"
        say(alice, bob.boundjid, f"Light! {tunnel}")
        for number in range(20):
            assert await heard[alice].body() == f"Hello? {tunnel}.{number}"
            assert await heard[bob].body() == f"It is dark. {tunnel}.{number}"
        assert await heard[bob].body() == f"Light! {tunnel}"

    await stage.settle(alice, bob)
    assert [len(each) for each in (*heard.values(), *ends)] == [0] * 6
    assert ours.is_open
    assert theirs.is_open
    assert stage.readable("Hello?", "It is dark", "Light!", "<body") == []

"""A session survives a lost connection that is resumed (XEP-0198): all messages arrive, once and through the session."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, say, session


def manage_stream(client: ClientXMPP) -> None:
    """Load stream management."""
    client.register_plugin("xep_0198")


async def run(harness: Harness) -> None:
    """Alice goes through a tunnel three times, while both go on writing."""
    alice = await harness.e2e_client("alice", prepare=manage_stream)
    bob = await harness.e2e_client("bob", prepare=manage_stream)
    ours, theirs = await session(alice, bob)
    ends = [Events(client, event) for client in (alice, bob) for event in ("e2e_session_closed", "e2e_send_failed")]
    heard = {client: Events(client, "message") for client in (alice, bob)}

    for tunnel in range(3):
        await harness.cut(alice)
        for number in range(20):
            say(bob, alice.boundjid, f"Hello? {tunnel}.{number}")
            say(alice, bob.boundjid, f"It is dark. {tunnel}.{number}")
        # While ejabberd 23.01 resumes a stream, new stanzas can overtake earlier ones, which ends the session, as it should.
        # So Bob sends everything before Alice is back.
        await harness.settle(bob)
        assert await harness.log_in(alice), "the server did not resume the stream"
        say(alice, bob.boundjid, f"Light! {tunnel}")
        for number in range(20):
            assert await heard[alice].body() == f"Hello? {tunnel}.{number}"
            assert await heard[bob].body() == f"It is dark. {tunnel}.{number}"
        assert await heard[bob].body() == f"Light! {tunnel}"

    await harness.settle(alice, bob)
    assert [len(each) for each in (*heard.values(), *ends)] == [0] * 6
    assert ours.is_open
    assert theirs.is_open
    assert harness.find_text("Hello?", "It is dark", "Light!", "<body") == []

"""To a peer who stays offline nothing is sent, stored or leaked, and the sender is told. A session opens when they are back."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session


async def run(harness: Harness) -> None:
    """Bob has talked with Alice before, and logs out; under `prefer` and under `require`."""
    alice, bob = await harness.e2e_client("alice", offline_seconds=0.1), await harness.e2e_client("bob")
    await session(alice, bob)
    events = ("e2e_send_failed", "presence_unavailable", "presence_available")
    failed, gone, came = (Events(alice, event) for event in events)
    to, device = bob.boundjid.bare, bob.boundjid.full

    await harness.log_out(bob)
    await gone.take()
    for policy in ("prefer", "require"):
        e2e(alice).set_policy(to, policy)
        for address in (to, device):
            say(alice, address, f"Where are you? {policy}")
            failure = await failed.take()
            assert failure.stanza["to"] == address
            assert "The peer is offline" in str(failure)
    await harness.settle(alice)
    assert harness.find_text("Where are you?") == []

    bob = await harness.e2e_client("bob")
    heard = Events(bob, "message")
    while (await came.take())["from"] != device:
        pass
    say(alice, to, "There you are!")
    message = await heard.take()
    assert message["body"] == "There you are!"
    assert str(message["e2e"]["assurance"]) == "known"
    assert not len(heard), "what had failed was kept somewhere"
    assert harness.find_text("Where are you?", "There you are") == []

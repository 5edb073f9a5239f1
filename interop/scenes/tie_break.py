"""Two clients write to each other at the same moment, a hundred times: one session each time, and both messages arrive."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say

TIMES = 100


async def run(harness: Harness) -> None:
    """Alice and Bob begin at the same moment, close the session, and begin again."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    await harness.settle(alice, bob)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    failures = [Events(client, event) for client in (alice, bob) for event in ("e2e_send_failed", "e2e_key_changed")]
    for time in range(TIMES):
        for client, peer in ((alice, bob), (bob, alice)):
            say(client, peer.boundjid, f"Me first! {time}")
        for client in (alice, bob):
            assert await heard[client].body() == f"Me first! {time}"
        (ours,), (theirs,) = e2e(alice).sessions(), e2e(bob).sessions()
        assert ours.sid == theirs.sid
        await ours.close()
        await theirs.wait_closed()
    # Each is seen on its way in and on its way out; where offers cross, there are two.
    assert len(harness.find_text("session-initiate")) > 3 * TIMES, "they hardly ever crossed: this has shown little"
    assert harness.find_text("Me first!") == []
    assert not any(map(len, (*heard.values(), *failures)))

"""Two who write to each other in the same instant, a hundred times: one session each time, and both messages arrive."""

from __future__ import annotations

from interop.props import Heard, e2e, say
from interop.stage import Stage

TIMES = 100


async def play(stage: Stage) -> None:
    """Alice and Bob begin at once; then they part, and begin anew."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    await stage.settle(alice, bob)
    heard = {client: Heard(client, "message") for client in (alice, bob)}
    failures = [Heard(client, event) for client in (alice, bob) for event in ("e2e_send_failed", "e2e_key_changed")]
    for time in range(TIMES):
        for client, peer in ((alice, bob), (bob, alice)):
            say(client, peer.boundjid, f"Me first! {time}")
        for client in (alice, bob):
            assert await heard[client].body() == f"Me first! {time}"
        (ours,), (theirs,) = e2e(alice).sessions(), e2e(bob).sessions()
        assert ours.sid == theirs.sid
        await ours.close()
        await theirs.ended()
    # Each is seen on its way in and on its way out; where offers cross, there are two.
    assert len(stage.readable("session-initiate")) > 3 * TIMES, "they hardly ever crossed: this has shown little"
    assert stage.readable("Me first!") == []
    assert not any(map(len, (*heard.values(), *failures)))

"""Two who write to each other in the same instant, a hundred times: one session each time, and both messages arrive."""

from __future__ import annotations

from interop.props import Heard, e2e, say
from interop.stage import Stage

TIMES = 50
"""For each of two pairs: one peer who offers more than that within a few seconds is a flood, and refused (docs/bounds.md)."""


async def play(stage: Stage) -> None:
    """Alice and Bob begin at once; then they part, and begin anew. So do Carol and Dave."""
    for names in (("alice", "bob"), ("carol", "dave")):
        await begin_at_once(stage, *names)
    # Each is seen on its way in and on its way out.
    assert len(stage.readable("session-initiate")) > 4 * TIMES, "they never crossed: this has shown nothing"
    assert stage.readable("Me first!") == []


async def begin_at_once(stage: Stage, *names: str) -> None:
    """A pair, as often as it is asked for."""
    one, other = [await stage.encrypted(name) for name in names]
    await stage.settle(one, other)
    heard = {client: Heard(client, "message") for client in (one, other)}
    failures = [Heard(client, event) for client in (one, other) for event in ("e2e_send_failed", "e2e_key_changed")]

    for time in range(TIMES):
        for client, peer in ((one, other), (other, one)):
            say(client, peer.boundjid, f"Me first! {time}")
        for client in (one, other):
            assert await heard[client].body() == f"Me first! {time}"
        (ours,), (theirs,) = e2e(one).sessions(), e2e(other).sessions()
        assert ours.sid == theirs.sid
        await ours.close()
        await theirs.ended()
    assert not any(map(len, (*heard.values(), *failures)))

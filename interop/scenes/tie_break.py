"""Two who write to each other in the same instant, a hundred times: one session each time, and both messages arrive."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import Heard, e2e, say
from interop.stage import Stage

PAIRS = (("alice", "bob"), ("carol", "dave"), ("alice", "dave"), ("carol", "bob"))
TIMES = 25
"""For each pair: a peer who begins and ends many more sessions within a few seconds is a flood (docs/bounds.md)."""


async def play(stage: Stage) -> None:
    """Alice and Bob begin at once; then they part, and begin anew. So do others."""
    clients = {name: await stage.encrypted(name) for name in ("alice", "bob", "carol", "dave")}
    await stage.settle(*clients.values())
    for names in PAIRS:
        await begin_at_once(*(clients[name] for name in names))
    # Each is seen on its way in and on its way out.
    assert len(stage.readable("session-initiate")) > 2 * TIMES * len(PAIRS), "they never crossed: this has shown nothing"
    assert stage.readable("Me first!") == []


async def begin_at_once(one: ClientXMPP, other: ClientXMPP) -> None:
    """A pair, as often as it is asked for."""
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

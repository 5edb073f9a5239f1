"""Resources with quotes, white space and foreign letters work: the session is bound to the servers' spelling."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, session

RESOURCES = (
    ("Alice's \"phone\" & <tablet>", "büro 手机 / 2"),
    # The server and the library change the spelling of these (RFC 3920, appendix B: NFKC).
    ("re\u0301sume\u0301", "\ufb01le \uff57\uff49\uff44\uff45 \u212b"),
)


async def run(harness: Harness) -> None:
    """Alice and Bob talk in both directions, on devices with such names."""
    for names in RESOURCES:
        alice, bob = await harness.e2e_client("alice", names[0]), await harness.e2e_client("bob", names[1])
        ours, theirs = await session(alice, bob)
        assert (ours.peer, theirs.peer) == (bob.boundjid.full, alice.boundjid.full)
        for client, peer in ((alice, bob), (bob, alice)):
            heard = Events(peer, "message")
            say(client, peer.boundjid, f"I am {names[0]}.")
            message = await heard.take()
            assert (message["body"], message["from"]) == (f"I am {names[0]}.", client.boundjid)
        await ours.close()
        await theirs.wait_closed()
        await harness.log_out(alice)
        await harness.log_out(bob)
    assert harness.find_text("I am ") == []

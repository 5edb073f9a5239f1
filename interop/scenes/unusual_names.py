"""Resources with quotes, white space and foreign letters work: the session is bound to what the servers make of them."""

from __future__ import annotations

from interop.props import Heard, say, session
from interop.stage import Stage

RESOURCES = (
    ("Alice's \"phone\" & <tablet>", "büro 手机 / 2"),
    # Such as the server and the library spell otherwise than they were asked for (RFC 3920, appendix B: NFKC).
    ("re\u0301sume\u0301", "\ufb01le \uff57\uff49\uff44\uff45 \u212b"),
)


async def play(stage: Stage) -> None:
    """Alice and Bob on devices with such names talk in both directions."""
    for names in RESOURCES:
        alice, bob = await stage.encrypted("alice", names[0]), await stage.encrypted("bob", names[1])
        ours, theirs = await session(alice, bob)
        assert (ours.peer, theirs.peer) == (bob.boundjid.full, alice.boundjid.full)
        for client, peer in ((alice, bob), (bob, alice)):
            heard = Heard(peer, "message")
            say(client, peer.boundjid, f"I am {names[0]}.")
            message = await heard.take()
            assert (message["body"], message["from"]) == (f"I am {names[0]}.", client.boundjid)
        await ours.close()
        await theirs.ended()
        await stage.leave(alice)
        await stage.leave(bob)
    assert stage.readable("I am ") == []

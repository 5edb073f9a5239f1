"""In the session that they have, one proves the other by a password or a key, whoever has begun it; a wrong one ends it."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.props import e2e, proved, session, share
from interop.stage import Stage
from slixmpp_e2e import Link
from xmpp_e2e.errors import AuthenticationFailed

PASSWORD, KEY = "the name of the horse", bytes(range(32))


async def ends(pair: tuple[ClientXMPP, ClientXMPP], ours: ClientXMPP) -> tuple[Link, Link]:
    """A session that the first of the pair begins: its end at ``ours``, who is not sure of the peer, and the other."""
    one, other = await session(*pair)
    mine, his = (one, other) if pair[0] is ours else (other, one)
    assert str(mine.assurance) == "vouched"
    return mine, his


async def over(ours: Link, theirs: Link) -> None:
    """Both are sure now, and say farewell."""
    assert str(ours.assurance) == "verified"
    await ours.close()
    await theirs.ended()
    assert str(theirs.assurance) == "verified"


async def play(stage: Stage) -> None:
    """Alice wants to be sure. Bob's program asks him for the password, and has the key from another day."""
    alice = await stage.encrypted("alice")
    bob = await stage.encrypted("bob", password=lambda peer: PASSWORD if peer == alice.boundjid.bare else None)
    pairs = [(alice, bob), (bob, alice)]
    for pair in pairs:
        ours, theirs = await ends(pair, alice)
        await ours.verify_password(PASSWORD)
        await over(ours, theirs)
        assert proved(alice, bob) == proved(bob, alice) == [("verified", "srp")]
        for client, peer in pairs:
            await e2e(client).trust.forget(peer.boundjid.bare)

    share(bob, alice, psk=KEY)
    await e2e(bob).trust.pin(alice.boundjid.bare, e2e(alice).fingerprint)
    for pair in pairs:
        ours, theirs = await ends(pair, alice)
        await ours.verify_key(KEY)
        await over(ours, theirs)
        assert proved(alice, bob) == [("verified", "psk")]
        await e2e(alice).trust.forget(bob.boundjid.bare)

    ours, theirs = await ends((alice, bob), alice)
    try:
        await ours.verify_password("the name of the house")
    except AuthenticationFailed:
        assert isinstance(await theirs.ended(), AuthenticationFailed)
    else:
        raise AssertionError("a wrong password was as good as the right one")
    assert proved(alice, bob) == [("vouched", "route")]

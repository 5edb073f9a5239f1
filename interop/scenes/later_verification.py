"""In an open session, a password or a key verifies the peer, whoever opened it; a wrong password ends it."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import e2e, session, share, verified_keys
from slixmpp_e2e import E2ESession
from xmpp_e2e.errors import AuthenticationFailed

PASSWORD, KEY = "the name of the horse", bytes(range(32))


async def ends(pair: tuple[ClientXMPP, ClientXMPP], ours: ClientXMPP) -> tuple[E2ESession, E2ESession]:
    """A session that the first of the pair begins: its end at ``ours``, who is not sure of the peer, and the other."""
    one, other = await session(*pair)
    mine, theirs = (one, other) if pair[0] is ours else (other, one)
    assert str(mine.assurance) == "vouched"
    return mine, theirs


async def over(ours: E2ESession, theirs: E2ESession) -> None:
    """Both are sure now, and say closed_session."""
    assert str(ours.assurance) == "verified"
    await ours.close()
    await theirs.wait_closed()
    assert str(theirs.assurance) == "verified"


async def run(harness: Harness) -> None:
    """Alice verifies Bob. Bob's program asks for the password, and has the key from an earlier day."""
    alice = await harness.e2e_client("alice")
    bob = await harness.e2e_client("bob", ask_password=lambda peer: PASSWORD if peer == alice.boundjid.bare else None)
    pairs = [(alice, bob), (bob, alice)]
    for pair in pairs:
        ours, theirs = await ends(pair, alice)
        await ours.verify_password(PASSWORD)
        await over(ours, theirs)
        assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "srp")]
        for client, peer in pairs:
            await e2e(client).trust.forget(peer.boundjid.bare)

    share(bob, alice, psk=KEY)
    await e2e(bob).trust.pin(alice.boundjid.bare, e2e(alice).fingerprint)
    for pair in pairs:
        ours, theirs = await ends(pair, alice)
        await ours.verify_key(KEY)
        await over(ours, theirs)
        assert verified_keys(alice, bob) == [("verified", "psk")]
        await e2e(alice).trust.forget(bob.boundjid.bare)

    ours, theirs = await ends((alice, bob), alice)
    try:
        await ours.verify_password("the name of the house")
    except AuthenticationFailed:
        assert isinstance(await theirs.wait_closed(), AuthenticationFailed)
    else:
        raise AssertionError("a wrong password was as good as the right one")
    assert verified_keys(alice, bob) == [("vouched", "route")]

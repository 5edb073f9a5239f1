"""Who trusts no server and writes to a stranger is asked by itself, as is the stranger: the message waits for that."""

from __future__ import annotations

from interop.props import Heard, Person, e2e, proved, say
from interop.stage import Stage
from slixmpp_e2e.errors import Unproved


async def play(stage: Stage) -> None:
    """Alice and Bob compare strings; at Dave's there is nobody who could."""
    alices, bobs = Person(), Person()
    alice = await stage.encrypted("alice", trust_model="server-untrusted", sas=alices.looks)
    bob, dave = await stage.encrypted("bob", sas=bobs.looks), await stage.encrypted("dave")
    heard = [Heard(client, "message") for client in (bob, dave)]
    failed = Heard(alice, "e2e_send_failed")
    say(alice, bob.boundjid, "Are you the one?")
    assert await heard[0].body() == "Are you the one?"
    await stage.settle(alice, bob)
    assert [str(link.assurance) for client in (alice, bob) for link in e2e(client).sessions()] == ["verified", "verified"]
    assert [shown.text for shown in alices.saw] == [shown.text for shown in bobs.saw]
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "sas")]

    say(alice, dave.boundjid, "Is anybody the one?")
    assert isinstance((await failed.take()).error, Unproved)
    await stage.settle(alice, dave)
    assert (len(alices.saw), len(heard[1])) == (1, 0)
    assert stage.readable("the one?") == []

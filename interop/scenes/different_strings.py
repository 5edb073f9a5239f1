"""Who finds the strings different says so: the session ends on both sides, and to him the key is worth no more than before."""

from __future__ import annotations

from contextlib import suppress

from interop.props import Heard, Person, e2e, proved, say, session
from interop.stage import Stage
from xmpp_e2e.errors import AuthenticationFailed


async def play(stage: Stage) -> None:
    """First both look well, then Alice alone, then Bob alone; the other says that all is the same."""
    alices, bobs = Person(), Person()
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", sas=bobs.looks)
    people = [(alice, bob, alices), (bob, alice, bobs)]
    for wary in ((alices, bobs), (alices,), (bobs,)):
        for person in (alices, bobs):
            person.finds_it_the_same = person not in wary
        ours, _ = await session(alice, bob)
        ends = [Heard(client, "e2e_session_end") for client in (alice, bob)]
        with suppress(AuthenticationFailed):
            await ours.verify_sas(alices.looks)
        assert alices.saw
        for end in ends:
            assert isinstance((await end.take()).detail.error, AuthenticationFailed)
        for client, peer, person in people:
            if person in wary:
                assert proved(client, peer) == [("vouched", "route")]
                heard = Heard(client, "message")
                say(peer, client.boundjid, "Shall we try again?")
                message = await heard.take()
                assert str(message["e2e"]["assurance"]) == "known"
        await message["e2e"]["session"].close()
        await stage.settle(alice, bob)
        for client, peer, _ in people:
            await e2e(client).trust.forget(peer.boundjid.bare)
    assert stage.readable("Shall we try again") == []

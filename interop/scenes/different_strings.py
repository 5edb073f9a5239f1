"""If one user says that the strings differ, the session ends on both sides, and for them the key is not verified."""

from __future__ import annotations

from contextlib import suppress

from interop.harness import Harness
from interop.helpers import Events, SasUser, e2e, say, session, verified_keys
from xmpp_e2e.errors import AuthenticationFailed


async def run(harness: Harness) -> None:
    """First both users check the string, then only Alice, then only Bob; the other one confirms anything."""
    alices, bobs = SasUser(), SasUser()
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", ask_sas=bobs.compare)
    people = [(alice, bob, alices), (bob, alice, bobs)]
    for wary in ((alices, bobs), (alices,), (bobs,)):
        for person in (alices, bobs):
            person.says_match = person not in wary
        ours, _ = await session(alice, bob)
        ends = [Events(client, "e2e_session_closed") for client in (alice, bob)]
        with suppress(AuthenticationFailed):
            await ours.verify_sas(alices.compare)
        assert alices.prompts
        for end in ends:
            assert isinstance((await end.take()).error, AuthenticationFailed)
        for client, peer, person in people:
            if person in wary:
                assert verified_keys(client, peer) == [("vouched", "route")]
                heard = Events(client, "message")
                say(peer, client.boundjid, "Shall we try again?")
                message = await heard.take()
                assert str(message["e2e"]["assurance"]) == "known"
        await message["e2e"]["session"].close()
        await harness.settle(alice, bob)
        for client, peer, _ in people:
            await e2e(client).trust.forget(peer.boundjid.bare)
    assert harness.find_text("Shall we try again") == []

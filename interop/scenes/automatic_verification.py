"""Under `server-untrusted`, a message to a stranger starts a comparison on both sides by itself, and waits for it."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, SasUser, e2e, say, verified_keys
from slixmpp_e2e.errors import VerificationUnavailable


async def run(harness: Harness) -> None:
    """Alice and Bob compare strings. Dave's client has nobody to ask."""
    alices, bobs = SasUser(), SasUser()
    alice = await harness.e2e_client("alice", trust_model="server-untrusted", ask_sas=alices.compare)
    bob, dave = await harness.e2e_client("bob", ask_sas=bobs.compare), await harness.e2e_client("dave")
    heard = [Events(client, "message") for client in (bob, dave)]
    failed = Events(alice, "e2e_send_failed")
    say(alice, bob.boundjid, "Are you the one?")
    assert await heard[0].body() == "Are you the one?"
    await harness.settle(alice, bob)
    assert [str(link.assurance) for client in (alice, bob) for link in e2e(client).sessions()] == ["verified", "verified"]
    assert [shown.text for shown in alices.prompts] == [shown.text for shown in bobs.prompts]
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "sas")]

    say(alice, dave.boundjid, "Is anybody the one?")
    assert isinstance((await failed.take()).error, VerificationUnavailable)
    await harness.settle(alice, dave)
    assert (len(alices.prompts), len(heard[1])) == (1, 0)
    assert harness.find_text("the one?") == []

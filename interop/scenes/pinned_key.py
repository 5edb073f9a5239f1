"""Under `server-untrusted`, waiting messages go through the same session once both users have pinned each other's key."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, verified_keys


async def run(harness: Harness) -> None:
    """Alice has Bob's fingerprint on a card; Bob has to ring Alice up."""
    alice, bob = [await harness.e2e_client(name, trust_model="server-untrusted") for name in ("alice", "bob")]
    heard, answers = Events(bob, "message"), Events(alice, "message")
    say(alice, bob.boundjid, "Written before anybody looked.")
    say(bob, alice.boundjid, "And this before anybody looked.")
    held = await e2e(alice).connect(bob.boundjid.full)
    await harness.settle(alice, bob)
    await e2e(alice).trust.pin(bob.boundjid.bare, str(e2e(bob).fingerprint))
    await harness.settle(alice, bob)
    assert (len(heard), len(answers)) == (0, 0)
    assert not held.is_open

    await e2e(bob).trust.pin(alice.boundjid.bare, str(e2e(alice).fingerprint))
    messages = [await heard.take(), await answers.take()]
    assert [message["body"] for message in messages] == ["Written before anybody looked.", "And this before anybody looked."]
    for message in messages:
        assert str(message["e2e"]["assurance"]) == "verified"
        assert message["e2e"]["session"].sid == held.sid
    assert verified_keys(alice, bob) == verified_keys(bob, alice) == [("verified", "pin")]
    assert harness.find_text("before anybody looked") == []

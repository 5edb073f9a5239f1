"""Under `opportunistic`, what is for somebody who is offline waits at their server, and what follows goes inside again."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, say, session

NOT_ON = {"loopback": "it keeps nothing for whoever is offline"}


async def run(harness: Harness) -> None:
    """Bob, whom Alice has met, goes offline and comes back."""
    alice, bob = await harness.e2e_client("alice", policy="opportunistic"), await harness.e2e_client("bob")
    await session(alice, bob)
    gone, sent = Events(alice, "presence_unavailable"), Events(alice, "e2e_plaintext_sent")
    failed = Events(alice, "e2e_send_failed")
    await harness.log_out(bob)
    while (await gone.take())["from"] != bob.boundjid:
        pass
    for to in (harness.jid("bob"), bob.boundjid.full):
        say(alice, to, f"For later, to {to}.")
        assert "cannot be reached" in str(await sent.take())

    kept: list[str] = []
    came = Events(alice, "presence_available")
    bob = await harness.e2e_client(
        "bob", prepare=lambda client: client.add_event_handler("message", lambda message: kept.append(message["body"]))
    )
    while (await came.take())["from"] != bob.boundjid:
        pass
    await harness.settle(bob)
    assert sorted(kept) == sorted(f"For later, to {to}." for to in (harness.jid("bob"), bob.boundjid.full))
    heard = Events(bob, "message")
    say(alice, harness.jid("bob"), "Welcome back.")
    message = await heard.take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("Welcome back.", "known")
    assert harness.find_text("Welcome back") == []
    assert not len(failed)

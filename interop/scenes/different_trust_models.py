"""With different trust models, each side waits for the assurance that it requires, and sees its own assurance."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say


async def run(harness: Harness) -> None:
    """Bob trusts the server and writes at once. Alice's client delivers it after Alice has compared the fingerprint."""
    alice = await harness.e2e_client("alice", trust_model="server-untrusted")
    bob = await harness.e2e_client("bob", trust_model="server-authenticates")
    heard, answers = Events(alice, "message"), Events(bob, "message")
    theirs = await e2e(bob).connect(alice.boundjid.full)
    say(bob, alice.boundjid, "My server says that it is you.")
    await harness.settle(bob, alice)
    assert not len(heard)
    assert not theirs.is_open

    await e2e(alice).trust.pin(bob.boundjid.bare, e2e(bob).fingerprint)
    message = await heard.take()
    message.reply("My own eyes say that it is you.").send()
    answer = await answers.take()
    assert [str(each["e2e"]["assurance"]) for each in (message, answer)] == ["verified", "vouched"]
    assert answer["e2e"]["session"] is theirs
    assert harness.find_text("that it is you") == []

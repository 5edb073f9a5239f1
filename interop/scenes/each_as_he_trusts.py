"""One trusts no server, the other does: each waits for what he himself demands, and sees what he himself has found out."""

from __future__ import annotations

from interop.props import Heard, e2e, say
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob takes his server's word and writes at once; Alice sees nothing of it until she has compared his fingerprint."""
    alice = await stage.encrypted("alice", trust_model="server-untrusted")
    bob = await stage.encrypted("bob", trust_model="server-authenticates")
    heard, answers = Heard(alice, "message"), Heard(bob, "message")
    theirs = await e2e(bob).connect(alice.boundjid.full)
    say(bob, alice.boundjid, "My server says that it is you.")
    await stage.settle(bob, alice)
    assert not len(heard)
    assert not theirs.is_open

    await e2e(alice).trust.pin(bob.boundjid.bare, e2e(bob).fingerprint)
    message = await heard.take()
    message.reply("My own eyes say that it is you.").send()
    answer = await answers.take()
    assert [str(each["e2e"]["assurance"]) for each in (message, answer)] == ["verified", "vouched"]
    assert answer["e2e"]["session"] is theirs
    assert stage.readable("that it is you") == []

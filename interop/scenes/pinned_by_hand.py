"""Two who trust no server compare fingerprints: what waits goes on in the same session, once both have pinned the other's."""

from __future__ import annotations

from interop.props import Heard, e2e, proved, say
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Alice has read Bob's fingerprint from his card; Bob has to ring her up."""
    alice, bob = [await stage.encrypted(name, trust_model="server-untrusted") for name in ("alice", "bob")]
    heard, answers = Heard(bob, "message"), Heard(alice, "message")
    say(alice, bob.boundjid, "Written before anybody looked.")
    say(bob, alice.boundjid, "And this before anybody looked.")
    held = await e2e(alice).connect(bob.boundjid.full)
    await stage.settle(alice, bob)
    await e2e(alice).trust.pin(bob.boundjid.bare, str(e2e(bob).fingerprint))
    await stage.settle(alice, bob)
    assert (len(heard), len(answers)) == (0, 0)
    assert not held.is_open

    await e2e(bob).trust.pin(alice.boundjid.bare, str(e2e(alice).fingerprint))
    messages = [await heard.take(), await answers.take()]
    assert [message["body"] for message in messages] == ["Written before anybody looked.", "And this before anybody looked."]
    for message in messages:
        assert str(message["e2e"]["assurance"]) == "verified"
        assert message["e2e"]["session"].sid == held.sid
    assert proved(alice, bob) == proved(bob, alice) == [("verified", "pin")]
    assert stage.readable("before anybody looked") == []

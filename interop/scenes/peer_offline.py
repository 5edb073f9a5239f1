"""To somebody who is offline nothing is sent, stored or leaked; the sender is told, and once he is back it goes inside."""

from __future__ import annotations

from interop.props import Heard, e2e, say, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob has talked to Alice before, and logs out; under `prefer` as under `require`."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    await session(alice, bob)
    failed, gone, came = (Heard(alice, event) for event in ("e2e_send_failed", "presence_unavailable", "presence_available"))
    to, device = bob.boundjid.bare, bob.boundjid.full

    await stage.leave(bob)
    await gone.take()
    for policy in ("prefer", "require"):
        e2e(alice).set_policy(to, policy)
        for address in (to, device):
            say(alice, address, f"Where are you? {policy}")
            failure = await failed.take()
            assert failure.stanza["to"] == address
            assert "The peer is offline" in str(failure)
    await stage.settle(alice)
    assert stage.readable("Where are you?") == []

    bob = await stage.encrypted("bob")
    heard = Heard(bob, "message")
    while (await came.take())["from"] != device:
        pass
    say(alice, to, "There you are!")
    message = await heard.take()
    assert message["body"] == "There you are!"
    assert str(message["e2e"]["assurance"]) == "known"
    assert not len(heard), "what had failed was kept somewhere"
    assert stage.readable("Where are you?", "There you are") == []

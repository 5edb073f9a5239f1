"""What is written to a person reaches each of his devices that has encryption, each by a session of its own, and no other."""

from __future__ import annotations

from interop.props import Heard, e2e, say
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob has a phone and a laptop with encryption, and an old client without; Alice writes to his address."""
    alice = await stage.encrypted("alice")
    came, started = Heard(alice, "presence_available"), Heard(alice, "e2e_session_start")
    phone, laptop = await stage.encrypted("bob", "phone"), await stage.encrypted("bob", "laptop")
    old = await stage.client("bob", "old")
    heard = {device: Heard(device, "message") for device in (phone, laptop, old)}
    online = set[str]()
    while len(online) < len(heard):
        online.add((await came.take())["from"].full)

    say(alice, stage.jid("bob"), "To all of you.")
    sessions = []
    for device in (phone, laptop):
        message = await heard[device].take()
        assert message["body"] == "To all of you."
        assert message["from"] == alice.boundjid
        sessions.append(message["e2e"]["session"])
    assert {(await started.take()).peer for _ in sessions} == {phone.boundjid.full, laptop.boundjid.full}
    assert sessions[0].sid != sessions[1].sid
    assert e2e(phone).fingerprint != e2e(laptop).fingerprint

    answered = Heard(alice, "message")
    say(laptop, alice.boundjid, "Read it here.")
    answer = await answered.take()
    assert answer["e2e"]["fingerprint"] == e2e(laptop).fingerprint
    say(alice, answer["from"], "To the laptop alone.")
    assert await heard[laptop].body() == "To the laptop alone."

    await stage.settle(phone, laptop, old)
    assert not any(map(len, heard.values()))
    assert stage.readable("To all of you", "Read it here", "To the laptop") == []

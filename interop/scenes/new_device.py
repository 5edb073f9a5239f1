"""A known peer appears with a second device: both get what is written to him, and the user is told of the new key."""

from __future__ import annotations

from interop.props import Heard, e2e, say, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Bob has always written from his phone; now he buys a laptop."""
    alice, phone = await stage.encrypted("alice"), await stage.encrypted("bob", "phone")
    ours, theirs = await session(alice, phone)
    await ours.close()
    await theirs.ended()
    changed, started, came = (
        Heard(alice, event) for event in ("e2e_key_changed", "e2e_session_start", "presence_available")
    )

    laptop = await stage.encrypted("bob", "laptop")
    while (await came.take())["from"] != laptop.boundjid:
        pass
    heard = [Heard(device, "message") for device in (phone, laptop)]
    say(alice, stage.jid("bob"), "Congratulations on the laptop.")
    for each in heard:
        assert await each.body() == "Congratulations on the laptop."
    told = (await changed.take()).detail
    assert told.fingerprint == e2e(laptop).fingerprint
    assert e2e(phone).fingerprint in told.remembered
    assurances = {happened.peer: str(happened.detail.assurance) for happened in [await started.take(), await started.take()]}
    assert assurances == {phone.boundjid.full: "known", laptop.boundjid.full: "vouched"}
    await stage.settle(phone, laptop)
    assert not any(map(len, (*heard, changed)))
    assert stage.readable("Congratulations") == []

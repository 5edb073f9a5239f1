"""A known peer appears with a second device: both devices get messages, and the user is told of the new key."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, say, session


async def run(harness: Harness) -> None:
    """Bob has always written from a phone, and buys a laptop."""
    alice, phone = await harness.e2e_client("alice"), await harness.e2e_client("bob", "phone")
    ours, theirs = await session(alice, phone)
    await ours.close()
    await theirs.wait_closed()
    changed, started, came = (
        Events(alice, event) for event in ("e2e_key_changed", "e2e_session_opened", "presence_available")
    )

    laptop = await harness.e2e_client("bob", "laptop")
    while (await came.take())["from"] != laptop.boundjid:
        pass
    heard = [Events(device, "message") for device in (phone, laptop)]
    say(alice, harness.jid("bob"), "Congratulations on the laptop.")
    for each in heard:
        assert await each.body() == "Congratulations on the laptop."
    told = (await changed.take())
    assert told.fingerprint == e2e(laptop).fingerprint
    assert e2e(phone).fingerprint in told.known
    assurances = {happened.peer: str(happened.assurance) for happened in [await started.take(), await started.take()]}
    assert assurances == {phone.boundjid.full: "known", laptop.boundjid.full: "vouched"}
    await harness.settle(phone, laptop)
    assert not any(map(len, (*heard, changed)))
    assert harness.find_text("Congratulations") == []

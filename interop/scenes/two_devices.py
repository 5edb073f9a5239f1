"""What is written to a person reaches each of his devices that has encryption, each by a session of its own, and no other."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from interop.props import Heard, e2e, say
from interop.stage import Stage

DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"


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
    # Nothing but the question whether it has encryption went to the old client.
    to_old = [ET.fromstring(text) for text in stage.readable(old.boundjid.full)]
    ends = (alice.boundjid.full, old.boundjid.full)
    written = [element for element in to_old if (element.get("from"), element.get("to")) == ends]
    assert {element.tag.rpartition("}")[2] for element in written} <= {"iq", "presence"}
    assert {child.tag for element in written for child in element if element.tag.endswith("iq")} == {DISCO_INFO}
    assert stage.readable("To all of you", "Read it here", "To the laptop") == []

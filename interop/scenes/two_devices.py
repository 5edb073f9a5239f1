"""A message to an account reaches each device with encryption through its own session, and no other device."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from interop.harness import Harness
from interop.helpers import Events, e2e, say

DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"


async def run(harness: Harness) -> None:
    """Bob has a phone and a laptop with encryption, and an old client without. Alice writes to Bob's address."""
    alice = await harness.e2e_client("alice")
    came, started = Events(alice, "presence_available"), Events(alice, "e2e_session_opened")
    phone, laptop = await harness.e2e_client("bob", "phone"), await harness.e2e_client("bob", "laptop")
    old = await harness.client("bob", "old")
    heard = {device: Events(device, "message") for device in (phone, laptop, old)}
    online = set[str]()
    while len(online) < len(heard):
        online.add((await came.take())["from"].full)

    say(alice, harness.jid("bob"), "To all of you.")
    sessions = []
    for device in (phone, laptop):
        message = await heard[device].take()
        assert message["body"] == "To all of you."
        assert message["from"] == alice.boundjid
        sessions.append(message["e2e"]["session"])
    assert {(await started.take()).peer for _ in sessions} == {phone.boundjid.full, laptop.boundjid.full}
    assert sessions[0].sid != sessions[1].sid
    assert e2e(phone).fingerprint != e2e(laptop).fingerprint

    answered = Events(alice, "message")
    say(laptop, alice.boundjid, "Read it here.")
    answer = await answered.take()
    assert answer["e2e"]["fingerprint"] == e2e(laptop).fingerprint
    say(alice, answer["from"], "To the laptop alone.")
    assert await heard[laptop].body() == "To the laptop alone."

    await harness.settle(phone, laptop, old)
    assert not any(map(len, heard.values()))
    # The old client got only the query whether it has encryption.
    to_old = [ET.fromstring(text) for text in harness.find_text(old.boundjid.full)]
    ends = (alice.boundjid.full, old.boundjid.full)
    written = [element for element in to_old if (element.get("from"), element.get("to")) == ends]
    assert {element.tag.rpartition("}")[2] for element in written} <= {"iq", "presence"}
    assert {child.tag for element in written for child in element if element.tag.endswith("iq")} == {DISCO_INFO}
    assert harness.find_text("To all of you", "Read it here", "To the laptop") == []

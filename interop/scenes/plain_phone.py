"""A peer has one device with encryption and one without: what reaches which, by the policy, and who is told."""

from __future__ import annotations

from slixmpp import ClientXMPP

from interop.harness import Harness
from interop.helpers import Events, e2e, plugin, say
from slixmpp_e2e.errors import PeerWithoutE2E

NOT_ON = {"loopback": "it makes no copies (XEP-0280)"}


def with_extras(client: ClientXMPP) -> None:
    """Load what asks for copies, and what uses iqs."""
    for name in ("xep_0092", "xep_0199", "xep_0280"):
        client.register_plugin(name)


async def run(harness: Harness) -> None:
    """Bob's desktop has encryption, his phone has none. Alice's policy is first `prefer`, then `opportunistic`."""
    alice = await harness.e2e_client("alice", prepare=with_extras)
    came, left_out = Events(alice, "presence_available"), Events(alice, "e2e_devices_left_out")
    desk = await harness.e2e_client("bob", "desk", prepare=with_extras)
    phone = await harness.client("bob", "phone", prepare=with_extras)
    for device in (desk, phone):
        await plugin(device, "xep_0280").enable()
    online = set[str]()
    while len(online) < 2:
        online.add((await came.take())["from"].full)
    heard = {device: Events(device, "message") for device in (desk, phone)}
    copied = [Events(device, name) for device in (desk, phone) for name in ("carbon_received", "carbon_sent")]
    failed, sent = Events(alice, "e2e_send_failed"), Events(alice, "e2e_plaintext_sent")

    for body in ("To those who can.", "Once more."):
        say(alice, harness.jid("bob"), body)
        assert await heard[desk].body() == body
    assert (await left_out.take()).devices == (phone.boundjid.full,)
    say(phone, alice.boundjid, "I am on the road.")
    say(alice, phone.boundjid, "It stays unsaid.")
    report = await failed.take()
    assert isinstance(report.error, PeerWithoutE2E)
    assert phone.boundjid.full in str(report.error)
    assert "opportunistic" in str(report)
    assert (await plugin(phone, "xep_0199").send_ping(alice.boundjid))["type"] == "result"
    assert (await plugin(phone, "xep_0092").get_version(alice.boundjid))["type"] == "result"
    await harness.settle(alice, desk, phone)
    assert not len(heard[phone])
    assert harness.find_text("To those who can", "Once more", "It stays unsaid") == []

    e2e(alice).set_policy(harness.jid("bob"), "opportunistic")
    for events in copied:
        events.all()
    say(alice, phone.boundjid, "Where are you?")
    assert await heard[phone].body() == "Where are you?"
    assert (await sent.take()).stanza["to"] == phone.boundjid
    await harness.settle(alice, desk, phone)
    for events in copied:
        events.all()  # of what is for the phone alone, the desktop gets a copy, as of any message in plaintext
    say(alice, harness.jid("bob"), "To all of you.")
    message = await heard[desk].take()
    assert (message["body"], str(message["e2e"]["assurance"])) == ("To all of you.", "vouched")
    assert await heard[phone].body() == "To all of you."
    assert (await sent.take()).stanza["to"] == phone.boundjid
    await harness.settle(alice, desk, phone)
    assert not any(map(len, (*heard.values(), *copied, left_out, failed, sent)))

"""Under Debian's limits 150 first messages at once, and then forty from others at once, all arrive; nobody is cut off."""

from __future__ import annotations

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from interop.harness import Harness
from interop.helpers import Events, e2e
from interop.servers.setup import Setup

SETUP = Setup(limits=True)
NOT_ON = {"federation": "the component is beside the client, so the limits are those of one server"}

TO_MANY, FROM_MANY = 150, 40
GAP_SECONDS = 120.0
"""Between two messages: one of 5 kB takes two seconds at 3 kB/s, and whoever was asked to try again waits for half a minute."""


async def bodies(heard: Events, number: int) -> set[str]:
    """Return the bodies of so many messages."""
    return {str((await heard.take(GAP_SECONDS))["body"]) for _ in range(number)}


async def run(harness: Harness) -> None:
    """The many are addresses of a component, which has no limits. Alice writes to each; then a crowd writes to Bob's bot."""

    def nothing(component: BaseXMPP) -> None:
        """It is only listened to."""

    # It stands for many people, each of whom would take so many sessions of Alice.
    limits = dict.fromkeys(("sessions_per_peer", "half_open_per_peer"), TO_MANY)
    many = await harness.component(nothing, accept_from=list(harness.server.domains), **limits)
    domain = many.boundjid.domain
    alice, bob = [await harness.e2e_client(name, accept_from=[domain]) for name in ("alice", "bob")]
    failures = [Events(client, "e2e_send_failed") for client in (alice, bob, many)]
    cut = [Events(client, "disconnected") for client in (alice, bob)]
    heard = Events(many, "message")
    for number in range(TO_MANY):
        alice.send_message(mto=JID(f"user{number}@{domain}/desk"), mbody=f"To number {number}", mtype="chat")
    assert await bodies(heard, TO_MANY) == {f"To number {number}" for number in range(TO_MANY)}
    heard = Events(bob, "message")
    for number in range(FROM_MANY):
        many.send_message(mfrom=f"user{number}@{domain}/desk", mto=bob.boundjid, mbody=f"From number {number}", mtype="chat")
    assert await bodies(heard, FROM_MANY) == {f"From number {number}" for number in range(FROM_MANY)}
    assert [failed.all() for failed in failures] == [[], [], []]
    assert [len(each) for each in cut] == [0, 0]
    assert sum(session.is_open for session in e2e(alice).sessions()) == TO_MANY
    assert harness.find_text("To number", "From number") == []

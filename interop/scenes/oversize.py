"""A stanza of 256 KiB arrives. A larger one fails at its sender with the limit in the error, and the session stays open."""

from __future__ import annotations

from slixmpp import Message

from interop.harness import Harness
from interop.helpers import Events, say, session
from xmpp_e2e.stream import MAX_STANZA, writer

NOT_LIMITED = "a stanza of 256 KiB takes minutes"


def sized(message: Message, size: int) -> Message:
    """Give ``message`` a body that makes it ``size`` bytes long inside the session."""
    message["body"] = "x"
    message["body"] += "x" * (size - len(writer.element(message.xml)))
    return message


async def run(harness: Harness) -> None:
    """Alice sends the largest stanza, then one byte more, then a short one."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    ours, _ = await session(alice, bob)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    to = bob.boundjid

    largest = sized(alice.make_message(mto=to, mtype="chat"), MAX_STANZA)
    largest.send()
    assert await heard.body() == largest["body"]

    sized(alice.make_message(mto=to, mtype="chat"), MAX_STANZA + 1).send()
    failure = await failed.take()
    assert str(MAX_STANZA) in str(failure.error)
    assert failure.stanza["to"] == to

    say(alice, to, "Shorter, then.")
    assert await heard.body() == "Shorter, then."
    assert ours.is_open
    assert not len(heard)

"""A stanza of 256 KiB arrives; a larger one fails at its sender, who reads the limit, and the session lives on."""

from __future__ import annotations

from slixmpp import Message

from interop.props import Heard, say, session
from interop.stage import Stage
from xmpp_e2e.stream import MAX_STANZA, writer

NOT_LIMITED = "a stanza of 256 KiB takes minutes"


def sized(message: Message, size: int) -> Message:
    """``message`` with a body that makes it ``size`` bytes long inside the session."""
    message["body"] = "x"
    message["body"] += "x" * (size - len(writer.element(message.xml)))
    return message


async def play(stage: Stage) -> None:
    """Alice sends as much as one stanza can hold, then one byte more, then a word."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    ours, _ = await session(alice, bob)
    heard, failed = Heard(bob, "message"), Heard(alice, "e2e_send_failed")
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

"""The first message to a bot that knows nothing of encryption and its answer go inside; the server reads no word of them."""

from __future__ import annotations

from slixmpp import Message

from interop.props import Heard, echo
from interop.stage import Stage

QUESTION = "Where shall we meet tomorrow?"


async def play(stage: Stage) -> None:
    """Alice writes to Bob's address without any preparation."""
    bob = await stage.encrypted("bob", prepare=echo)
    alice = await stage.encrypted("alice")
    heard = Heard(alice, "message")

    message: Message = alice.make_message(mto=bob.boundjid.bare, mbody=QUESTION, msubject="A secret meeting", mtype="chat")
    message["id"] = "first-of-all-messages"
    message["thread"] = "thread-of-the-meeting"
    message.send()

    answer = await heard.take()
    assert answer["body"] == f"You said: {QUESTION}"
    assert answer["from"] == bob.boundjid
    assert answer["thread"] == "thread-of-the-meeting"
    assert str(answer["e2e"]["assurance"]) == "vouched"
    assert answer["e2e"]["session"].protocol == "TLSv1.3"
    assert answer["e2e"]["session"].group == "X25519MLKEM768"

    assert stage.readable("e2e:security:0"), "the tap saw nothing at all"
    words = (QUESTION, "You said", "secret meeting", "first-of-all", "thread-of", "<message", "<body", "<subject", "<thread")
    assert stage.readable(*words) == []

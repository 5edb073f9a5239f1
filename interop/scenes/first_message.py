"""The first message to a bot without encryption code, and its answer, go through a session: the server reads no word."""

from __future__ import annotations

from slixmpp import Message

from interop.harness import Harness
from interop.helpers import Events, echo

QUESTION = "Where shall we meet tomorrow?"


async def run(harness: Harness) -> None:
    """Alice writes to Bob's address without any preparation."""
    bob = await harness.e2e_client("bob", prepare=echo)
    alice = await harness.e2e_client("alice")
    heard = Events(alice, "message")

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

    assert harness.find_text("e2e:security:0"), "the tap saw nothing at all"
    words = (QUESTION, "You said", "secret meeting", "first-of-all", "thread-of", "<message", "<body", "<subject", "<thread")
    assert harness.find_text(*words) == []

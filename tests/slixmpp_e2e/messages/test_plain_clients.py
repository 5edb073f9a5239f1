"""A peer whose client has never heard of us: chat, receipts (XEP-0184), typing (XEP-0085), markers (XEP-0333), both ways."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import PeerWithoutE2E
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e

EXTRAS = ("xep_0184", "xep_0085", "xep_0333")


async def two(env: Env, policy: str, load: bool) -> tuple[ClientXMPP, ClientXMPP]:
    alice, bob = await env.client(ALICE, *EXTRAS, policy=policy), await env.client(BOB, *EXTRAS, load=load)
    await env.settle(alice, bob)
    return alice, bob


def say(client: ClientXMPP, to: str, body: str) -> str:
    message: Any = client.make_message(mto=to, mbody=body, mtype="chat")
    message["request_receipt"] = True
    message["chat_state"] = "active"
    message["markable"] = True
    message.send()
    return str(message["id"])


def types(client: ClientXMPP, to: str) -> None:
    message: Any = client.make_message(mto=to, mtype="chat")
    message["chat_state"] = "composing"
    message.send()


@pytest.mark.parametrize("load", [False, True], ids=["without", "with encryption"])
async def test_chat_under_prefer(env: Env, load: bool) -> None:
    alice, bob = await two(env, "prefer", load)
    label = "vouched" if load else "none"
    for one, other, to in ((alice, bob, BOB), (bob, alice, ALICE)):
        heard, typing, receipt = Events(other, "message"), Events(other, "chatstate_composing"), Events(one, "receipt_received")
        sent = say(one, to, "are you there")
        types(one, to)
        came = [await heard.take(), await typing.take(), await receipt.take()]
        assert came[0]["body"] == "are you there"
        assert came[2]["receipt"] == sent
        ours = came if load else [stanza for stanza in came if stanza["to"].full == ALICE]
        assert ours
        assert {str(stanza["e2e"]["assurance"]) for stanza in ours} == {label}
    assert bool(env.in_clear("are you there")) is not load
    assert bool(env.in_clear("urn:xmpp:receipts'", 'urn:xmpp:receipts" id')) is not load


async def test_chat_under_require(env: Env) -> None:
    """Nothing leaves in clear and nothing is delivered; no receipt, typing notice or error tells the peer that we are there."""
    alice, bob = await two(env, "require", load=False)
    failed, refused, heard = (Events(alice, name) for name in ("e2e_send_failed", "e2e_plaintext_refused", "message"))
    back, typing = [Events(bob, name) for name in ("message", "receipt_received", "message_error")], Events(alice, "chatstate")
    say(alice, BOB, "are you there")
    types(alice, BOB)
    for _ in range(2):
        assert isinstance((await failed.take()).error, PeerWithoutE2E)
    say(bob, ALICE, "it is me")
    types(bob, ALICE)
    for _ in range(2):
        assert (await refused.take()).stanza["from"].full == BOB
    await env.settle(alice, bob)
    assert [len(each) for each in (failed, refused, heard, typing, *back)] == [0] * 7
    assert env.in_clear("are you there") == []


async def test_a_bot_answers_a_plain_client_in_clear_until_it_is_told_otherwise(env: Env) -> None:
    """Under ``prefer`` an unmodified bot's reply goes the way of the question; after ``require`` it hears nothing from them."""
    alice, bob = await two(env, "prefer", load=False)
    alice.add_event_handler("message", lambda message: message.reply("an answer").send())
    heard, refused = Events(bob, "message"), Events(alice, "e2e_plaintext_refused")
    say(bob, ALICE, "a question")
    assert await heard.bodies(1) == ["an answer"]
    e2e(alice).set_policy(BOB, "require")
    say(bob, ALICE, "a question")
    await refused.take()
    await env.settle(alice, bob)
    assert len(heard) == 0

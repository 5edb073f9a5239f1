"""A message for an open session passes the filters of others at once, as they stand, and no task is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from slixmpp import ClientXMPP, Message
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp import adapter
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, turns

Filter = Callable[[StanzaBase], Any]


async def two(env: Env) -> tuple[ClientXMPP, Events]:
    """Return Alice, who has a session with Bob and a route to him, and what he hears."""
    alice, bob = await env.client(ALICE, "xep_0115"), await env.client(BOB)
    await env.settle(alice, bob)
    heard = Events(bob, "message")
    for number in range(2):  # with the second one the route is known again
        alice.send_message(mto=BOB, mbody=f"first {number}", mtype="chat")
        await heard.take()
    return alice, heard


def is_straight(client: ClientXMPP, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note of each message that comes to our first filter whether it is dealt with there."""
    outgoing: Any = e2e(client)._client._outgoing
    go, noted = outgoing._go_straight, []

    def note(stanza: Message) -> bool:
        noted.append(go(stanza))
        return bool(noted[-1])

    monkeypatch.setattr(outgoing, "_go_straight", note)
    return noted


async def test_no_task_is_made_for_a_message(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """xep_0115's filter, which is there, is asynchronous: without us, slixmpp makes a task of it for each stanza."""
    alice, heard = await two(env)
    straight, tasks, create = is_straight(alice, monkeypatch), [], asyncio.create_task

    def count(coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        tasks.append(coroutine.__qualname__)
        return create(coroutine, **kwargs)

    monkeypatch.setattr(asyncio, "create_task", count)
    for number in range(3):
        alice.send_message(mto=BOB, mbody=str(number), mtype="chat")
    assert await heard.bodies(3) == ["0", "1", "2"]
    assert (straight, tasks) == ([True] * 3, [])
    alice.send_presence(pstatus="here")
    await turns()
    assert tasks, "presence goes the ordinary way, and gets its caps"


async def test_filters_of_others_change_and_drop_messages_in_their_order(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, heard = await two(env)
    straight = is_straight(alice, monkeypatch)

    def add(letter: str) -> Filter:
        def change(stanza: StanzaBase) -> StanzaBase | None:
            if isinstance(stanza, Message):
                stanza["body"] += letter
            return None if isinstance(stanza, Message) and stanza["body"] == "drop ab" else stanza

        return change

    before: list[str] = []
    for letter in "ab":
        alice.add_filter("out", add(letter))

    def note(stanza: StanzaBase) -> StanzaBase:
        before.append(stanza.name)
        return stanza

    alice.add_filter("out", note, order=adapter._FRONT)
    for body in ("one ", "drop ", "two "):
        alice.send_message(mto=BOB, mbody=body, mtype="chat")
    assert await heard.bodies(2) == ["one ab", "two ab"]
    assert straight == [True] * 3
    assert before.count("message") == 3, "what stands in front of us is asked once"


async def test_a_filter_that_raises_drops_its_message_alone(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    """As slixmpp has it."""
    alice, heard = await two(env)

    def refuse(stanza: StanzaBase) -> StanzaBase:
        if isinstance(stanza, Message) and stanza["body"] == "bad":
            raise ValueError("not this one")
        return stanza

    alice.add_filter("out", refuse)
    for body in ("bad", "good"):
        alice.send_message(mto=BOB, mbody=body, mtype="chat")
    assert await heard.bodies(1) == ["good"]
    assert "Exception raised in send queue" in caplog.text


async def test_an_asynchronous_filter_is_waited_for_and_nothing_overtakes(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, heard = await two(env)
    straight, gate = is_straight(alice, monkeypatch), asyncio.Event()

    async def wait(stanza: StanzaBase) -> StanzaBase:
        await gate.wait()
        return stanza

    alice.add_filter("out", wait)
    alice.send_message(mto=BOB, mbody="slow", mtype="chat")
    await turns()
    alice.del_filter("out", wait)
    alice.send_message(mto=BOB, mbody="behind", mtype="chat")
    await turns()
    gate.set()
    assert await heard.bodies(2) == ["slow", "behind"]
    assert straight[0] is False


@pytest.mark.parametrize("other", ["an iq", "a room's", "policy off", "another plugin encrypts"])
async def test_all_else_goes_the_ordinary_way(env: Env, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    alice, heard = await two(env)
    straight = is_straight(alice, monkeypatch)
    if other == "policy off":
        e2e(alice).set_policy(BOB, "off")
        await turns()
    if other == "another plugin encrypts":
        alice.add_filter("out_sce", lambda stanza: stanza)
    if other == "an iq":
        alice.make_iq_get(queryxmlns="jabber:iq:version", ito=BOB).send(callback=lambda reply: None)
    elif other == "a room's":
        alice.send_message(mto="room@rooms.localhost", mbody="all", mtype="groupchat")
    else:
        alice.send_message(mto=BOB, mbody="word", mtype="chat")
        message = await heard.take()
        assert (message["body"], message["e2e"]["session"] is None) == ("word", other == "policy off")
    await turns()
    assert True not in straight

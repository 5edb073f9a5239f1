"""Beside XEP-0198 and the filters of other plugins nothing encrypted is resent in plaintext, and the counts stay right."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.errors import NotSentReason
from slixmpp_e2e.xmpp import adapter, discovery
from tests.slixmpp_e2e.env import ALICE, BOB, SECRET, Env, Events, ask, block, e2e, echo, refused, turns, until
from xmpp_e2e.errors import BytestreamFailed
from xmpp_loopback import offline, online, reconnect, to_text


async def clients(env: Env, order: str, **config: Any) -> tuple[ClientXMPP, ClientXMPP]:
    """Return Alice, and Bob with stream management, whose filters stand before ours or behind them."""
    alice = await env.client(ALICE)
    if order == "before":
        bob = await env.client(BOB, "xep_0198", **config)
    else:
        bob = env.make(BOB, **config)
        bob.register_plugin("xep_0198")
        assert not await reconnect(bob, env.server)
        bob.send_presence()
    await env.settle(alice, bob)
    return alice, bob


async def cut(env: Env, bob: ClientXMPP, say: str = "") -> None:
    ended = Events(bob, "disconnected")
    env.server.disconnect(BOB)
    if say:
        bob.send_message(mto=ALICE, mbody=say)
    await ended.take()


def waiting(bob: ClientXMPP) -> str:
    management: Any = bob.plugin["xep_0198"]
    return "".join(str(stanza) for _, stanza in management.unacked_queue)


def agree(env: Env, bob: ClientXMPP) -> bool:
    management: Any = bob.plugin["xep_0198"]
    session = env.server._directory.session(BOB)
    assert session is not None
    assert session.acks is not None
    return (management.handled, management.seq) == (session.acks._sent, session.acks.handled)


@pytest.mark.parametrize("order", ["before", "behind"])
async def test_a_session_lives_on_when_the_stream_is_resumed(env: Env, order: str) -> None:
    """What either side sends while the connection is down arrives once, in order, and encrypted."""
    alice, bob = await clients(env, order)
    ours, theirs = await env.session(alice, bob)
    inboxes = {ALICE: Events(alice, "message"), BOB: Events(bob, "message")}
    failed = [Events(client, "e2e_send_failed") for client in (alice, bob)]

    def both(words: str) -> None:
        alice.send_message(mto=BOB, mbody=f"{SECRET} {words}")
        bob.send_message(mto=ALICE, mbody=f"{SECRET} {words}")

    for outage in range(3):
        both(f"{outage} before")
        await env.settle(alice, bob)
        both(f"{outage} on the way")
        await turns(2)
        await cut(env, bob, f"{SECRET} {outage} lost")
        both(f"{outage} away")
        await env.settle(alice)
        both(f"{outage} late")
        assert SECRET not in waiting(bob)
        assert await reconnect(bob, env.server)
        both(f"{outage} back")
        for inbox, steps in (
            (inboxes[BOB], ("before", "on the way", "away", "late", "back")),
            (inboxes[ALICE], ("before", "on the way", "lost", "away", "late", "back")),
        ):
            for step in steps:
                assert (await inbox.take())["body"] == f"{SECRET} {outage} {step}"
    await env.settle(alice, bob)
    assert (ours.is_open, theirs.is_open) == (True, True)
    assert not any(map(len, (*inboxes.values(), *failed)))
    assert env.in_clear(SECRET) == []
    assert agree(env, bob)


async def test_a_transfer_survives_the_loss_of_the_connection(env: Env) -> None:
    """Blocks that were on their way arrive in order: one that overtakes another would end the session."""
    alice, bob = await clients(env, "before")
    _, theirs = await env.session(alice, bob)
    inboxes = {ALICE: Events(alice, "message"), BOB: Events(bob, "message")}
    texts = [f"{number} " + "x" * 20_000 for number in range(60)]
    for text in texts:
        alice.send_message(mto=BOB, mbody=text)
        bob.send_message(mto=ALICE, mbody=text)
    got = await inboxes[BOB].bodies(10)
    await cut(env, bob)
    await turns()
    assert await reconnect(bob, env.server)
    assert got + await inboxes[BOB].bodies(50) == texts
    assert await inboxes[ALICE].bodies(60) == texts
    await env.settle(alice, bob)
    assert theirs.is_open
    assert agree(env, bob)


async def test_control_a_later_filter_would_leak_what_is_resent(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our filter behind XEP-0198's, where one of XEP-0420 would be, a resumption sends plaintext."""

    def add_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
        xmpp.add_filter("in", incoming)
        xmpp.add_filter("out", first, order=adapter._FRONT)
        xmpp.add_filter("out_sce", outgoing)

    def remove_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
        for mode, each in (("in", incoming), ("out", first), ("out_sce", outgoing)):
            xmpp.del_filter(mode, each)

    monkeypatch.setattr(adapter, "add_filters", add_filters)
    monkeypatch.setattr(adapter, "remove_filters", remove_filters)
    alice, bob = await clients(env, "before")
    await env.session(alice, bob)
    bob.send_message(mto=ALICE, mbody=SECRET)
    while SECRET not in waiting(bob):
        await turns(1)
    await cut(env, bob)
    assert await reconnect(bob, env.server)
    await env.settle(bob, alice)
    assert env.in_clear(SECRET) != []


@pytest.mark.parametrize("order", ["before", "behind"])
async def test_the_counts_agree_with_the_servers(env: Env, order: str) -> None:
    """What is injected is not counted, and what we keep for ourselves is: messages, requests, refusals, errors."""
    alice, bob = await clients(env, order)
    echo(bob)
    heard = Events(alice, "message")
    assert agree(env, bob)
    for number in range(10):
        alice.send_message(mto=BOB, mbody=str(number))
    await heard.bodies(10)
    ask(alice, BOB).add_done_callback(lambda done: done.exception())
    e2e(bob).set_policy("carol@localhost", "require")
    carol = await env.client("carol@localhost/c", load=False)
    carol.send_message(mto=BOB, mbody="refused")
    await env.settle(alice, carol, bob)
    assert agree(env, bob)
    await e2e(alice).close()
    await env.settle(alice, bob)
    assert agree(env, bob)


async def test_without_a_resumption_sessions_end_and_held_stanzas_fail(env: Env) -> None:
    alice, bob = await env.pair(queue_on_new_stream="fail")
    ours, theirs = await env.session(alice, bob)
    carol = await env.client("carol@localhost/c", policy="require")
    ended, failed = Events(bob, "e2e_session_closed"), Events(bob, "e2e_send_failed")
    env.server.hooks.append(lambda stanza, sender: None if sender == "carol@localhost/c" else stanza)
    await env.settle(bob)
    bob.send_message(mto="carol@localhost/c", mbody="held")
    answer = ask(bob, "carol@localhost/c")
    await turns()
    await cut(env, bob)
    happened = await ended.take()
    assert happened.session is theirs
    assert happened.clean is False
    assert isinstance(happened.error, BytestreamFailed)
    assert [(await failed.take()).stanza.name for _ in range(2)] == ["message", "iq"]
    with pytest.raises(Exception, match="connection"):
        await until(answer)
    assert isinstance(await until(ours.wait_closed()), Exception)
    env.server.hooks.clear()
    assert not await reconnect(bob, env.server)
    bob.send_presence()
    heard = Events(carol, "message")
    bob.send_message(mto="carol@localhost/c", mbody="again")
    assert await heard.bodies(1) == ["again"]
    assert env.in_clear("held", "again") == []


async def test_a_resumption_that_fails_leaves_no_blocks_behind(env: Env) -> None:
    alice, bob = await clients(env, "before")
    ours, theirs = await env.session(alice, bob)
    await cut(env, bob)
    theirs.send(bob.make_message(mto=ALICE, mbody=SECRET))
    await turns()
    session = env.server._directory.session(BOB)
    assert session is not None
    env.server._end(session)
    before = len(env.server.handled)
    assert not await reconnect(bob, env.server)
    await env.settle(bob, alice)
    assert await until(theirs.wait_closed()) is not None
    assert await until(ours.wait_closed()) is not None
    assert not [handled for handled in env.server.handled[before:] if block(handled.element, BOB)]
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("to", [ALICE, "alice@localhost"], ids=["full", "bare"])
async def test_held_stanzas_can_wait_for_the_next_stream(env: Env, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    """With ``queue_on_new_stream = "reopen"`` they are sent in a new session, in order, before what is sent later."""
    bob = await env.client(BOB, queue_on_new_stream="reopen", policy="require")
    alice = await env.client(ALICE)
    await env.settle(alice, bob)
    heard = Events(alice, "message")
    env.server.hooks.append(lambda stanza, sender: None if sender == BOB else stanza)
    for number in range(3):
        bob.send_message(mto=to, mbody=str(number))
    await turns()
    await cut(env, bob)
    env.server.hooks.clear()
    monkeypatch.setattr("slixmpp_e2e.xmpp.presence.ARRIVAL_SECONDS", 5.0)
    assert not await reconnect(bob, env.server)
    bob.send_message(mto=to, mbody="3")
    bob.send_presence()
    assert await heard.bodies(4) == ["0", "1", "2", "3"]


async def test_what_waits_for_the_next_stream_does_not_wait_for_ever(env: Env) -> None:
    """Its time counts while our own server is away; what was sent, too."""
    bob = await env.client(BOB, policy="require", queue_seconds=0.5)
    alice = await env.client(ALICE)
    await env.session(bob, alice)
    failed, lost, ended = Events(bob, "e2e_send_failed"), Events(bob, "session_end"), Events(bob, "e2e_session_closed")
    env.server.hooks.append(lambda stanza, sender: None if sender == BOB else stanza)
    bob.send_message(mto=ALICE, mbody="sent")
    bob.send_message(mto="carol@localhost/c", mbody="waits")
    await turns()
    await cut(env, bob)
    await lost.take()
    await ended.take()
    told = {(failure := await failed.take()).stanza["body"]: failure.error for _ in range(2)}
    assert told["waits"].reason is NotSentReason.QUEUED_TOO_LONG
    assert "no connection" in str(told["waits"])
    assert told["sent"].reason is NotSentReason.UNACKNOWLEDGED
    await until(e2e(bob).flush())


async def test_what_waits_for_the_next_stream_fails_if_the_plugin_is_unloaded(env: Env) -> None:
    bob = await env.client(BOB, queue_on_new_stream="reopen", policy="require")
    failed, lost = Events(bob, "e2e_send_failed"), Events(bob, "session_end")
    env.server.hooks.append(lambda stanza, sender: None if sender == BOB else stanza)
    bob.send_message(mto=ALICE, mbody=SECRET)
    await turns()
    await cut(env, bob)
    await lost.take()
    assert len(failed) == 0
    env.unload(bob)
    assert (await failed.take()).stanza["body"] == SECRET
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_encrypting_filter_of_another_plugin_sees_plaintext(env: Env, asynchronous: bool) -> None:
    """A stanza that waited and then goes in plaintext passes the filters behind ours (XEP-0420) like any other."""
    alice = await env.client(ALICE)
    bob = await env.client(BOB, "xep_0030", load=False)
    await env.settle(alice, bob)

    def encrypt(stanza: Any) -> Any:
        if stanza.name == "message":
            stanza["body"] = stanza["body"][::-1]
        return stanza

    async def encrypt_later(stanza: Any) -> Any:
        await asyncio.sleep(0)
        return encrypt(stanza)

    alice.add_filter("out_sce", encrypt_later if asynchronous else encrypt)
    heard = Events(bob, "message")
    for body in ("ghi", "jkl"):
        alice.send_message(mto=BOB, mbody=body)
    assert await heard.bodies(2) == ["ihg", "lkj"]
    assert env.in_clear("ghi", "jkl") == []


async def test_an_answer_passes_an_encrypting_filter_of_another_plugin(env: Env) -> None:
    """It comes by our filter twice: its request is not forgotten after the first time."""
    alice = await env.client(ALICE, "xep_0030", load=False)
    bob = await env.client(BOB)
    bob.add_filter("out_sce", lambda stanza: stanza)
    await env.settle(alice, bob)
    for _ in range(2):  # before the route is known, and after
        assert "No handlers registered" in await refused(ask(alice, BOB))


async def test_plaintext_is_not_lost_while_the_connection_is_down(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The route to a stranger is found, by a timeout, just when the stream waits for its resumption."""
    monkeypatch.setattr(discovery, "_TIMEOUT", 0.1)
    env.server.hooks.append(lambda stanza, sender: None if "disco#info" in to_text(stanza) else stanza)
    alice = await env.client(ALICE, load=False)
    bob = await env.client(BOB, "xep_0198")
    await env.settle(alice, bob)
    heard = Events(alice, "message")
    bob.send_message(mto=ALICE, mbody="in clear")
    await turns()
    await cut(env, bob)
    while (BOB, ALICE) not in e2e(bob)._client.routes.known:
        await turns(1)
    assert await reconnect(bob, env.server)
    assert await heard.bodies(1) == ["in clear"]
    await env.settle(alice, bob)
    assert len(heard) == 0


async def test_nothing_of_slixmpp_runs_on_when_a_client_is_offline(env: Env) -> None:
    """``offline()`` ends the sending task that slixmpp leaves behind, and the client can connect again."""
    running = asyncio.all_tasks()
    bob = await env.client(BOB, load=False)
    for _ in range(2):
        assert asyncio.all_tasks() - running
        await offline(bob)
        await turns()
        assert not asyncio.all_tasks() - running
        await online(bob, env.server)

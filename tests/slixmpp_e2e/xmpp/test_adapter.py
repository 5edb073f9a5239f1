"""Beside XEP-0198 and other plugins' filters: what is diverted is never resent in clear, and the counts stay right."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.basexmpp import BaseXMPP

from slixmpp_e2e.xmpp import adapter, discovery
from tests.slixmpp_e2e.test_switchboard import ask
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, block, e2e, echo, turns, until
from xmpp_e2e.errors import TransportFailed
from xmpp_loopback import back_online, offline, online, to_text

SECRET = "attack at dawn"


async def clients(world: World, order: str, **config: Any) -> tuple[ClientXMPP, ClientXMPP]:
    """Alice, and Bob with stream management: its filters before ours, or behind them."""
    alice = await world.client(ALICE)
    if order == "before":
        bob = await world.client(BOB, "xep_0198", **config)
    else:
        bob = world.make(BOB, **config)
        bob.register_plugin("xep_0198")
        assert not await back_online(bob, world.server)
        bob.send_presence()
    await world.settle(alice, bob)
    return alice, bob


async def cut(world: World, bob: ClientXMPP, say: str = "") -> None:
    """Cut Bob's connection and wait until he has noticed; what he says to Alice before that is lost on the way."""
    ended = Heard(bob, "disconnected")
    world.server.disconnect(BOB)
    if say:
        bob.send_message(mto=ALICE, mbody=say)
    await ended.take()


def waiting(bob: ClientXMPP) -> str:
    """What XEP-0198 keeps to send it again."""
    management: Any = bob.plugin["xep_0198"]
    return "".join(str(stanza) for _, stanza in management.unacked_queue)


def agree(world: World, bob: ClientXMPP) -> bool:
    """Have client and server counted the same stanzas, both ways?"""
    management: Any = bob.plugin["xep_0198"]
    session = world.server._directory.session(BOB)
    assert session is not None
    assert session.acks is not None
    return (management.handled, management.seq) == (session.acks._sent, session.acks.handled)


@pytest.mark.parametrize("order", ["before", "behind"])
async def test_a_session_lives_on_when_the_stream_is_resumed(world: World, order: str) -> None:
    """What either side sends while the connection is away arrives once and in order, and nothing of it in clear."""
    alice, bob = await clients(world, order)
    ours, theirs = await world.session(alice, bob)
    inboxes = {ALICE: Heard(alice, "message"), BOB: Heard(bob, "message")}
    failed = [Heard(client, "e2e_send_failed") for client in (alice, bob)]

    def both(words: str) -> None:
        alice.send_message(mto=BOB, mbody=f"{SECRET} {words}")
        bob.send_message(mto=ALICE, mbody=f"{SECRET} {words}")

    for outage in range(3):
        both(f"{outage} before")
        await world.settle(alice, bob)
        both(f"{outage} on the way")
        await turns(2)
        await cut(world, bob, f"{SECRET} {outage} lost")
        both(f"{outage} away")
        await world.settle(alice)
        both(f"{outage} late")
        assert SECRET not in waiting(bob)
        assert await back_online(bob, world.server)
        both(f"{outage} back")
        for inbox, steps in (
            (inboxes[BOB], ("before", "on the way", "away", "late", "back")),
            (inboxes[ALICE], ("before", "on the way", "lost", "away", "late", "back")),
        ):
            for step in steps:
                assert (await inbox.take())["body"] == f"{SECRET} {outage} {step}"
    await world.settle(alice, bob)
    assert (ours.is_open, theirs.is_open) == (True, True)
    assert not any(map(len, (*inboxes.values(), *failed)))
    assert world.in_clear(SECRET) == []
    assert agree(world, bob)


async def test_a_transfer_survives_the_loss_of_the_connection(world: World) -> None:
    """Blocks that were on their way, or would have been, arrive in their order: one that overtakes another ends a session."""
    alice, bob = await clients(world, "before")
    _, theirs = await world.session(alice, bob)
    inboxes = {ALICE: Heard(alice, "message"), BOB: Heard(bob, "message")}
    texts = [f"{number} " + "x" * 20_000 for number in range(60)]
    for text in texts:
        alice.send_message(mto=BOB, mbody=text)
        bob.send_message(mto=ALICE, mbody=text)
    got = await inboxes[BOB].bodies(10)
    await cut(world, bob)
    await turns()
    assert await back_online(bob, world.server)
    assert got + await inboxes[BOB].bodies(50) == texts
    assert await inboxes[ALICE].bodies(60) == texts
    await world.settle(alice, bob)
    assert theirs.is_open
    assert agree(world, bob)


async def test_control_a_later_filter_would_leak_what_is_resent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our filter behind XEP-0198's, as an encrypting one (XEP-0420) would be, a resumption sends it all in clear."""

    def add_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
        xmpp.add_filter("in", incoming)
        xmpp.add_filter("out", first, order=adapter._FRONT)
        xmpp.add_filter("out_sce", outgoing)

    def remove_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
        for mode, each in (("in", incoming), ("out", first), ("out_sce", outgoing)):
            xmpp.del_filter(mode, each)

    monkeypatch.setattr(adapter, "add_filters", add_filters)
    monkeypatch.setattr(adapter, "remove_filters", remove_filters)
    alice, bob = await clients(world, "before")
    await world.session(alice, bob)
    bob.send_message(mto=ALICE, mbody=SECRET)
    while SECRET not in waiting(bob):
        await turns(1)
    await cut(world, bob)
    assert await back_online(bob, world.server)
    await world.settle(bob, alice)
    assert world.in_clear(SECRET) != []


@pytest.mark.parametrize("order", ["before", "behind"])
async def test_the_counts_agree_with_the_servers(world: World, order: str) -> None:
    """Whatever is injected is not counted, whatever is kept for ourselves is: messages, requests, refusals, errors."""
    alice, bob = await clients(world, order)
    echo(bob)
    heard = Heard(alice, "message")
    assert agree(world, bob)
    for number in range(10):
        alice.send_message(mto=BOB, mbody=str(number))
    await heard.bodies(10)
    ask(alice, BOB).add_done_callback(lambda done: done.exception())
    e2e(bob).set_policy("carol@localhost", "require")
    carol = await world.client("carol@localhost/c", load=False)
    carol.send_message(mto=BOB, mbody="refused")
    await world.settle(alice, carol, bob)
    assert agree(world, bob)
    await e2e(alice).close()
    await world.settle(alice, bob)
    assert agree(world, bob)


# --- a new stream ----------------------------------------------------------------------------------------------------


async def test_without_a_resumption_sessions_end_and_held_stanzas_fail(world: World) -> None:
    """An unclean end is told, and what waited for a session is reported; a new stream opens new sessions."""
    alice, bob = await world.pair()
    ours, theirs = await world.session(alice, bob)
    carol = await world.client("carol@localhost/c", policy="require")
    ended, failed = Heard(bob, "e2e_session_end"), Heard(bob, "e2e_send_failed")
    world.server.interfere.append(lambda stanza, sender: None if sender == "carol@localhost/c" else stanza)
    await world.settle(bob)
    bob.send_message(mto="carol@localhost/c", mbody="held")
    answer = ask(bob, "carol@localhost/c")
    await turns()
    await cut(world, bob)
    happened = await ended.take()
    assert happened.session is theirs
    assert happened.detail.clean is False
    assert isinstance(happened.detail.error, TransportFailed)
    assert [(await failed.take()).stanza.name for _ in range(2)] == ["message", "iq"]
    with pytest.raises(Exception, match="connection"):
        await until(answer)
    assert isinstance(await until(ours.ended()), Exception)
    world.server.interfere.clear()
    assert not await back_online(bob, world.server)
    bob.send_presence()
    heard = Heard(carol, "message")
    bob.send_message(mto="carol@localhost/c", mbody="again")
    assert await heard.bodies(1) == ["again"]
    assert world.in_clear("held", "again") == []


async def test_a_resumption_that_fails_leaves_no_blocks_behind(world: World) -> None:
    """What the session had to say while the connection was away is not said in the new stream."""
    alice, bob = await clients(world, "before")
    ours, theirs = await world.session(alice, bob)
    await cut(world, bob)
    theirs.send(bob.make_message(mto=ALICE, mbody=SECRET).xml)
    await turns()
    session = world.server._directory.session(BOB)
    assert session is not None
    world.server._end(session)
    before = len(world.server.seen)
    assert not await back_online(bob, world.server)
    await world.settle(bob, alice)
    assert await until(theirs.ended()) is not None
    assert await until(ours.ended()) is not None
    assert not [handled for handled in world.server.seen[before:] if block(handled.element, BOB)]
    assert world.in_clear(SECRET) == []


@pytest.mark.parametrize("to", [ALICE, "alice@localhost"], ids=["full", "bare"])
async def test_held_stanzas_can_wait_for_the_next_stream(
    world: World, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """With held_on_new_stream = "reopen" they are sent in a new session, in order, before what is sent later."""
    bob = await world.client(BOB, held_on_new_stream="reopen", policy="require")
    alice = await world.client(ALICE)
    await world.settle(alice, bob)
    heard = Heard(alice, "message")
    world.server.interfere.append(lambda stanza, sender: None if sender == BOB else stanza)
    for number in range(3):
        bob.send_message(mto=to, mbody=str(number))
    await turns()
    await cut(world, bob)
    world.server.interfere.clear()
    monkeypatch.setattr("slixmpp_e2e.xmpp.presence.ARRIVAL_SECONDS", 5.0)
    assert not await back_online(bob, world.server)
    bob.send_message(mto=to, mbody="3")
    bob.send_presence()
    assert await heard.bodies(4) == ["0", "1", "2", "3"]


# --- other plugins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_encrypting_filter_of_another_plugin_sees_what_goes_in_clear(world: World, asynchronous: bool) -> None:
    """A stanza that was held and then goes in clear passes the filters behind ours (XEP-0420) like any other."""
    alice = await world.client(ALICE)
    bob = await world.client(BOB, "xep_0030", load=False)
    await world.settle(alice, bob)

    def encrypt(stanza: Any) -> Any:
        if stanza.name == "message":
            stanza["body"] = stanza["body"][::-1]
        return stanza

    async def encrypt_later(stanza: Any) -> Any:
        await asyncio.sleep(0)
        return encrypt(stanza)

    alice.add_filter("out_sce", encrypt_later if asynchronous else encrypt)
    heard = Heard(bob, "message")
    for body in ("ghi", "jkl"):
        alice.send_message(mto=BOB, mbody=body)
    assert await heard.bodies(2) == ["ihg", "lkj"]
    assert world.in_clear("ghi", "jkl") == []


async def test_what_was_held_goes_out_in_clear_before_what_follows(world: World) -> None:
    """While it is found out that a peer has no encryption, order is kept."""
    alice = await world.client(ALICE)
    bob = await world.client(BOB, "xep_0030", load=False)
    await world.settle(alice, bob)
    heard, stop = Heard(bob, "message"), asyncio.Event()

    async def chatter() -> None:
        for number in range(200):
            alice.send_message(mto=BOB, mbody=str(number))
            await asyncio.sleep(0)
        stop.set()

    await asyncio.gather(chatter(), stop.wait())
    assert await heard.bodies(200) == [str(number) for number in range(200)]


async def test_what_may_go_in_clear_is_not_lost_while_the_connection_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way to a stranger is found out, by a timeout, just when the stream waits for its resumption."""
    monkeypatch.setattr(discovery, "_TIMEOUT", 0.1)
    world.server.interfere.append(lambda stanza, sender: None if "disco#info" in to_text(stanza) else stanza)
    alice = await world.client(ALICE, load=False)
    bob = await world.client(BOB, "xep_0198")
    await world.settle(alice, bob)
    heard = Heard(alice, "message")
    bob.send_message(mto=ALICE, mbody="in clear")
    await turns()
    await cut(world, bob)
    while e2e(bob).switchboard.outbox.route(BOB, ALICE) is None:
        await turns(1)
    assert await back_online(bob, world.server)
    assert await heard.bodies(1) == ["in clear"]
    await world.settle(alice, bob)
    assert len(heard) == 0


async def test_nothing_of_slixmpp_runs_on_when_a_client_is_offline(world: World) -> None:
    """slixmpp leaves its sending task behind; ours ends it, and the client can come back all the same."""
    running = asyncio.all_tasks()
    bob = await world.client(BOB, load=False)
    for _ in range(2):
        assert asyncio.all_tasks() - running
        await offline(bob)
        await turns()
        assert not asyncio.all_tasks() - running
        await online(bob, world.server)

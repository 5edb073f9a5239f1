"""What is sent through us meets one end, where several things happen at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from slixmpp import JID

from slixmpp_e2e.store.errors import StoreError, StoreReason
from tests.slixmpp_e2e.env import ALICE, BOTS, Env, Events, block, e2e, jingle, turns, until
from tests.slixmpp_e2e.messages.fake_sessions import ONE, message, through
from tests.slixmpp_e2e.messages.test_delivery import Told, open_both, say
from tests.slixmpp_e2e.messages.test_unacknowledged import AWAY, over, silent
from xmpp_e2e.errors import BytestreamFailed


async def test_one_stanza_that_is_sent_twice_at_once(env: Env) -> None:
    alice, bob, *_ = await open_both(env)
    stanza = alice.make_message(bob.boundjid.full, "twice")
    both = await until(asyncio.gather(e2e(alice).send(stanza), e2e(alice).send(stanza)))
    assert [len(sessions) for sessions in both] == [1, 1]
    assert stanza["e2e"]["delivery"] == "delivered"


async def test_a_handler_of_what_was_sent_that_ends_everything() -> None:
    fake, [one] = silent(ONE)
    end = over(fake)
    genuine = fake.recorder.note_sent

    def note(stanza: Any, driver: Any) -> None:
        genuine(stanza, driver)
        fake.end(one, AWAY)
        end()

    object.__setattr__(fake.queue._senders, "sent", note)
    fake.send("0", ONE)
    await turns(6)
    fake.queue.send(message("1"), ALICE, ONE, through(ONE))
    await turns(6)
    assert not fake.queue.outstanding


async def test_what_is_kept_for_the_next_stream_is_waited_for_and_can_be_withdrawn(env: Env) -> None:
    alice, bob = await env.pair()
    of_alice = Told(alice)
    held = env.hold(jingle("session-initiate"))
    say(alice, bob, "one")
    await held.caught()
    flushing = asyncio.ensure_future(e2e(alice).flush())
    lost = Events(alice, "session_end")
    alice.abort()
    await lost.take()
    await turns()
    assert not flushing.done()
    assert e2e(alice).cancel(bob.boundjid.bare) == 1
    await until(flushing)
    assert (await of_alice.failed.take()).stanza["body"] == "one"


async def test_two_addresses_of_a_component_do_not_wait_for_each_other(env: Env) -> None:
    component = await env.component()
    alice = await env.client(ALICE, accept_from="anyone")
    told, heard, closed = Told(component), Events(alice, "message"), Events(component, "e2e_session_closed")
    ours = [JID(f"bot@{BOTS}/{name}") for name in "ab"]
    for own_jid in ours:
        session = await until(e2e(component).connect(ALICE, own_jid=str(own_jid)))
        await until(session.wait_open())
    for number in range(5):
        for own_jid in ours:
            component.send_message(mto=JID(ALICE), mfrom=own_jid, mbody=str(number), mtype="chat")
    came = [await heard.take() for _ in range(10)]
    for own_jid in ours:
        assert [each["body"] for each in came if each["from"] == own_jid] == list("01234")
    for _ in range(10):
        await told.delivered.take()
    assert not len(closed) + len(told.failed)


async def test_a_session_with_the_same_key_asks_about_what_another_has_left(env: Env, tmp_path: Path) -> None:
    """Two programs of Bob share a store, and so a key. The one whose session is idle is asked, and gets all."""
    alice = await env.client("alice@localhost/x")
    bobs = [await env.client(f"bob@localhost/{name}", store_path=str(tmp_path / "bob.db")) for name in "12"]
    told, heard = Told(alice), [Events(bob, "message") for bob in bobs]
    for bob, box in zip(bobs, heard, strict=True):
        await until(e2e(alice).send(alice.make_message(bob.boundjid.full, "first")))
        await box.take()
    await env.settle(alice, *bobs)
    first = next(session for session in e2e(alice).sessions() if session.peer.endswith("/1"))
    held = env.hold(block)
    say(alice, bobs[0], "left")
    await held.caught()
    held.discard()
    env.server.hooks.remove(held)
    for _ in range(2):
        await told.delivered.take()
    first._driver.abort_unreachable(BytestreamFailed("cut"))
    assert (await told.delivered.take()).stanza["body"] == "left"


async def test_a_stanza_that_cannot_be_judged_was_not_handled(env: Env) -> None:
    """The store fails while a stanza that came is judged: the session ends, and its sender does not hear that it arrived."""
    alice, bob, of_alice, of_bob = await open_both(env)
    incoming: Any = e2e(bob)._client._incoming
    genuine, ended = incoming._may_forward, Events(bob, "e2e_session_closed")

    def fail_once(*args: Any) -> bool:
        incoming._may_forward = genuine
        raise StoreError("the disk fails", StoreReason.BUSY)

    incoming._may_forward = fail_once
    say(alice, bob, "one", "two")
    await ended.take()
    assert await of_bob.heard.bodies(2) == ["one", "two"]
    assert [(await of_alice.delivered.take()).stanza["body"] for _ in range(2)] == ["one", "two"]

"""What leaves in one turn of the event loop leaves in one write; an answer that nobody looks forward to goes with others."""

from __future__ import annotations

from typing import Any, cast
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.xmpp.turn_writer import LATE_IQS, LATE_SECONDS, TurnWriter
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, turns
from tests.slixmpp_e2e.messages.fake_sessions import FakeLoop
from tests.slixmpp_e2e.xmpp.test_iq_channel import Queue


class Writes:
    """A writer on a clock that the test turns, and what it has written: lists of ids."""

    def __init__(self) -> None:
        self._xmpp = cast(Any, Queue())
        self._xmpp.loop = self.loop = FakeLoop()
        self.writer = TurnWriter(self._xmpp)
        self.written: list[list[str]] = []
        self.writer.write = lambda iqs: self.written.append([iq.get("id", "") for iq in iqs])

    def put(self, *names: str) -> None:
        for name in names:
            self.writer.put(Element("{jabber:client}iq", {"id": name}))

    def late(self, *names: str) -> None:
        for name in names:
            self.writer.put_late(Element("{jabber:client}iq", {"id": name}))


@pytest.fixture
async def writes() -> Writes:
    return Writes()


async def test_a_turn_is_one_write(writes: Writes) -> None:
    writes.put("1", "2")
    assert writes.written == []
    await turns()
    writes.put("3")
    await turns()
    assert writes.written == [["1", "2"], ["3"]]


async def test_what_comes_of_a_read_leaves_with_it(writes: Writes) -> None:
    writes.put("0")
    writes.writer.begin_read()
    writes.put("1")
    writes.late("2")
    assert writes.written == []
    writes.writer.end_read()
    assert writes.written == [["2", "0", "1"]]
    writes.writer.begin_read()
    writes.writer.end_read()
    writes.loop.advance(1)
    assert len(writes.written) == 1


async def test_a_late_answer_waits_for_something_to_go_with(writes: Writes) -> None:
    writes.late("1")
    writes.loop.advance(LATE_SECONDS / 2)
    assert writes.written == []
    writes.put("2")
    await turns()
    assert writes.written == [["1", "2"]]
    writes.loop.advance(1)
    assert len(writes.written) == 1


async def test_it_does_not_wait_for_long(writes: Writes) -> None:
    writes.writer.begin_read()
    writes.late("1")
    writes.writer.end_read()
    assert writes.written == []
    writes.loop.advance(LATE_SECONDS)
    assert writes.written == [["1"]]


@pytest.mark.parametrize("reads", [False, True])
async def test_not_many_wait(writes: Writes, reads: bool) -> None:
    """Or the window of the peer, who may have more to say meanwhile, would run out."""
    names = [str(number) for number in range(LATE_IQS)]
    if reads:
        writes.writer.begin_read()
    writes.late(*names)
    if reads:
        writes.writer.end_read()
    else:
        await turns()
    assert writes.written == [names]


async def test_without_a_connection_all_waits_in_order(writes: Writes) -> None:
    writes.late("1")
    writes.put("2")
    writes.writer.pause()
    writes.late("3")
    writes.put("4")
    writes.writer.flush()
    writes.writer.begin_read()
    writes.writer.end_read()
    writes.loop.advance(1)
    assert writes.written == []
    writes.writer.resume()
    await turns()
    assert writes.written == [["1", "3", "2", "4"]]
    writes.put("5")
    writes.late("6")
    writes.writer.clear()
    writes.loop.advance(1)
    assert len(writes.written) == 1


async def test_an_echo_takes_one_write_a_side(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block with the words; and its acknowledgement with the block of the answer."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard = Events(alice, "message")
    bob.add_event_handler("message", lambda message: message.reply("echo").send())
    alice.send_message(mto=BOB, mbody="first", mtype="chat")
    await heard.take()
    written: dict[str, list[bytes]] = {ALICE: [], BOB: []}
    for client in (alice, bob):
        transport, kept = client.transport, written[client.boundjid.full]
        assert transport is not None
        write = transport.write

        def note(data: bytes, write: Any = write, kept: list[bytes] = kept) -> None:
            kept.append(data)
            write(data)

        monkeypatch.setattr(transport, "write", note)
    alice.send_message(mto=BOB, mbody="second", mtype="chat")
    await heard.take()
    [out], [back] = written.values()
    assert (out.count(b"<data"), back.count(b"<data"), back.count(b"type='result'")) == (1, 1, 1)

"""What has come is acknowledged at once, so that no server waits for the kernel's delay."""

from __future__ import annotations

import socket

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.xmpp import quick_acks
from slixmpp_e2e.xmpp.quick_acks import QuickAcks
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, turns


class FakeTransport:
    """A transport that keeps what is written, and is its own socket."""

    def __init__(self, error: Exception | None = None) -> None:
        self.options: list[tuple[int, ...]] = []
        self.written: list[bytes] = []
        self._error = error

    def get_extra_info(self, name: str) -> FakeTransport:
        assert name == "socket"
        return self

    def setsockopt(self, *option: int) -> None:
        if self._error is not None:
            raise self._error
        self.options.append(option)

    def write(self, data: bytes) -> None:
        self.written.append(data)


async def reading(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport | None) -> ClientXMPP:
    """Return a client with this transport, whose stream is up."""
    client = ClientXMPP(ALICE, "secret")
    monkeypatch.setattr(client, "transport", transport)
    monkeypatch.setattr(ClientXMPP, "data_received", lambda self, data: None)
    client.session_bind_event.set()
    return client


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has it")
async def test_each_read_is_acknowledged(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await env.client(ALICE)
    told, heard = FakeTransport(), Events(alice, "message")
    assert alice.transport is not None
    monkeypatch.setattr(alice.transport, "get_extra_info", lambda name: told)
    bob = await env.client(BOB)
    bob.send_message(mto=ALICE, mbody="hello")
    await heard.take()
    await turns()
    assert told.options
    assert set(told.options) == {(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)}


async def test_a_nonza_is_acknowledged_too_and_nothing_when_the_plugin_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_acks, "TCP_QUICKACK", 12)
    client = await reading(monkeypatch, told := FakeTransport())
    acks = QuickAcks(client)
    client.data_received(b"<r xmlns='urn:xmpp:sm:3'/>")
    acks.stop()
    client.data_received(b"<r xmlns='urn:xmpp:sm:3'/>")
    assert told.options == [(socket.IPPROTO_TCP, 12, 1)]


@pytest.mark.parametrize("transport", [None, FakeTransport(OSError("closed"))])
async def test_a_socket_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport | None) -> None:
    monkeypatch.setattr(quick_acks, "TCP_QUICKACK", 12)
    client = await reading(monkeypatch, transport)
    QuickAcks(client)
    client.data_received(b" ")


@pytest.mark.parametrize(("answers", "blanks"), [("nothing", 1), ("now", 0), ("later", 0)])
async def test_elsewhere_a_blank_is_written_unless_something_else_is(
    monkeypatch: pytest.MonkeyPatch, answers: str, blanks: int
) -> None:
    """Once for all that comes in one turn."""
    monkeypatch.setattr(quick_acks, "TCP_QUICKACK", None)
    client = await reading(monkeypatch, told := FakeTransport())
    if answers == "now":
        monkeypatch.setattr(ClientXMPP, "data_received", lambda self, data: client.send_raw("<a/>"))
    acks = QuickAcks(client)
    for _ in range(2):
        client.data_received(b"<r/>")
    if answers == "later":
        client.send_raw("<a/>")
    await turns()
    assert told.written.count(b" ") == blanks
    assert not told.options
    client.data_received(b"<r/>")
    acks.stop()
    await turns()
    client.data_received(b"<r/>")
    await turns()
    assert told.written.count(b" ") == blanks


async def test_no_blank_is_written_into_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte between <proceed/> and TLS, or before the stream's header, ends the stream."""
    monkeypatch.setattr(quick_acks, "TCP_QUICKACK", None)
    client = await reading(monkeypatch, told := FakeTransport())
    client.session_bind_event.clear()
    QuickAcks(client)
    client.data_received(b"<proceed/>")
    await turns()
    assert told.written == []

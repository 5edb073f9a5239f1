"""Attack 15: a peer who is authenticated writes XML that is meant to hurt, inside a real TLS session.

The reader's own tests have every rule, byte by byte (`tests/xmpp_e2e/stream/test_reader.py`); here whole sessions meet it.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks import hostile_peer
from tests.pair import Pair, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, StreamError
from xmpp_e2e.states import State
from xmpp_e2e.stream import MAX_STANZA, reader
from xmpp_e2e.stream.reader import ReaderLimits
from xmpp_e2e.types import Role

ENDLESS = 2 * 1024 * 1024
"""Bytes: eight times what one stanza may have."""
LAUGHS = b"".join(b"<!ENTITY l%d '%s'>" % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
BOMB = b"<!DOCTYPE x [<!ENTITY l0 'ha'>" + LAUGHS + b"]><message><body>&l9;</body></message>"

CASES: dict[str, tuple[bytes, str]] = {
    "DTD": (b"<!DOCTYPE x><message/>", "not-well-formed restricted-xml"),
    "entity bomb": (BOMB, "not-well-formed restricted-xml"),
    "undefined entity": (b"<message><body>&l9;</body></message>", "restricted-xml"),
    "instruction": (b"<message><?php evil() ?></message>", "restricted-xml"),
    "instruction between": (b"<?php evil() ?>", "restricted-xml"),
    "comment": (b"<message><!-- evil --></message>", "restricted-xml"),
    "comment between": (b"<!-- evil -->", "restricted-xml"),
    "XML declaration": (b"<?xml version='1.0'?>", "not-well-formed restricted-xml"),
    "depth": (b"<message>" + b"<a>" * 70, "policy-violation"),
    "bottomless": (b"<message>" + b"<a>" * 300_000, "policy-violation"),
    "huge attribute": (b"<message a='" + b"x" * 20_000 + b"'/>", "policy-violation"),
    "endless attribute": (b"<message a='" + b"x" * ENDLESS, "policy-violation"),
    "many attributes": (b"<message " + b"".join(b"a%d='' " % n for n in range(70)) + b"/>", "policy-violation"),
    "endless name": (b"<" + b"m" * ENDLESS, "policy-violation"),
    "long name": (b"<message><" + b"m" * 300 + b"/></message>", "policy-violation"),
    "endless text": (b"<message><body>" + b"x" * ENDLESS, "policy-violation"),
    "endless stanza": (b"<message>" + b"<a/>" * (ENDLESS // 4), "policy-violation"),
    "endless CDATA": (b"<message><body><![CDATA[" + b"x" * ENDLESS, "policy-violation"),
    "text between": (b"evil", "bad-format"),
    "second root": (b"</stream:stream><message/>", "not-well-formed"),
    "root in a root": (b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>", "unsupported-stanza-type"),
    "wrong nesting": (b"<message><body></message></body>", "not-well-formed"),
    "bad UTF-8": (b"<message><body>\xc0\xaf</body></message>", "not-well-formed"),
    "surrogate": (b"<message><body>\xed\xa0\x80</body></message>", "not-well-formed"),
    "truncated multibyte": (b"<message><body>\xe2\x82</body></message>", "not-well-formed"),
    "NUL": (b"<message><body>\x00</body></message>", "not-well-formed"),
    "character XML forbids": (b"<message><body>&#1;</body></message>", "not-well-formed"),
    "undeclared prefix": (b"<x:message/>", "bad-namespace-prefix"),
    "stranger": (b"<query xmlns='jabber:client'/>", "unsupported-stanza-type"),
}
HOSTILE = pytest.mark.parametrize(("data", "conditions"), CASES.values(), ids=CASES.keys())


def assert_refused(pair: Pair, victim: Role, conditions: str) -> None:
    side = pair.side(victim)
    assert isinstance(side.failure, StreamError)
    assert side.failure.condition in conditions.split()
    assert explain(side.failure)
    assert side.session.state is State.CLOSED
    with pytest.raises(LocalError):
        side.session.send_stanza(message("secret"))


@HOSTILE
@pytest.mark.parametrize("role", Role)
def test_in_an_open_session(role: Role, data: bytes, conditions: str) -> None:
    """A stream error and an unclean end; what came whole before it is delivered, and nothing of it; little of what is endless
    is even taken."""
    pair = Pair().open()
    pair.side(role).session.send_stanza(message("before"))
    pair.run()
    taken = hostile_peer.send_raw(pair, role, data)
    assert pair.side(role.other).stanzas == ["before"]
    assert_refused(pair, role.other, conditions)
    assert [end.clean for end in pair.side(role.other).of(events.SessionClosed)] == [False]
    assert taken <= MAX_STANZA + hostile_peer.CHUNK + 16


@HOSTILE
@pytest.mark.parametrize("role", Role)
def test_in_place_of_a_hello(role: Role, data: bytes, conditions: str) -> None:
    """The same before the hello, under the tighter limits: no session comes about."""
    pair = Pair()
    session = hostile_peer.silence(pair, role)
    pair.open()
    assert pair.side(role.other).session.state in (State.SECURED, State.SENT_DONE_EARLY)
    taken = hostile_peer.send_raw(pair, role, hostile_peer.header(session) + data)
    assert_refused(pair, role.other, conditions + " policy-violation")  # what is no hello is out of turn, too
    assert not pair.side(role.other).stanzas
    assert not pair.side(role.other).of(events.SessionOpened)
    assert taken <= reader.GREETING.stanza_bytes + hostile_peer.CHUNK


@pytest.mark.parametrize("data", [b"", b"</stream:stream", b"<message><body>\xe2\x82"], ids=["nothing", "tag", "multibyte"])
def test_cut_in_the_middle(data: bytes) -> None:
    """What is not complete when the bytes end is not delivered, and the end is unexpected."""
    pair = Pair().open()
    hostile_peer.send_raw(pair, Role.INITIATOR, data)
    pair.end_transport(Role.RESPONDER)
    assert not pair.bob.stanzas
    assert [end.clean for end in pair.bob.of(events.SessionClosed)] == [False]


# --- memory ----------------------------------------------------------------------------------------------------------


@contextmanager
def peak() -> Iterator[list[int]]:
    """Bytes that were allocated at most meanwhile, beyond those of before."""
    found: list[int] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        found.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


GREEDY = ["entity bomb", "endless attribute", "endless name", "endless text", "endless stanza", "endless CDATA"]


@pytest.mark.parametrize("case", GREEDY)
def test_what_never_ends_takes_bounded_memory(case: str) -> None:
    """A few megabytes at most, whatever is promised or sent; the larger part is what Python makes of 256 KiB of XML."""
    pair = Pair().open()
    with peak() as found:
        hostile_peer.send_raw(pair, Role.INITIATOR, CASES[case][0])
    assert pair.bob.session.state is State.CLOSED
    assert found[0] < 10 * 2**20


def test_control_without_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a reader without limits takes all of it, and waits for more."""
    monkeypatch.setattr(reader, "OPEN", ReaderLimits(depth=64, stanza_bytes=2**40))
    pair = Pair().open()
    data, _ = CASES["endless text"]
    assert hostile_peer.send_raw(pair, Role.INITIATOR, data) == len(data)
    assert pair.bob.session.state is State.OPEN


# --- real clients ----------------------------------------------------------------------------------------------------


FOR_CLIENTS = ("entity bomb", "comment", "bottomless", "endless attribute", "endless text", "second root", "bad UTF-8")
"""Fewer than the sessions that one account may begin in a row."""


async def test_a_client_survives_each_of_them(env: Env) -> None:
    """One session after the other is ended by its victim, never cleanly; its stream, other peers and the next session with
    the same one are unharmed."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c")
    await env.settle(bob, carol)
    heard, ended, lost = Events(bob, "message"), Events(bob, "e2e_session_closed"), Events(bob, "disconnected")
    await env.session(carol, bob)
    for data, conditions in (CASES[case] for case in FOR_CLIENTS):
        ours, _ = await env.session(alice, bob)
        channel = ours._driver.core._tls
        assert channel is not None
        channel.send(data[: MAX_STANZA + hostile_peer.CHUNK])
        ours._driver.process()
        detail = await ended.take()
        assert not detail.clean
        assert isinstance(detail.error, StreamError)
        assert detail.error.condition in conditions.split()
        await until(ours.wait_closed())
    assert len(heard) == len(lost) == 0
    carol.send_message(mto=BOB, mbody="unharmed", mtype="chat")
    alice.send_message(mto=BOB, mbody="well-behaved", mtype="chat")
    assert sorted(await heard.bodies(2)) == ["unharmed", "well-behaved"]
    assert {link.peer for link in e2e(bob).sessions()} == {ALICE, "carol@localhost/c"}

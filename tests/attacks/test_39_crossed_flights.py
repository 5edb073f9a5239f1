"""Attack 39: fast open. Offers with TLS flights cross; an error comes late; first data is replayed into another session.

One session comes of two offers; the TLS object of the other is dropped with its flight, and no TLS object is used twice.
"""

from __future__ import annotations

import gc
import weakref
from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.pair import NOBODY, Pair, Side, config, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, block, e2e, jingle, until
from xmpp_e2e import events
from xmpp_e2e.errors import (
    E2EError,
    JingleError,
    LocalError,
    PeerRefused,
    SessionCancelled,
    TLSFailed,
)
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.connection import TLSConnection
from xmpp_e2e.types import Role
from xmpp_loopback import hostile

FLIGHT = ".//{urn:x-xmpp-e2e:security:0}flight"
TIE_BREAK = ".//{urn:xmpp:jingle:errors:1}tie-break"
SECRET = "the treasure is under the oak"


class Channels:
    """Every TLS object that is made, and what each of them was fed and has written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[weakref.ref[TLSConnection]] = []
        self.fed: dict[int, bytes] = {}
        self.wrote: dict[int, bytes] = {}
        init, receive, first = TLSConnection.__init__, TLSConnection.receive, TLSConnection.flight_for_signalling

        def make(channel: TLSConnection, *args: Any, **terms: Any) -> None:
            init(channel, *args, **terms)
            channel.number = len(self.made)  # type: ignore[attr-defined]
            self.made.append(weakref.ref(channel))

        def receive_(channel: TLSConnection, data: bytes) -> bytes:
            number = channel.number  # type: ignore[attr-defined]
            self.fed[number] = self.fed.get(number, b"") + data
            return receive(channel, data)

        def first_flight(channel: TLSConnection) -> bytes:
            flight = first(channel)
            self.wrote[channel.number] = flight  # type: ignore[attr-defined]
            return flight

        monkeypatch.setattr(TLSConnection, "__init__", make)
        monkeypatch.setattr(TLSConnection, "receive", receive_)
        monkeypatch.setattr(TLSConnection, "flight_for_signalling", first_flight)

    @property
    def alive(self) -> list[int]:
        """The numbers of those that still exist."""
        gc.collect()
        return [number for number, channel in enumerate(self.made) if channel() is not None]


# --- the core --------------------------------------------------------------------------------------------------------


def test_an_abandoned_offer_takes_its_tls_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob's own offer gives way to Alice's: its TLS object is gone, an accept, an error and bytes for it do nothing."""
    channels = Channels(monkeypatch)
    own = Side(Session(Role.INITIATOR, config("bob"), NOBODY))
    own.session.offer(1000.0)
    (offer,) = own.session.jingle_to_send()
    assert offer.find(FLIGHT) is not None
    own.session.discard(1000.0)
    assert own.session._tls is None
    assert channels.alive == []
    assert own.session.jingle_to_send() == []
    pair = Pair().open()
    accept = deepcopy(pair.bob.jingle_sent[0])
    accept.set("sid", own.session.sid)
    with pytest.raises(JingleError):
        own.session.receive_jingle(accept, 1000.0)
    own.session.receive_jingle_error("conflict", 1000.0)
    own.session.receive_data(bytes(pair.bob.data_sent), 1000.0)
    with pytest.raises(LocalError):
        own.session.send_stanza(message(SECRET))
    assert own.session.data_to_send() == b""
    assert own.session.state is State.CLOSED
    assert isinstance(own.session.next_event(), events.SessionFailed)
    assert own.session.next_event() is None
    assert 0 not in channels.fed


def test_flights_that_crossed_fit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flight of the offer that gave way, put into the one that stands: another ClientHello than the client remembers."""
    lost = Session(Role.INITIATOR, config("alice"), NOBODY)
    lost.offer(1000.0)
    (other,) = lost.jingle_to_send()
    lost.discard(1000.0)

    def crossed(role: Role, element: Element) -> list[Element]:
        ours, theirs = element.find(FLIGHT), other.find(FLIGHT)
        if role is Role.INITIATOR and ours is not None and theirs is not None:
            assert ours.text != theirs.text
            ours.text = theirs.text
        return [element]

    pair = Pair(on_jingle=crossed).open()
    assert isinstance(pair.alice.failure, TLSFailed)
    for side in (pair.alice, pair.bob):
        assert not side.of(events.SessionOpened)


def test_a_late_error_does_not_end_an_open_session() -> None:
    """An answer ``conflict`` to the offer, though it was accepted: before the session is open it is a refusal, and afterwards
    nothing at all."""
    pair = Pair(on_data=lambda role, data: [])
    pair.open()
    assert pair.alice.session.state is State.SENT_DONE_EARLY
    pair.alice.session.receive_jingle_error("conflict", pair.now)
    assert isinstance(pair.run().alice.failure, PeerRefused)
    pair = Pair().open()
    pair.alice.session.receive_jingle_error("conflict", pair.now)
    pair.alice.session.send_stanza(message(SECRET))
    assert pair.run().bob.stanzas == [SECRET]


def early() -> Pair:
    """A fast opening with a stanza in Alice's first data, which has not left yet."""
    pair = Pair()
    pair.alice.session.offer(pair.now)
    for role in (Role.INITIATOR, Role.RESPONDER):
        pair.arrive(role.other, pair.collect(role))
    pair.collect_events(Role.INITIATOR)
    assert pair.alice.session.state is State.SENT_DONE_EARLY
    pair.alice.session.send_stanza(message(SECRET))
    return pair


def test_who_gives_up_is_not_told_that_nothing_arrived() -> None:
    """Bob is done and has delivered an early stanza when Alice, who has heard nothing, gives up: the error admits it."""
    pair = early()
    pair.arrive(Role.RESPONDER, pair.collect(Role.INITIATOR))
    pair.collect_events(Role.RESPONDER)
    assert pair.bob.stanzas == [SECRET]
    pair.alice.session.close(pair.now)
    pair.collect_events(Role.INITIATOR)
    assert isinstance(pair.alice.failure, SessionCancelled)
    assert "may have arrived" in explain(pair.alice.failure)


def test_first_data_counts_once() -> None:
    """First data (certificate, Finished, hello, done, stanza) comes again in its own session: the end, and no second stanza."""
    pair = early().run()
    assert pair.bob.stanzas == [SECRET]
    pair.bob.session.receive_data(bytes(pair.alice.data_sent), pair.now)
    assert isinstance(pair.run().bob.failure, TLSFailed)
    assert pair.bob.stanzas == [SECRET]


def test_first_data_fits_no_other_session() -> None:
    """The initiate is replayed to a fresh session, flight and all, and the first data behind it: nothing is delivered."""
    donor = early().run()
    fresh = Pair(on_jingle=lambda role, element: [])
    fresh.deliver(Role.RESPONDER, donor.alice.jingle_sent[0])
    fresh.run()
    fresh.bob.session.bytestream_ready(fresh.now)
    fresh.bob.session.receive_data(bytes(donor.alice.data_sent), fresh.now)
    assert isinstance(fresh.run().bob.failure, TLSFailed)
    assert not fresh.bob.stanzas


def test_control_a_tls_object_that_is_used_again() -> None:
    """Control: were a session given the TLS object and the negotiation of another, the other's first data would open it."""
    donor = Pair()
    kept: list[bytes] = []

    def keep(role: Role, data: bytes) -> list[bytes]:
        kept.append(data)
        return []

    donor.on_data = keep
    donor.open()
    assert donor.bob.session.state is State.HANDSHAKING
    fresh = Session(Role.RESPONDER, config("bob"), NOBODY)
    used = donor.bob.session
    fresh._tls, fresh._negotiation, fresh._machine.state = used._tls, used._negotiation, used.state
    fresh.receive_data(b"".join(kept), donor.now)
    assert fresh.state is State.OPEN


# --- real clients ----------------------------------------------------------------------------------------------------


async def test_one_session_of_two_offers_with_flights(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both write at once, both offers bring a flight: one session; of three TLS objects two have spoken with each other, and
    the third is gone without having been fed a byte."""
    channels = Channels(monkeypatch)
    alice, bob = await env.pair()
    hold = hostile.Hold(env.server, jingle("session-initiate"))
    env.server.hooks.append(hold)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    alice.send_message(mto=BOB, mbody="to Bob", mtype="chat")
    bob.send_message(mto=ALICE, mbody="to Alice", mtype="chat")
    await until(hold.caught(2))
    assert all(stanza.find(FLIGHT) is not None for stanza, _ in hold._held)
    hold.release()
    assert await heard[bob].bodies(1) == ["to Bob"]
    assert await heard[alice].bodies(1) == ["to Alice"]
    await env.settle(alice, bob)
    assert [len(e2e(client).sessions()) for client in (alice, bob)] == [1, 1]
    assert len(channels.made) == 3
    assert len(set(channels.wrote.values())) == 2
    assert len(channels.fed) == 2
    assert sorted(channels.fed) == channels.alive


async def test_a_late_error_for_the_offer_that_gave_way(env: Env) -> None:
    """The answer ``tie-break`` is held back until the session by the other offer is open: it ends nothing, nobody hears."""
    alice, bob = await env.pair()
    offers = hostile.Hold(env.server, jingle("session-initiate"))
    conflicts = hostile.Hold(env.server, lambda stanza, sender: stanza.find(TIE_BREAK) is not None)
    env.server.hooks += [offers, conflicts]
    heard = {client: Events(client, "message") for client in (alice, bob)}
    told = [Events(client, name) for client in (alice, bob) for name in ("e2e_session_failed", "e2e_session_closed")]
    alice.send_message(mto=BOB, mbody="to Bob", mtype="chat")
    bob.send_message(mto=ALICE, mbody="to Alice", mtype="chat")
    await until(offers.caught(2))
    offers.release()
    assert await heard[bob].bodies(1) == ["to Bob"]
    assert await heard[alice].bodies(1) == ["to Alice"]
    assert len(conflicts) == 1
    conflicts.release()
    await env.settle(alice, bob)
    assert [len(e2e(client).sessions()) for client in (alice, bob)] == [1, 1]
    alice.send_message(mto=BOB, mbody="and on", mtype="chat")
    assert await heard[bob].bodies(1) == ["and on"]
    assert not any(map(len, told))


@pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])
async def test_first_data_in_another_session(env: Env, fast: bool) -> None:
    """The server keeps Alice's first blocks of one session and puts them into the next one, in place of its own or before
    them: it fails visibly, no message comes twice, and the one after that opens."""
    alice, bob = await env.pair(fast_open=fast)
    recorder = hostile.Recorder(env.server, lambda stanza, sender: sender == ALICE and block(stanza, sender))
    env.server.hooks.append(recorder)
    heard, failed = Events(bob, "message"), Events(alice, "e2e_send_failed")
    started = Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    await until((await started.take()).session.close())
    await env.settle(alice, bob)
    env.server.hooks.remove(recorder)
    old = [deepcopy(stanza) for stanza, _ in recorder.taken]

    def swap(stanza: Element, sender: str) -> Element:
        if sender == ALICE and block(stanza, sender) and old:
            stanza[0].text = old.pop(0)[0].text
        return stanza

    env.server.hooks.append(swap)
    alice.send_message(mto=BOB, mbody="another", mtype="chat")
    assert isinstance((await failed.take()).error, E2EError)
    env.server.hooks.remove(swap)
    await env.settle(alice, bob)
    assert len(heard) == 0
    alice.send_message(mto=BOB, mbody="a third", mtype="chat")
    assert await heard.bodies(1) == ["a third"]
    assert env.in_clear(SECRET, "another", "a third") == []

"""Attack 6: my own words come back to me, as signalling, as bytes, from inside; or the other end has my very key.

Four things stand in the way, each by itself: the key must not be ours, the stream is addressed, the digest of the
negotiation says who wrote to whom, and a hello names its sender's role.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.signalling_edits import NS_JINGLE
from tests.pair import ALICE as ALICE_JID
from tests.pair import Pair, config, has_code, identity, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, block, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import Code, E2EError, PeerRefused, StreamError, TLSFailed
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.states import State
from xmpp_e2e.stream.reader import Header
from xmpp_e2e.tls import connection
from xmpp_e2e.types import Role

SECRET = "the treasure is under the oak"
FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])


def mirrored(fast: bool = True) -> Pair:
    """Two sessions of Alice's, each of which believes that the other end is Bob: the server sends everything back."""
    return Pair(config("alice", fast_open=fast), config("alice", fast_open=fast))


def assert_nothing_came_of_it(pair: Pair) -> None:
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


# --- the key ---------------------------------------------------------------------------------------------------------


@FAST
def test_alice_does_not_talk_to_herself(fast: bool) -> None:
    """The server mirrors the negotiation, so every fingerprint is genuine: TLS ends with our own key, and is refused."""
    pair = mirrored(fast).open()
    assert_nothing_came_of_it(pair)
    assert has_code(Code.REFLECTED_KEY)(pair.alice.failure)
    assert "reflecting our own bytes" in explain(pair.alice.failure)
    assert isinstance(pair.bob.failure, TLSFailed | PeerRefused)


@FAST
def test_nor_to_a_device_with_her_key(fast: bool) -> None:
    """One identity was copied to two devices of an account: refused, and the user reads what to do."""
    phone, desk = ALICE_JID, "alice@a.test/desk"
    one = config("alice", peer_jid=desk, fast_open=fast)
    pair = Pair(one, config("alice", own_jid=desk, peer_jid=phone, fast_open=fast)).open()
    assert_nothing_came_of_it(pair)
    assert has_code(Code.REFLECTED_KEY)(pair.alice.failure)
    assert "every device needs its own" in explain(pair.alice.failure)


def test_two_devices_with_their_own_keys_are_fine() -> None:
    """Only the key must differ: two devices of one account talk like any two."""
    desk = "alice@a.test/desk"
    other = config("alice", own_jid=desk, peer_jid=ALICE_JID, own_key=identity("desk"))
    pair = Pair(config("alice", peer_jid=desk), other).open()
    pair.alice.session.send_stanza(message("note to self"))
    assert pair.run().bob.stanzas == ["note to self"]


# --- the barriers behind the key, one by one -------------------------------------------------------------------------


def any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_check_not_ours", lambda key, own: None)


def any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(self: Conversation, header: Header) -> None:
        pass

    monkeypatch.setattr(Conversation, "_on_header", believe)


def test_a_stream_is_addressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were our own key let pass, the header would still say that the stream is ours."""
    any_key(monkeypatch)
    pair = mirrored().open()
    assert_nothing_came_of_it(pair)
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == "invalid-from"


def test_the_digest_says_who_wrote_to_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the header believed too, the two digests would differ: to one side Alice wrote the initiate, to the other Bob."""
    any_key(monkeypatch)
    any_address(monkeypatch)
    pair = mirrored().open()
    assert_nothing_came_of_it(pair)
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)


def test_control_without_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with none of them Alice believes in a session with Bob, and reads Alice's own words as Bob's."""
    any_key(monkeypatch)
    any_address(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)
    pair = mirrored().open()
    pair.alice.session.send_stanza(message("who is there?"))
    (received,) = pair.run().bob.of(events.StanzaReceived)
    assert received.stanza.get("from") == config("alice").peer_jid


# --- steps: an authenticated peer who only repeats what comes -----------------------------------------------------


def parrot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers has nothing else to say: their hello is the one that they heard."""
    heard: list[Element] = []
    genuine = auth.build_hello

    def build(hello: Hello) -> Element:
        heard.append(genuine(hello))
        return deepcopy(heard[0])

    monkeypatch.setattr(auth, "build_hello", build)


def test_my_own_hello_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It claims my own role, whatever else in it is right."""
    parrot(monkeypatch)
    pair = Pair().open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.alice.failure)
    assert "our own role" in str(pair.alice.failure)
    assert not pair.alice.of(events.SessionOpened)


def test_control_without_roles_it_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the hello's check left out, repeating it is enough."""
    parrot(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)
    assert Pair().open().alice.session.state is State.OPEN


# --- bytes -----------------------------------------------------------------------------------------------------------


@FAST
@pytest.mark.parametrize("role", Role)
def test_my_own_flights_are_no_answer(role: Role, fast: bool) -> None:
    """What a side writes on the bytestream comes back to it in place of an answer: the session ends, and never cleanly.

    With flights the responder first writes when its session is open."""
    pair = Pair(config("alice", fast_open=fast), config("bob", fast_open=fast))

    def reflect(sender: Role, data: bytes) -> list[bytes]:
        if sender is not role:
            return [data]
        pair.side(role).session.receive_data(data, pair.now)
        return []

    pair.on_data = reflect
    pair.open()
    victim = pair.side(role)
    assert isinstance(victim.failure, TLSFailed)
    assert victim.session.state is State.CLOSED
    assert bool(victim.of(events.SessionOpened)) is (fast and role is Role.RESPONDER)
    assert not victim.stanzas


def test_my_own_flight_in_the_accept() -> None:
    """The server answers the offer with the offer itself, made an accept: a ClientHello is no answer to a ClientHello."""
    pair = Pair(on_jingle=lambda role, element: [])
    pair.alice.session.offer(pair.now)
    (offer,) = pair.alice.session.jingle_to_send()
    offer.set("action", "session-accept")
    pair.deliver(Role.INITIATOR, offer)
    assert isinstance(pair.run().alice.failure, TLSFailed)
    assert not pair.alice.of(events.TLSEstablished)


@pytest.mark.parametrize("role", Role)
def test_my_own_records_are_not_the_peers(role: Role) -> None:
    """In an open session my own record, sent back, does not authenticate: each direction has keys of its own."""
    pair = Pair().open()
    victim = pair.side(role)
    pair.on_data = lambda sender, data: []
    victim.session.send_stanza(message(SECRET))
    before = len(victim.data_sent)
    pair.run()
    victim.session.receive_data(bytes(victim.data_sent[before:]), pair.now)
    pair.run()
    assert isinstance(victim.failure, TLSFailed)
    assert not victim.stanzas


# --- real clients ----------------------------------------------------------------------------------------------------


class Mirror:
    """Sends what Alice sends to Bob back in Bob's name, under another sid if the test says so."""

    def __init__(self, env: Env, matches: Any, sid: str = "") -> None:
        self._env, self._matches, self._sid = env, matches, sid
        self.reflected = 0
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if sender != ALICE or not self._matches(stanza, sender):
            return stanza
        back = deepcopy(stanza)
        back.set("from", BOB)
        back.set("to", ALICE)
        if self._sid:
            for child in back:
                child.set("sid", self._sid)
        self.reflected += 1
        self._env.server.inject(ALICE, back)
        return None


def any_jingle(stanza: Element, sender: str) -> bool:
    return stanza.find(f"{{{NS_JINGLE}}}jingle") is not None and stanza.get("type") == "set"


@pytest.mark.parametrize("sid", ["", "0", "~"], ids=["as it was", "a lower sid", "a higher sid"])
async def test_a_mirrored_offer_opens_nothing(env: Env, sid: str) -> None:
    """Alice's own offer comes back as Bob's, its sid kept or chosen to win or lose the tie: the message fails, visibly."""
    alice, bob = await env.pair()
    mirror = Mirror(env, any_jingle, sid)
    heard, failed, started = Events(bob, "message"), Events(alice, "e2e_send_failed"), Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await env.settle(alice, bob)
    assert mirror.reflected
    for link in e2e(alice)._client.registry:
        link.abort(TLSFailed("the test has seen enough"))
    assert isinstance((await failed.take()).error, E2EError)
    assert len(started) == len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_a_mirrored_block_ends_the_session(env: Env) -> None:
    """A block of an open session comes back to its sender: refused, an unclean end, nothing is delivered."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    mirror = Mirror(env, block)
    heard, ended = Events(alice, "message"), Events(alice, "e2e_session_closed")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert not (await ended.take()).clean
    assert mirror.reflected
    assert len(heard) == 0


async def test_two_devices_of_an_account(env: Env) -> None:
    """With keys of their own they talk; with a store that was copied from one to the other they do not, and are told why."""
    one = await env.client("alice@localhost/one")
    own = await env.client("alice@localhost/two")
    copied = await env.client("alice@localhost/three", store_path=str(e2e(one)._store.path))
    await env.settle(one, own, copied)
    heard = Events(own, "message")
    one.send_message(mto="alice@localhost/two", mbody=SECRET)
    assert await heard.bodies(1) == [SECRET]
    with pytest.raises(TLSFailed, match="our own key", check=has_code(Code.REFLECTED_KEY)):
        await until((await e2e(one).connect("alice@localhost/three")).wait_open())

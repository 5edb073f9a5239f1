"""Who may open a session, how many, and how fast, as peers see it; what honest peers cannot help costs them nothing."""

from __future__ import annotations

import itertools
from typing import Any
from xml.etree.ElementTree import Element, canonicalize, fromstring

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.sessions.admission import limits
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.trust.peer_settings import PeerSettings
from tests.slixmpp_e2e.env import ALICE, BOB, PAYLOADS, SID, Env, Events, an_offer, e2e, jingle, turns, until
from tests.slixmpp_e2e.messages.stanzas import MUC, stanza
from xmpp_e2e.errors import JingleError, PeerRefused
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY
from xmpp_loopback import Subscription, offline, reconnect

NOBODY = ["nobody@nowhere.test"]
"""Who is advertised to, and refused, as the list may yet let in others."""


async def refusal(env: Env, to: str, payload: str) -> str:
    carol = await env.client("carol@localhost/c", load=False)
    iq = carol.make_iq_set(ito=to)
    iq.xml.append(fromstring(payload))
    with pytest.raises(IqError) as caught:
        await until(iq.send())
    return canonicalize(str(caught.value.iq)).replace(iq["id"], "ID").replace(to, "TO")


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
@pytest.mark.parametrize("accept_from", ["roster", [], ["bob@localhost"], ["elsewhere.example"]])
async def test_a_stranger_gets_the_answer_of_an_unknown_resource(env: Env, accept_from: Any, payload: str) -> None:
    """A stranger learns neither that we are online nor that we have encryption."""
    env.server.set_subscription("alice@localhost", "carol@localhost", Subscription.NONE)
    alice = await env.client(ALICE, accept_from=accept_from)
    await env.settle(alice)
    assert await refusal(env, ALICE, payload) == await refusal(env, "alice@localhost/nowhere", payload)


@pytest.mark.parametrize(
    ("accept_from", "subscription", "welcome"),
    [
        ("roster", Subscription.BOTH, True),
        ("roster", Subscription.FROM, True),
        ("roster", Subscription.TO, False),
        ("roster", Subscription.NONE, False),
        ("anyone", Subscription.NONE, True),
        (["bob@localhost"], Subscription.NONE, True),
        (["localhost"], Subscription.NONE, True),
        (["BOB@localhost/other"], Subscription.NONE, True),
        (["carol@localhost", "elsewhere.example"], Subscription.BOTH, False),
        (NOBODY, Subscription.BOTH, False),
    ],
)
async def test_who_may_open_a_session(env: Env, accept_from: Any, subscription: Subscription, welcome: bool) -> None:
    env.server.set_subscription("alice@localhost", "bob@localhost", subscription)
    alice, bob = await env.pair(alices={"accept_from": accept_from})
    heard, failed = Events(alice, "message"), Events(bob, "e2e_send_failed")
    bob.send_message(mto=ALICE, mbody="hello")
    if welcome:
        assert await heard.bodies(1) == ["hello"]
    else:
        report = await failed.take()
        assert isinstance(report.error, PeerRefused)
        assert "service-unavailable" in str(report)
    assert env.in_clear("hello") == []


async def test_a_peer_whom_we_have_written_to_may_write_back(env: Env) -> None:
    """Their answer opens another session when ours is over, though ``accept_from`` names nobody; nobody else may."""
    alice, bob = await env.client(ALICE, accept_from=[]), await env.client(BOB)
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    opened = Events(alice, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody="a question")
    assert await heard[bob].bodies(1) == ["a question"]
    await opened.take()
    await until(e2e(alice).close())
    await env.settle(alice, bob)
    bob.send_message(mto=ALICE, mbody="an answer")
    assert str((await heard[alice].take())["e2e"]["assurance"]) == "known"
    carol.send_message(mto=ALICE, mbody="may I")
    assert str((await heard[alice].take())["e2e"]["assurance"]) == "none"


async def test_crossing_offers_are_allowed_on_both_sides(env: Env) -> None:
    """If each accepts nobody and writes first, both messages arrive, since neither is a stranger to the other any more."""
    alice, bob = await env.pair(accept_from=NOBODY)
    hold = env.hold(jingle("session-initiate"))
    heard = {client: Events(client, "message") for client in (alice, bob)}
    alice.send_message(mto=BOB, mbody="to Bob")
    bob.send_message(mto=ALICE, mbody="to Alice")
    await until(hold.caught(2))
    hold.release()
    assert [await heard[client].bodies(1) for client in (alice, bob)] == [["to Alice"], ["to Bob"]]


async def test_who_may_open_a_session_can_be_changed(env: Env) -> None:
    """``set_accept_from`` takes every form of the setting; what it forbids ends, and a wrong word changes nothing."""
    env.server.set_subscription("alice@localhost", "bob@localhost", Subscription.NONE)
    alice, bob = await env.client(ALICE, accept_from=NOBODY), await env.client(BOB)
    heard, failed = Events(alice, "message"), Events(bob, "e2e_send_failed")

    async def welcome() -> bool:
        await env.settle(alice, bob)
        bob.send_message(mto=ALICE, mbody="hello")
        while not len(heard) and not len(failed):
            await turns(1)
        came = len(heard) == 1
        await (heard if came else failed).take()
        return came

    assert not await welcome()
    e2e(alice).set_accept_from("anyone")
    assert await welcome()
    e2e(alice).set_accept_from(NOBODY)
    assert not await welcome()
    with pytest.raises(ConfigError):
        e2e(alice).set_accept_from("everybody")
    assert not await welcome()
    e2e(alice).set_accept_from(["localhost"])
    assert await welcome()
    await e2e(alice).close()
    await until((await e2e(alice).connect(BOB)).wait_open())
    await e2e(alice).close()
    e2e(alice).set_accept_from("roster")
    assert not await welcome()
    env.server.set_subscription("alice@localhost", "bob@localhost", Subscription.FROM)
    assert await welcome()


async def test_each_new_stream_loads_the_roster_that_decides(env: Env) -> None:
    """The program has not asked for it, and the setting was another when the plugin was registered."""
    env.server.set_subscription("alice@localhost", "bob@localhost", Subscription.NONE)
    alice, bob = await env.client(ALICE, accept_from=[]), await env.client(BOB)
    e2e(alice).set_accept_from("roster")
    await env.settle(alice)
    await offline(alice)
    env.server.set_subscription("alice@localhost", "bob@localhost", Subscription.FROM)
    loaded, heard = Events(alice, "roster_update"), Events(alice, "message")
    await reconnect(alice, env.server)
    await loaded.take()
    alice.send_presence()
    await env.settle(alice, bob)
    bob.send_message(mto=ALICE, mbody="hello")
    assert await heard.bodies(1) == ["hello"]


@pytest.mark.parametrize("sender", ["localhost", "localhost/x", "bob@localhost"])
async def test_only_a_client_can_open_a_session(env: Env, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    """A server or a bare account opens none, whoever is allowed."""
    alice = await env.client(ALICE, accept_from="anyone")
    refused = []
    iqs = e2e(alice)._client._channel
    monkeypatch.setattr(iqs, "error", lambda iq, error: refused.append((iq.get("id"), error.condition)))
    offer = await an_offer(env)
    env.server.inject(ALICE, f"<iq type='set' id='o' from='{sender}' to='{ALICE}'>{offer}</iq>")
    await env.settle(alice)
    assert refused == [("o", "service-unavailable")]


async def test_a_message_to_our_own_full_jid_is_not_sent(env: Env) -> None:
    """There is no session with oneself, and the server must not read the message either."""
    alice = await env.client(ALICE, policy="require")
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=ALICE, mbody="note to self")
    await failed.take()
    assert env.in_clear("note to self") == []


async def test_an_occupant_of_a_room_opens_no_session(env: Env) -> None:
    """A session with an occupant would make a known account of the room; nor does an account under the policy ``off``."""
    alice = await env.client(ALICE, accept_from="anyone")
    alice.send(stanza("presence", "", MUC, to="room@localhost/alice"))
    await env.settle(alice)
    e2e(alice).set_policy("carol@localhost", "off")
    admission = e2e(alice)._client._admission
    admission.check(BOB, ALICE)
    for peer in ("room@localhost/x", "carol@localhost/c"):
        with pytest.raises(JingleError, match="no session is accepted"):
            admission.check(peer, ALICE)


@pytest.mark.parametrize(
    ("bound", "devices"),
    [
        ("half_open_per_peer", 1),
        ("half_open_per_domain", 3),
        ("half_open", 3),
        ("half_open_of_contacts", 3),
        ("sessions_per_peer", 1),
        ("sessions_per_domain", 3),
        ("sessions", 3),
    ],
)
async def test_offers_are_limited(env: Env, monkeypatch: pytest.MonkeyPatch, bound: str, devices: int) -> None:
    if bound in ("half_open", "half_open_per_domain"):  # of strangers
        for contact in ("bob@localhost", "carol@localhost"):
            env.server.set_subscription("alice@localhost", contact, "none")
    alice = await env.client(ALICE, accept_from="anyone", **{bound: 2})
    senders = ["bob@localhost/1", "carol@localhost/1", "bob@localhost/2"][:devices]
    accepted, refused = [], []
    iqs = e2e(alice)._client._channel
    monkeypatch.setattr(iqs, "result", lambda iq: accepted.append(iq.get("id")))
    monkeypatch.setattr(iqs, "error", lambda iq, error: refused.append((iq.get("id"), error.condition)))
    offer = await an_offer(env)
    for number, sender in zip(range(3), itertools.cycle(senders), strict=False):
        text = offer.replace(SID, f"0123456789abcdef{number}")
        env.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await env.settle(alice)
    assert accepted == ["o0", "o1"]
    assert refused == [("o2", "resource-constraint")]


class Impostor:
    """How iqs are answered that the server makes up in the name of a client."""

    def __init__(self, env: Env, client: ClientXMPP, sender: str) -> None:
        self._env, self._client, self._sender = env, client, sender
        self._said = 0
        self._answers: dict[str, str] = {}
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        id = stanza.get("id", "")
        if not id.startswith("imp") or stanza.get("to") != self._sender:
            return stanza
        error = stanza.find("{jabber:client}error")
        self._answers[id] = "result" if error is None else error[0].tag.rpartition("}")[2]
        return None

    def say(self, payload: str) -> None:
        to = self._client.boundjid.full
        self._env.server.inject(to, f"<iq type='set' id='imp{self._said}' from='{self._sender}' to='{to}'>{payload}</iq>")
        self._said += 1

    async def answers(self) -> list[str]:
        await self._env.settle(self._client)
        return [self._answers[f"imp{number}"] for number in range(self._said)]


async def test_a_flood_is_refused_before_it_costs_anything(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the rate no iq, whether an offer, a block or another, makes us look into the store or make a session."""
    alice = await env.client(ALICE, accept_from="anyone")
    client = e2e(alice)._client
    refused: list[str] = []
    looked_up: list[str] = []
    look_up = client.peers.of

    def counted(account: str) -> PeerSettings:
        looked_up.append(account)
        return look_up(account)

    monkeypatch.setattr(client._channel, "error", lambda iq, error: refused.append(error.condition))
    monkeypatch.setattr(client.peers, "of", counted)
    now = alice.loop.time()
    monkeypatch.setattr(client._admission, "_clock", lambda: now)
    payloads = [PAYLOADS[name] for name in ("session-initiate", "session-info", "data")]
    for number, payload in zip(range(300), itertools.cycle(payloads), strict=False):
        sender = f"user{number}@evil.test/x"
        env.server.inject(ALICE, f"<iq type='set' id='i{number}' from='{sender}' to='{ALICE}'>{payload}</iq>")
    await env.settle(alice)
    assert len(refused) == 300
    assert refused.count("resource-constraint") == 300 - len(looked_up)
    assert len(looked_up) == limits.REQUEST_RATE_PER_DOMAIN.burst < 300


@pytest.mark.parametrize("wins", ["theirs", "ours"])
async def test_an_offer_that_crosses_ours_is_let_through_once(env: Env, wins: str) -> None:
    """It is let through at any rate, since both offers would be lost otherwise; nothing else of the peer's is."""
    alice = await env.client(ALICE, request_rate_per_peer=(0.001, 1))
    offer, ear = await an_offer(env), Impostor(env, alice, BOB)
    ear.say(PAYLOADS["session-info"])
    ear.say(offer.replace(SID, "0" * 32))
    hold = env.hold(jingle("session-initiate"))
    await env.client(BOB)
    alice.send_message(mto=BOB, mbody="x")
    await until(hold.caught())
    [ours] = e2e(alice)._client.registry
    ear.say(PAYLOADS["session-info"])
    first = "0" if wins == "theirs" else "g"  # ours is in hexadecimal
    for number in range(3):
        ear.say(offer.replace(SID, f"{first}{number:031x}"))
    refused = ["resource-constraint"] * 2
    assert await ear.answers() == ["item-not-found", *refused, "result" if wins == "theirs" else "conflict", *refused]
    assert (ours in e2e(alice)._client.registry) is (wins == "ours")


async def test_an_offer_that_crosses_ours_takes_its_place(env: Env) -> None:
    """It needs no slot of its own, even if the account has none left; the next offer is refused."""
    alice = await env.client(ALICE, half_open_per_peer=1)
    other = "bob@localhost/other"
    offer, ears = await an_offer(env), [Impostor(env, alice, sender) for sender in (other, BOB)]
    env.server.hooks.append(lambda stanza, sender: None if stanza.get("to") in (other, BOB) else stanza)
    ears[0].say(offer.replace(SID, "0" * 32))
    e2e(alice)._client.registry.ensure((ALICE, BOB))
    for number in range(2):
        ears[1].say(offer.replace(SID, f"{number:032x}"))
    assert [await ear.answers() for ear in ears] == [["result"], ["result", "resource-constraint"]]
    assert [link.peer for link in e2e(alice)._client.registry] == [other, BOB]
    assert len(e2e(alice)._client.limits) == 1


async def test_an_offer_without_encryption_crosses_none_of_ours(env: Env) -> None:
    alice = await env.client(ALICE)
    offer, ear = await an_offer(env), Impostor(env, alice, BOB)
    env.server.hooks.append(lambda stanza, sender: None if stanza.get("to") == BOB else stanza)
    ours = e2e(alice)._client.registry.ensure((ALICE, BOB))
    ear.say(offer.replace(SID, "0" * 32).replace(NS_SECURITY, "urn:x-nothing"))
    assert await ear.answers() == ["result"]
    assert list(e2e(alice)._client.registry) == [ours]


async def test_the_last_word_about_an_ended_session_is_free_once(env: Env) -> None:
    """The peer's session-terminate was on its way. Whoever repeats it gets item-not-found, within their rate."""
    alice, bob = await env.pair(request_rate_per_peer=(0.001, 3))
    ear = Impostor(env, alice, BOB)
    env.server.hooks.append(lambda stanza, sender: None if jingle("session-terminate")(stanza, sender) else stanza)
    _, theirs = await env.session(alice, bob)  # the offer is ours
    await until(theirs.close())
    await env.settle(alice, bob)
    for action, sid in (("info", theirs.sid), ("terminate", "0123"), *[("terminate", theirs.sid)] * 3, ("terminate", "0123")):
        ear.say(f"<jingle xmlns='{NS_JINGLE}' action='session-{action}' sid='{sid}'/>")
    unknown = "item-not-found"
    assert await ear.answers() == [unknown, unknown, "result", unknown, *["resource-constraint"] * 2]


async def test_the_oldest_of_the_greediest_domain_makes_way(env: Env) -> None:
    alice = await env.client(ALICE, accept_from="anyone", half_open=2)
    offer = await an_offer(env)
    senders = ["a@evil.test/x", "b@evil.test/x", "c@good.test/x"]
    env.server.hooks.append(lambda stanza, sender: None if stanza.get("to") in senders else stanza)
    for number, sender in enumerate(senders):
        text = offer.replace(SID, f"0123456789abcdef{number}")
        env.server.inject(ALICE, f"<iq type='set' id='o{number}' from='{sender}' to='{ALICE}'>{text}</iq>")
    await env.settle(alice)
    client = e2e(alice)._client
    assert [driver.peer for driver in client.registry] == senders[1:]
    assert len(client.limits) == 2
    [handled] = env.server.find_text("<busy")
    assert "session-terminate" in handled.text
    assert senders[0] in handled.text


async def test_nothing_is_kept_of_an_offer_that_is_refused(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: SessionDriver, jingle: Any) -> None:
        raise JingleError("no", "bad-request")

    alice = await env.client(ALICE)
    offer = (await an_offer(env)).replace(SID, "0123456789abcdef")
    monkeypatch.setattr(SessionDriver, "receive_jingle", refuse)
    env.server.inject(ALICE, f"<iq type='set' id='o' from='{BOB}' to='{ALICE}'>{offer}</iq>")
    await env.settle(alice)
    assert len(e2e(alice)._client.limits) == 0


@pytest.mark.parametrize(
    ("contact", "delay", "admitted"), [(True, 14, True), (True, 16, False), (False, 7, True), (False, 8, False)]
)
async def test_who_would_wait_too_long_for_our_accept_is_asked_to_try_again(
    env: Env, monkeypatch: pytest.MonkeyPatch, contact: bool, delay: float, admitted: bool
) -> None:
    """Our own server reads little of us. Strangers leave room for contacts."""
    if not contact:
        env.server.set_subscription("alice@localhost", "bob@localhost", "none")
    alice, bob = await env.pair(accept_from="anyone", queue_seconds=1.0)
    monkeypatch.setattr(e2e(alice)._client._admission, "_delay", lambda: delay)
    heard, failed = Events(alice, "message"), Events(bob, "e2e_send_failed")
    bob.send_message(mto=ALICE, mbody="hello")
    if admitted:
        assert await heard.bodies(1) == ["hello"]
    else:
        assert (await failed.take()).stanza["body"] == "hello"
        assert len(heard) == 0

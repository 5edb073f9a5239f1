"""Attack 24 end to end: the server ends TLS on both sides of two real clients, who prove each other by psk, srp or sas.

He passes their steps on, or says his own. Either way nobody is convinced, nothing is sent, and both people are told why.
"""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.prompts import Compare
from tests.attacks.steps import KEYED, SECRETS, proves_nothing, unbound
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, until
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.authenticate.dialogue import Failed
from xmpp_e2e.authenticate.sas import StringsDiffer
from xmpp_e2e.encoding import lv
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Assurance
from xmpp_e2e.stages import PROVING, Stage
from xmpp_loopback import Relay
from xmpp_loopback.relay import End

SECRET = "the treasure is under the oak"
ALICES, BOBS = "alice@localhost", "bob@localhost"
WRONG = dict.fromkeys(SECRETS, bytes(range(32)))
COMPARES = frozenset({"sas"})
BETWEEN = "Somebody in the middle, with a session of his own to each of you, causes exactly this"


class StepRelay(Relay):
    """Passes every step on as it is, and proves nothing himself. ``needs`` is what the victims want to read in his hellos."""

    def __init__(self, world: World, *needs: str) -> None:
        super().__init__(world.server.inject, ALICE, BOB, need=needs, secrets=WRONG)
        self._passing = {end: proves_nothing(end.session) for end in (self.near, self.far)}
        self.steps: list[str] = []
        """The methods of the steps that he has passed on."""

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        passed = super().__call__(stanza, sender)
        for end in (self.near, self.far):
            heard = self._passing[end].heard
            while heard and (other := self._listener(end)) is not None:
                self.steps.append(heard[0][0])
                self.says(other, *heard.popleft())
                if self.steps == ["sas"] * 3:
                    self._agree()
        return passed

    def _agree(self) -> None:
        """To each side he says that the other has found the strings the same."""
        for end in (self.near, self.far):
            end.session._inner.out.element(Element(auth.RESULT, {"method": "sas", "match": "true"}))
            end.pump()

    def says(self, end: End, method: str, payload: bytes) -> None:
        """Say a step to the victim there."""
        end.session._inner.out.element(auth.build_step(method, payload))
        end.pump()

    def _listener(self, end: End) -> End | None:
        """The other end, once steps can be said there."""
        other = end.other
        assert other is not None
        return other if other.session.stage in {*PROVING, Stage.OPEN} else None


class Bluffer(StepRelay):
    """Says steps that are well made, to Alice alone, and finds no fault with hers."""

    def _listener(self, end: End) -> End | None:
        return end if end is self.near else None

    def says(self, end: End, method: str, payload: bytes) -> None:
        first = method == "srp" and self.steps == ["srp"]
        fields = (os.urandom(16), b"\x01" + os.urandom(511)) if first else (os.urandom(32),)
        super().says(end, method, lv(*fields))


def between(world: World, relay: Relay) -> Relay:
    """The server lets him at what passes."""
    world.server.interfere.append(relay)
    return relay


async def sharing(world: World, method: str) -> tuple[ClientXMPP, ClientXMPP]:
    """Alice and Bob have set up the same secret, in another way than by this server."""
    alice, bob = await world.pair()
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        e2e(client).switchboard._store.put_secret(peer, method, "1", SECRETS[method])
    return alice, bob


def understood(error: E2EError | None) -> bool:
    """Does a person who reads it learn that the proof failed, why it may have, and what to do?"""
    told = error.explain() if isinstance(error, Failed) else ""
    parts = ("the proof by ", "The secret that you share is not the same on both sides", BETWEEN, "Ask the peer by another way")
    return all(part in told for part in parts)


async def assert_refused(world: World, alice: ClientXMPP, bob: ClientXMPP, relay: Relay) -> None:
    """What Alice writes stays with her, she is told, and nobody remembers his key."""
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    told: SendFailed = await failed.take()
    assert understood(told.error)
    await world.settle(alice, bob)
    assert len(heard) == 0
    assert relay.near.heard == []
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        assert not e2e(client).sessions()
        assert e2e(client).switchboard._store.remembered(peer).key(relay.fingerprint) is None
    assert world.in_clear(SECRET) == []


def guesses(alice: ClientXMPP, bob: ClientXMPP) -> list[int]:
    """As either counts them."""
    return [e2e(client).switchboard._store.failures(peer, "srp") for client, peer in ((alice, BOBS), (bob, ALICES))]


# --- secrets ---------------------------------------------------------------------------------------------------------


@KEYED
async def test_a_secret_of_his_own(world: World, method: str) -> None:
    """To each side his proof is wrong; of a password, it is one guess at either."""
    alice, bob = await sharing(world, method)
    at_bobs = Heard(bob, "e2e_session_failed")
    await assert_refused(world, alice, bob, between(world, Relay(world.server.inject, ALICE, BOB, secrets=WRONG)))
    assert understood((await at_bobs.take()).detail.error)
    assert guesses(alice, bob) == ([1, 1] if method == "srp" else [0, 0])


@KEYED
async def test_a_bluff(world: World, method: str) -> None:
    """He finds no fault with Alice's proof, and says something for his own: she looks for herself."""
    alice, bob = await sharing(world, method)
    at_alices = Heard(alice, "e2e_session_failed")
    await assert_refused(world, alice, bob, between(world, Bluffer(world, method)))
    assert str((await at_alices.take()).detail.error) == f"the proof by {method} failed"
    assert guesses(alice, bob) == ([1, 0] if method == "srp" else [0, 0])


@KEYED
async def test_steps_that_are_passed_on(world: World, method: str) -> None:
    """Alice's proof is of her connection, and none on Bob's: his client ends it. Nothing comes back to Alice, until Mallory
    gives up, too."""
    alice, bob = await sharing(world, method)
    relay = StepRelay(world, method)
    between(world, relay)
    at_bobs, at_alices = (Heard(client, "e2e_session_failed") for client in (bob, alice))
    alice.send_message(mto=BOB, mbody="waits for the proof", mtype="chat")
    assert understood((await at_bobs.take()).detail.error)
    await world.settle(alice, bob)
    assert relay.steps == [method] * (1 if method == "psk" else 3)
    [link] = e2e(alice).switchboard.sessions
    assert not link.is_writable
    relay.near.session.close(0.0)
    relay.near.pump()
    assert understood((await at_alices.take()).detail.error)
    assert relay.near.heard == []
    assert world.in_clear("waits for") == []


@KEYED
async def test_control_unbound_he_passes_it_on(world: World, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: were proofs tied to nothing, both would be sure of his key, and he would read what they say."""
    unbound(monkeypatch, "exporter", "context")
    alice, bob = await sharing(world, method)
    relay = StepRelay(world, method)
    between(world, relay)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["body"], message["e2e"]["assurance"]) == (SECRET, Assurance.VERIFIED)
    assert message["e2e"]["fingerprint"] == relay.fingerprint
    assert relay.near.heard == [SECRET]


@KEYED
async def test_control_without_him_it_opens(world: World, method: str) -> None:
    """Control: the same secrets, and nobody in between."""
    alice, bob = await sharing(world, method)
    link, _ = await world.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED


@KEYED
async def test_a_peer_who_was_proved_before(world: World, method: str) -> None:
    """The second time he has no better luck, though the genuine key needs no proof any more."""
    alice, bob = await sharing(world, method)
    link, _ = await world.session(alice, bob)
    await until(link.close())
    relay = between(world, Relay(world.server.inject, ALICE, BOB, secrets=WRONG))
    told = Heard(alice, "e2e_key_changed")
    await assert_refused(world, alice, bob, relay)
    change = (await told.take()).detail
    assert (change.kind, change.decision, change.fingerprint) == ("changed", "hold", relay.fingerprint)
    assert link.fingerprint in change.remembered


async def test_a_password_for_one_session(world: World) -> None:
    """He has read along in a session that the servers vouched for, until one asks for a proof: it ends, and both are told."""

    async def says(peer: str) -> str:
        return "correct horse"

    alice, bob = await world.client(ALICE), await world.client(BOB, password=says)
    relay = between(world, Relay(world.server.inject, ALICE, BOB, secrets={"srp": WRONG["srp"]}))
    link, theirs = await world.session(alice, bob)
    assert {link.assurance, theirs.assurance} == {Assurance.VOUCHED}
    with pytest.raises(Failed) as caught:
        await until(link.verify_password("correct horse"))
    assert understood(caught.value)
    assert "in a session that was open before, somebody in the middle has read along" in caught.value.explain()
    assert isinstance(relay.near.failure, Failed)
    assert not e2e(alice).switchboard._store.remembered(BOBS).any_verified
    assert link.assurance is Assurance.VOUCHED


# --- short strings ---------------------------------------------------------------------------------------------------


class Person:
    """Sees a string, and says whether the other sees the same."""

    def __init__(self, says: bool) -> None:
        self.says = says
        self.seen: list[str] = []

    async def __call__(self, shown: Compare) -> bool:
        self.seen.append(shown.decimal)
        return self.says


class Comparison:
    """Alice and Bob, with him in between, compare strings in a session that Alice has opened; she or Bob asks for it."""

    def __init__(self, alices: bool, bobs: bool, *, bob_asks: bool = False) -> None:
        self.at_alices, self.at_bobs = Person(alices), Person(bobs)
        self._bob_asks = bob_asks
        self.error: E2EError | None = None
        """How it ended where it was asked for."""

    async def run(self, world: World, relay: Relay | None) -> Comparison:
        """Until it has ended there."""
        self.alice, self.bob = await world.client(ALICE, sas=self.at_alices), await world.client(BOB, sas=self.at_bobs)
        if relay is not None:
            between(world, relay)
        self.ours, self.theirs = await world.session(self.alice, self.bob)
        try:
            if self._bob_asks:
                await until(self.theirs.verify_sas(self.at_bobs))
            else:
                await until(self.ours.verify_sas(self.at_alices))
        except E2EError as error:
            self.error = error
        await world.settle(self.alice, self.bob)
        return self

    @property
    def assurances(self) -> set[Assurance]:
        """Of both sides."""
        return {self.ours.assurance, self.theirs.assurance}


@pytest.mark.parametrize("bob_asks", [False, True], ids=["alice asks", "bob asks"])
async def test_two_people_see_two_strings(world: World, bob_asks: bool) -> None:
    """He runs the method honestly on both sides. They say that their strings differ, and both sessions end."""
    run = Comparison(alices=False, bobs=False, bob_asks=bob_asks)
    await run.run(world, Relay(world.server.inject, ALICE, BOB, asks=COMPARES))
    for told in (run.error, await until(run.ours.ended()), await until(run.theirs.ended())):
        assert isinstance(told, StringsDiffer)
        assert "Somebody is in the middle, with a session of his own to each of you" in told.explain()
        assert "has read what was said in this session" in told.explain()
    [hers], [his] = run.at_alices.seen, run.at_bobs.seen
    assert hers != his
    assert run.assurances == {Assurance.VOUCHED}


async def test_a_string_for_one_alone(world: World) -> None:
    """He passes the steps on: Bob's client finds that Alice's number is not the one that was promised on his connection, and
    shows him nothing. Whatever Alice says then, there is nobody who sees the same."""
    relay = StepRelay(world)
    run = await Comparison(alices=False, bobs=True).run(world, relay)
    assert isinstance(run.error, StringsDiffer)
    assert understood(await until(run.theirs.ended()))
    assert (len(run.at_alices.seen), run.at_bobs.seen) == (1, [])
    assert relay.steps == ["sas"] * 3
    assert run.assurances == {Assurance.VOUCHED}


async def assert_he_reads_on(run: Comparison, relay: Relay) -> None:
    """They are sure of his key."""
    assert run.error is None
    assert run.assurances == {Assurance.VERIFIED}
    assert run.ours.fingerprint == run.theirs.fingerprint == relay.fingerprint
    heard = Heard(run.bob, "message")
    run.alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]


async def test_control_people_who_do_not_look(world: World) -> None:
    """Control: two who say "the same" of strings that differ are sure of his key: the strings are all there is against him."""
    relay = Relay(world.server.inject, ALICE, BOB, asks=COMPARES)
    run = await Comparison(alices=True, bobs=True).run(world, relay)
    assert run.at_alices.seen != run.at_bobs.seen
    await assert_he_reads_on(run, relay)


async def test_control_unbound_strings_are_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were strings tied to nothing, he could pass the steps on, and people who look would see the same."""
    unbound(monkeypatch, "exporter", "context")
    relay = StepRelay(world)
    run = await Comparison(alices=True, bobs=True).run(world, relay)
    assert run.at_alices.seen == run.at_bobs.seen
    await assert_he_reads_on(run, relay)


async def test_a_peer_with_whom_strings_were_compared(world: World) -> None:
    """Whoever has compared once is safe from then on, without comparing again: another key is held, and told."""
    run = await Comparison(alices=True, bobs=True).run(world, None)
    assert run.at_alices.seen == run.at_bobs.seen
    assert run.assurances == {Assurance.VERIFIED}
    await until(run.ours.close())
    run.at_alices.says = run.at_bobs.says = False  # should they be asked, they look
    relay = between(world, Relay(world.server.inject, ALICE, BOB, asks=COMPARES))
    told, heard = [Heard(client, "e2e_key_changed") for client in (run.alice, run.bob)], Heard(run.bob, "message")
    run.alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    for events in told:
        change = (await events.take()).detail
        assert (change.kind, change.decision, change.fingerprint) == ("changed", "hold", relay.fingerprint)
        assert "HAS CHANGED" in change.text
    await world.settle(run.alice, run.bob)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []

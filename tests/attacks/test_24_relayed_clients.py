"""Attack 24 end to end: the server ends TLS on both sides of two real clients, who prove each other by psk, srp or sas.

They pass the steps on, or say their own. Either way nobody is convinced, nothing is sent, and both people are told why.
"""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.prompts import SasPrompt
from tests.attacks.proof_mitm import KEYED, SECRETS, disable_proofs, unbound
from tests.pair import has_code, talk
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e.encoding import length_prefixed
from xmpp_e2e.errors import AuthenticationFailed, Code, E2EError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.states import AUTHENTICATING, State
from xmpp_e2e.types import Assurance
from xmpp_loopback import Mitm
from xmpp_loopback.mitm import MitmSide

SECRET = "the treasure is under the oak"
ALICES, BOBS = "alice@localhost", "bob@localhost"
WRONG = dict.fromkeys(SECRETS, bytes(range(32)))
COMPARES = frozenset({"sas"})
BETWEEN = "Somebody in the middle, with a session of their own to each of you, causes exactly this"


class ProofMitm(Mitm):
    """Passes every step on as it is, and proves nothing. ``needs`` is what the victims want to read in the hellos."""

    def __init__(self, env: Env, *needs: str) -> None:
        super().__init__(env.server.inject, ALICE, BOB, required_methods=needs, shared_secrets=WRONG)
        self._passing = {end: disable_proofs(end.session) for end in (self.near, self.far)}
        self.steps: list[str] = []
        """The methods of the steps that were passed on."""

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
        """To each side they say that the other has found the strings the same."""
        for end in (self.near, self.far):
            if end.session.state not in {*AUTHENTICATING, State.OPEN}:
                continue  # the client there has found them out already
            talk(end.session).out.element(Element(auth.RESULT, {"method": "sas", "match": "true"}))
            end.pump()

    def says(self, end: MitmSide, method: str, payload: bytes) -> None:
        """Say a step to the victim there."""
        talk(end.session).out.element(auth.build_step(method, payload))
        end.pump()

    def _listener(self, end: MitmSide) -> MitmSide | None:
        """The other end, once steps can be said there."""
        other = end.other
        assert other is not None
        return other if other.session.state in {*AUTHENTICATING, State.OPEN} else None


class Bluffer(ProofMitm):
    """Says steps that are well made, to Alice alone, and finds no fault with Alice's."""

    def _listener(self, end: MitmSide) -> MitmSide | None:
        return end if end is self.near else None

    def says(self, end: MitmSide, method: str, payload: bytes) -> None:
        first = method == "srp" and self.steps == ["srp"]
        fields = (os.urandom(16), b"\x01" + os.urandom(511)) if first else (os.urandom(32),)
        super().says(end, method, length_prefixed(*fields))


def between(env: Env, relay: Mitm) -> Mitm:
    """The server lets them at what passes."""
    env.server.hooks.append(relay)
    return relay


async def sharing(env: Env, method: str) -> tuple[ClientXMPP, ClientXMPP]:
    """Alice and Bob have set up the same secret, in another way than by this server."""
    alice, bob = await env.pair()
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        e2e(client)._client._store.put_secret(peer, method, "1", SECRETS[method])
    return alice, bob


def understood(error: E2EError | None) -> bool:
    """Does a person who reads it learn that the proof failed, why it may have, and what to do?"""
    told = explain(error) if has_code(Code.PROOF_FAILED)(error) else ""
    parts = ("the proof by ", "The secret that you share is not the same on both sides", BETWEEN, "Ask the peer by another way")
    return all(part in told for part in parts)


async def assert_refused(env: Env, alice: ClientXMPP, bob: ClientXMPP, relay: Mitm) -> None:
    """What Alice writes stays there, Alice is told, and nobody remembers Mallory's key."""
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    told: SendFailed = await failed.take()
    assert understood(told.error)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert relay.near.heard == []
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        assert not e2e(client).sessions()
        assert e2e(client)._client._store.known_keys(peer).find(relay.fingerprint) is None
    assert env.in_clear(SECRET) == []


def guesses(alice: ClientXMPP, bob: ClientXMPP) -> list[int]:
    """As either counts them."""
    return [e2e(client)._client._store.failed_attempts(peer, "srp") for client, peer in ((alice, BOBS), (bob, ALICES))]


# --- secrets ---------------------------------------------------------------------------------------------------------


@KEYED
async def test_a_secret_of_his_own(env: Env, method: str) -> None:
    """To each side the proof is wrong; of a password, it is one guess at either."""
    alice, bob = await sharing(env, method)
    at_bobs = Events(bob, "e2e_session_failed")
    await assert_refused(env, alice, bob, between(env, Mitm(env.server.inject, ALICE, BOB, shared_secrets=WRONG)))
    assert understood((await at_bobs.take()).error)
    assert guesses(alice, bob) == ([1, 1] if method == "srp" else [0, 0])


@KEYED
async def test_a_bluff(env: Env, method: str) -> None:
    """Mallory finds no fault with Alice's proof, and makes one up: Alice's client looks for itself."""
    alice, bob = await sharing(env, method)
    at_alices = Events(alice, "e2e_session_failed")
    await assert_refused(env, alice, bob, between(env, Bluffer(env, method)))
    assert str((await at_alices.take()).error) == f"the proof by {method} failed"
    assert guesses(alice, bob) == ([1, 0] if method == "srp" else [0, 0])


@KEYED
async def test_steps_that_are_passed_on(env: Env, method: str) -> None:
    """Alice's proof is of one connection, and none on Bob's: Bob's client ends it. Nothing comes back to Alice, until Mallory
    gives up, too."""
    alice, bob = await sharing(env, method)
    relay = ProofMitm(env, method)
    between(env, relay)
    at_bobs, at_alices = (Events(client, "e2e_session_failed") for client in (bob, alice))
    alice.send_message(mto=BOB, mbody="waits for the proof", mtype="chat")
    assert understood((await at_bobs.take()).error)
    await env.settle(alice, bob)
    assert relay.steps == [method] * (1 if method == "psk" else 3)
    [link] = e2e(alice)._client.registry
    assert not link.is_writable
    relay.near.session.close(0.0)
    relay.near.pump()
    assert understood((await at_alices.take()).error)
    assert relay.near.heard == []
    assert env.in_clear("waits for") == []


@KEYED
async def test_control_unbound_he_passes_it_on(env: Env, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: were proofs tied to nothing, both would be sure of the key of Mallory, who would read what they say."""
    unbound(monkeypatch, "exporter", "context")
    alice, bob = await sharing(env, method)
    relay = ProofMitm(env, method)
    between(env, relay)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    message = await heard.take()
    assert (message["body"], message["e2e"]["assurance"]) == (SECRET, Assurance.VERIFIED)
    assert message["e2e"]["fingerprint"] == relay.fingerprint
    assert relay.near.heard == [SECRET]


@KEYED
async def test_control_without_him_it_opens(env: Env, method: str) -> None:
    """Control: the same secrets, and nobody in between."""
    alice, bob = await sharing(env, method)
    link, _ = await env.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED


@KEYED
async def test_a_peer_who_was_proved_before(env: Env, method: str) -> None:
    """The second time Mallory has no better luck, though the genuine key needs no proof any more."""
    alice, bob = await sharing(env, method)
    link, _ = await env.session(alice, bob)
    await until(link.close())
    relay = between(env, Mitm(env.server.inject, ALICE, BOB, shared_secrets=WRONG))
    told = Events(alice, "e2e_key_changed")
    await assert_refused(env, alice, bob, relay)
    change = (await told.take())
    assert (change.status, change.decision, change.fingerprint) == ("changed", "hold", relay.fingerprint)
    assert link.fingerprint in change.known


async def test_a_password_for_one_session(env: Env) -> None:
    """He has read along in a session that the servers vouched for, until one asks for a proof: it ends, and both are told."""

    async def says(peer: str) -> str:
        return "correct horse"

    alice, bob = await env.client(ALICE), await env.client(BOB, ask_password=says)
    relay = between(env, Mitm(env.server.inject, ALICE, BOB, shared_secrets={"srp": WRONG["srp"]}))
    link, theirs = await env.session(alice, bob)
    assert {link.assurance, theirs.assurance} == {Assurance.VOUCHED}
    with pytest.raises(AuthenticationFailed, check=has_code(Code.PROOF_FAILED)) as caught:
        await until(link.verify_password("correct horse"))
    assert understood(caught.value)
    assert "in a session that was open before, somebody in the middle has read along" in explain(caught.value)
    assert has_code(Code.PROOF_FAILED)(relay.near.failure)
    assert not e2e(alice)._store.known_keys(BOBS).any_verified
    assert link.assurance is Assurance.VOUCHED


# --- short strings ---------------------------------------------------------------------------------------------------


class Person:
    """Sees a string, and says whether the other sees the same."""

    def __init__(self, says: bool) -> None:
        self.says = says
        self.seen: list[str] = []

    async def __call__(self, shown: SasPrompt) -> bool:
        self.seen.append(shown.decimal)
        return self.says


class Comparison:
    """Alice and Bob, with Mallory in between, compare strings in a session that Alice has opened; one of them asks for it."""

    def __init__(self, alices: bool, bobs: bool, *, bob_asks: bool = False) -> None:
        self.at_alices, self.at_bobs = Person(alices), Person(bobs)
        self._bob_asks = bob_asks
        self.error: E2EError | None = None
        """How it ended where it was asked for."""

    async def run(self, env: Env, relay: Mitm | None) -> Comparison:
        """Until it has ended there."""
        self.alice, self.bob = await env.client(ALICE, ask_sas=self.at_alices), await env.client(BOB, ask_sas=self.at_bobs)
        if relay is not None:
            between(env, relay)
        self.ours, self.theirs = await env.session(self.alice, self.bob)
        try:
            if self._bob_asks:
                await until(self.theirs.verify_sas(self.at_bobs))
            else:
                await until(self.ours.verify_sas(self.at_alices))
        except E2EError as error:
            self.error = error
        await env.settle(self.alice, self.bob)
        return self

    @property
    def assurances(self) -> set[Assurance]:
        """Of both sides."""
        return {self.ours.assurance, self.theirs.assurance}


@pytest.mark.parametrize("bob_asks", [False, True], ids=["alice asks", "bob asks"])
async def test_two_people_see_two_strings(env: Env, bob_asks: bool) -> None:
    """He runs the method honestly on both sides. They say that their strings differ, and both sessions end."""
    run = Comparison(alices=False, bobs=False, bob_asks=bob_asks)
    await run.run(env, Mitm(env.server.inject, ALICE, BOB, promptable_methods=COMPARES))
    for told in (run.error, await until(run.ours.wait_closed()), await until(run.theirs.wait_closed())):
        assert has_code(Code.SAS_MISMATCH)(told)
        assert "Somebody is in the middle, with a session of their own to each of you" in explain(told)
        assert "has read what was said in this session" in explain(told)
    [alices], [bobs] = run.at_alices.seen, run.at_bobs.seen
    assert alices != bobs
    assert run.assurances == {Assurance.VOUCHED}


async def test_a_string_for_one_alone(env: Env) -> None:
    """The steps are passed on: Bob's client finds that Alice's number is not the one that was promised on its connection, and
    shows nothing. Whatever Alice says then, there is nobody who sees the same."""
    relay = ProofMitm(env)
    run = await Comparison(alices=False, bobs=True).run(env, relay)
    assert has_code(Code.SAS_MISMATCH)(run.error)
    assert understood(await until(run.theirs.wait_closed()))
    assert (len(run.at_alices.seen), run.at_bobs.seen) == (1, [])
    assert relay.steps == ["sas"] * 3
    assert run.assurances == {Assurance.VOUCHED}


async def assert_he_reads_on(run: Comparison, relay: Mitm) -> None:
    """They are sure of Mallory's key."""
    assert run.error is None
    assert run.assurances == {Assurance.VERIFIED}
    assert run.ours.fingerprint == run.theirs.fingerprint == relay.fingerprint
    heard = Events(run.bob, "message")
    run.alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]


async def test_control_people_who_do_not_look(env: Env) -> None:
    """Control: two who say "the same" of strings that differ are sure of Mallory's key: nothing else gives it away."""
    relay = Mitm(env.server.inject, ALICE, BOB, promptable_methods=COMPARES)
    run = await Comparison(alices=True, bobs=True).run(env, relay)
    assert run.at_alices.seen != run.at_bobs.seen
    await assert_he_reads_on(run, relay)


async def test_control_unbound_strings_are_the_same(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were strings tied to nothing, Mallory could pass the steps on, and people who look would see the same."""
    unbound(monkeypatch, "exporter", "context")
    relay = ProofMitm(env)
    run = await Comparison(alices=True, bobs=True).run(env, relay)
    assert run.at_alices.seen == run.at_bobs.seen
    await assert_he_reads_on(run, relay)


async def test_a_peer_with_whom_strings_were_compared(env: Env) -> None:
    """Whoever has compared once is safe from then on, without comparing again: another key is held, and told."""
    run = await Comparison(alices=True, bobs=True).run(env, None)
    assert run.at_alices.seen == run.at_bobs.seen
    assert run.assurances == {Assurance.VERIFIED}
    await until(run.ours.close())
    run.at_alices.says = run.at_bobs.says = False  # should they be asked, they look
    relay = between(env, Mitm(env.server.inject, ALICE, BOB, promptable_methods=COMPARES))
    told, heard = [Events(client, "e2e_key_changed") for client in (run.alice, run.bob)], Events(run.bob, "message")
    run.alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    for events in told:
        change = (await events.take())
        assert (change.status, change.decision, change.fingerprint) == ("changed", "hold", relay.fingerprint)
        assert "HAS CHANGED" in change.text
    await env.settle(run.alice, run.bob)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []

"""Attack 9, what the inside adds: a needed proof is skipped, or talked down in a hello, or taken out of the signalling.

What one side needs is its own policy. The other side's hello can only add to it.
"""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.proof_mitm import KEYED, disable_proofs, proved, run_attempts, terms
from tests.attacks.signalling_edits import METHOD, edit_signalling
from tests.pair import Pair, Side, config, has_code, message, prepare, remembers
from xmpp_e2e import events
from xmpp_e2e.errors import (
    AuthenticationFailed,
    Code,
    LocalError,
    StreamError,
    Timeout,
)
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.elements import build_hello
from xmpp_e2e.inner.proof_queue import ProofQueue
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role

ROLES = pytest.mark.parametrize("rogue", list(Role))


def against(rogue: Role, *need: str, **hello: tuple[str, ...]) -> tuple[Pair, Side, Side]:
    """The victim needs these methods; the rogue says ``hello`` and is done without a step. The pair, the victim, the rogue."""
    sides = {role: terms() if role is rogue else terms(*need) for role in Role}
    pair = Pair(config("alice", **sides[Role.INITIATOR]), config("bob", **sides[Role.RESPONDER]))
    disable_proofs(pair.side(rogue).session)

    def change(conversation: Conversation) -> None:
        def greet() -> None:
            conversation._send_header()
            conversation.out.element(build_hello(replace(conversation._our_hello(), **hello)))

        conversation._send_hello = greet  # type: ignore[method-assign]

    prepare(pair.side(rogue).session, change)
    run_attempts(pair.open(), pair.side(rogue.other))
    return pair, pair.side(rogue.other), pair.side(rogue)


def assert_nothing_came_of_it(victim: Side) -> None:
    assert not victim.of(events.SessionOpened)
    assert not victim.stanzas
    assert not proved(victim)
    with pytest.raises(LocalError):
        victim.session.send_stanza(message("secret"))


@KEYED
@ROLES
def test_a_done_in_place_of_a_proof(method: str, rogue: Role) -> None:
    """Their done opens nothing: the victim sends none of its own, holds what they say, and gives up after five minutes."""
    pair, victim, _ = against(rogue, method)
    assert victim.session.state is State.DONE_RECEIVED
    pair.says(rogue, message("trust me"))
    assert_nothing_came_of_it(victim)
    pair.pass_time(301.0)
    assert isinstance(victim.failure, Timeout)
    assert_nothing_came_of_it(victim)


@ROLES
def test_one_of_two_is_not_both(rogue: Role) -> None:
    """They prove that they know the key, and are done without the password: the first is known, and still nothing flows."""
    sides = {role: terms() if role is rogue else terms("psk", "srp") for role in Role}
    pair = Pair(config("alice", **sides[Role.INITIATOR]), config("bob", **sides[Role.RESPONDER]))
    session, victim = pair.side(rogue).session, pair.side(rogue.other)

    def change(conversation: Conversation) -> None:
        genuine = conversation._verifications.run

        def run(now: float) -> None:
            genuine(now)
            if any(isinstance(event, events.KeyVerified) for event in session._events):
                disable_proofs(session)

        conversation._verifications.run = run  # type: ignore[method-assign]

    prepare(session, change)
    run_attempts(pair.open(), victim)
    assert proved(victim) == ["psk"]
    assert not victim.of(events.SessionOpened)
    with pytest.raises(LocalError):
        victim.session.send_stanza(message("secret"))


@KEYED
@ROLES
def test_a_hello_that_needs_nothing(method: str, rogue: Role) -> None:
    """To need nothing takes nothing off the victim's needs."""
    _, victim, _ = against(rogue, method, need=())
    assert_nothing_came_of_it(victim)


@KEYED
@ROLES
def test_a_hello_without_the_method(method: str, rogue: Role) -> None:
    """They say that they have no such secret: the victim ends it at once, and names what is missing."""
    _, victim, _ = against(rogue, method, methods=())
    assert has_code(Code.METHOD_NOT_CONFIGURED)(victim.failure)
    assert f"needs {method}" in str(victim.failure)
    assert_nothing_came_of_it(victim)


@ROLES
@pytest.mark.parametrize("need", ["fingerprint", "sas", "nonsense"])
def test_a_hello_that_needs_what_there_is_not(rogue: Role, need: str) -> None:
    """A need that nobody can meet by steps before a stanza flows ends it, and costs nobody a question."""
    _, victim, _ = against(rogue, methods=(need,), need=(need,))
    assert isinstance(victim.failure, AuthenticationFailed | StreamError)
    assert not victim.of(events.PromptRequested)
    assert not victim.of(events.SessionOpened)


@KEYED
@ROLES
def test_the_signalling_without_the_method(method: str, rogue: Role) -> None:
    """A server takes the method out of one half of the negotiation: both digests tell, before a step has convinced anybody."""

    def strip(security: Element) -> None:
        for each in security.findall(METHOD):
            if each.get("name") == method:
                security.remove(each)

    pair = Pair(config("alice", **terms(method)), config("bob", **terms(method)), on_jingle=edit_signalling(rogue, strip))
    run_attempts(pair.open())
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert_nothing_came_of_it(side)
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)


@KEYED
@ROLES
def test_control_a_victim_that_forgets_what_it_needs(monkeypatch: pytest.MonkeyPatch, method: str, rogue: Role) -> None:
    """Control: were the needs not waited for, a done would do: open, at no more than the servers' word."""
    monkeypatch.setattr(ProofQueue, "still_needs", lambda self, methods: False)
    pair, victim, other = against(rogue, method)
    assert victim.session.state is State.OPEN
    assert victim.session.assurance is Assurance.VOUCHED
    victim.session.send_stanza(message("secret"))
    assert pair.run().side(rogue).stanzas == ["secret"]
    assert other.session.state is State.OPEN


@KEYED
@ROLES
def test_only_the_pinned_key_itself_needs_no_proof(method: str, rogue: Role) -> None:
    """A key that is not the pinned one gets no done for a done either, whatever was pinned before."""
    victim = "bob" if rogue is Role.INITIATOR else "alice"
    stale = {f"{victim}_remembers": remembers("mallory", Assurance.VERIFIED, "pin")}
    sides = {role: terms() if role is rogue else terms(method) for role in Role}
    pair = Pair(config("alice", **sides[Role.INITIATOR]), config("bob", **sides[Role.RESPONDER]), **stale)
    disable_proofs(pair.side(rogue).session)
    run_attempts(pair.open(), pair.side(rogue.other))
    assert_nothing_came_of_it(pair.side(rogue.other))

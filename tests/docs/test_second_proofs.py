"""psk, srp and sas of an implementation that was written from docs/protocol.md alone, with ours, in both roles."""

from __future__ import annotations

import hashlib

import pytest

from tests.docs import second_proofs
from tests.docs.second_pair import ROLES, Wire
from tests.pair import body
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import AttemptStarted, CompareSas
from xmpp_e2e.authenticate.sas_text import SasForm, render
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.states import State
from xmpp_e2e.types import Role

SECRETS = {"psk": hashlib.sha256(b"key").digest(), "srp": hashlib.sha256(b"stretched").digest()}
ABLE = {"shared_secrets": SECRETS, "promptable_methods": frozenset({"sas"})}
NEEDS = pytest.mark.parametrize("needs", [("psk",), ("srp",), ("psk", "srp")], ids=" ".join)


@NEEDS
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
@ROLES
def test_what_is_needed_runs_before_a_stanza(role: Role, who: str, needs: tuple[str, ...]) -> None:
    """Whoever needs them, the methods prove each side to the other, and then stanzas flow."""
    ours = {**ABLE, "required_methods": needs if who != "theirs" else ()}
    wire = Wire(role, ours=ours, theirs={"secrets": SECRETS, "need": needs if who != "ours" else ()})
    assert wire.theirs.open
    assert wire.proofs == (list(needs), list(needs))
    wire.we_say("one")
    wire.they_say("two")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["one"]
    assert wire.ours.side.stanzas == ["two"]


@ROLES
def test_each_side_may_need_another(role: Role) -> None:
    """Those of the initiator come first, in the same order on both sides."""
    wire = Wire(role, ours={**ABLE, "required_methods": ("srp",)}, theirs={"secrets": SECRETS, "need": ("psk",)})
    first, second = ("srp", "psk") if role is Role.INITIATOR else ("psk", "srp")
    assert wire.proofs == ([first, second], [first, second])
    assert wire.ours.session.state is State.OPEN


@pytest.mark.parametrize("method", ["psk", "srp"])
@ROLES
def test_another_secret_proves_nothing(role: Role, method: str) -> None:
    """Nobody opens, and a guess of a password is spent on both sides."""
    other = {"secrets": {method: bytes(32)}, "need": (method,)}
    wire = Wire(role, ours={**ABLE, "required_methods": (method,)}, theirs=other)
    assert not wire.theirs.open
    assert wire.theirs.ended == "security-error"
    assert isinstance(wire.ours.side.failure, AuthenticationFailed)
    assert wire.proofs == ([], [])
    spent = [asked.prompt for asked in wire.ours.side.of(events.PromptRequested)]
    assert spent == ([AttemptStarted("srp")] if method == "srp" else [])
    assert wire.theirs.runs.talks[-1].spent == (["spent"] if method == "srp" else [])


@ROLES
def test_a_need_that_the_other_cannot_meet(role: Role) -> None:
    """Both sides learn from the hello that it cannot be."""
    for ours, theirs in (({"required_methods": ("psk",), **ABLE}, {}), ({}, {"need": ("psk",), "secrets": SECRETS})):
        wire = Wire(role, ours=ours, theirs=theirs)
        assert isinstance(wire.ours.side.failure, AuthenticationFailed)
        assert wire.theirs.ended == "security-error"


@pytest.mark.parametrize("method", ["psk", "srp"])
@pytest.mark.parametrize("who", ["ours", "theirs"])
@ROLES
def test_a_secret_proves_later(role: Role, who: str, method: str) -> None:
    wire = Wire(role, ours=ABLE, theirs={"secrets": SECRETS})
    if who == "ours":
        wire.we_want(method)
    else:
        wire.theirs.want(method)
    wire.run()
    assert wire.proofs == ([method], [method])
    wire.we_say("and on")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["and on"]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
@ROLES
def test_two_people_compare(role: Role, who: str, same: bool) -> None:
    wire = Wire(role, ours=ABLE, theirs={"compares": True})
    if who != "theirs":
        wire.we_want("sas")
    if who != "ours":
        wire.theirs.want("sas")
    wire.run()
    question = wire.ours.session.pending_prompt
    assert isinstance(question, CompareSas)
    shown = second_proofs.shown(wire.theirs.runs.talks[-1].code)
    assert shown == {form.value: list(render(question.code, form)) for form in SasForm}
    wire.we_answer(b"match")
    wire.theirs.compared(same)
    wire.run()
    assert wire.ours.side.of(events.PeerSasResult) == [events.PeerSasResult("sas", same)]
    assert wire.proofs == (["sas"], ["sas"] if same else [])
    assert (wire.ours.session.state is State.OPEN) == wire.theirs.open == same


@pytest.mark.parametrize("who", ["ours", "theirs"])
@ROLES
def test_a_wish_may_be_declined(role: Role, who: str) -> None:
    wire = Wire(role)
    if who == "ours":
        wire.we_want("sas")
    else:
        wire.theirs.want("sas")
    wire.run()
    declined = (
        [event.method for event in wire.ours.side.of(events.VerificationDeclined)]
        if who == "ours"
        else wire.theirs.runs.declined
    )
    assert declined == ["sas"]
    wire.we_say("all the same")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["all the same"]

"""The table of stages: what is not in it is illegal, and OPEN and CLOSED are what the rules at its head say."""

from __future__ import annotations

import pytest

from xmpp_e2e.stages import BEFORE_OPEN, DEADLINES, LATE, TRANSITIONS, Input, Stage, diagram, successor


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("happened", Input)
def test_undefined_is_illegal(stage: Stage, happened: Input) -> None:
    """Every pair leads where the table says, and every other pair nowhere."""
    assert successor(stage, happened) == TRANSITIONS.get((stage, happened))


def test_open_has_two_doors() -> None:
    """OPEN is entered with our proof and the peer's done, in either order, and in no other way."""
    doors = {key for key, after in TRANSITIONS.items() if after is Stage.OPEN and key[0] is not Stage.OPEN}
    assert doors == {(Stage.AWAITED, Input.PROOF), (Stage.PROVED, Input.DONE)}


def test_each_input_has_its_stages() -> None:
    """What can happen when: said here a second time, so that no row comes or goes unnoticed."""
    legal = {
        Input.OFFER: {Stage.IDLE},
        Input.INITIATE: {Stage.IDLE},
        Input.ACCEPT: {Stage.INVITED},
        Input.ACCEPTED: {Stage.OFFERED},
        Input.CONNECTED: {Stage.CONNECTING},
        Input.SECURE: {Stage.HANDSHAKING},
        Input.HELLO: {Stage.SECURED, Stage.EARLY},
        Input.PROOF: {Stage.SECURED, Stage.GREETED, Stage.AWAITED},
        Input.STEP: {Stage.GREETED, Stage.PROVED, Stage.AWAITED, Stage.OPEN, Stage.CLOSING},
        Input.DONE: {Stage.GREETED, Stage.PROVED},
        Input.STANZA: {Stage.AWAITED, Stage.OPEN, Stage.CLOSING},
        Input.CLOSE: {Stage.OPEN},
        Input.FAREWELL: {Stage.OPEN, Stage.CLOSING},
        Input.FAIL: set(Stage) - {Stage.IDLE, Stage.CLOSED},
        Input.END: {Stage.CLOSING, Stage.LEAVING},
    }
    assert {happened: {stage for stage, other in TRANSITIONS if other is happened} for happened in Input} == legal


def test_closed_is_final() -> None:
    """Nothing leaves CLOSED."""
    assert not any(stage is Stage.CLOSED for stage, _ in TRANSITIONS)


def test_stanzas_have_their_stages() -> None:
    """A stanza is legal only when the peer is done, or when it was sent before our farewell reached him."""
    legal = {stage for stage, happened in TRANSITIONS if happened is Input.STANZA}
    assert legal == {Stage.AWAITED, Stage.OPEN, Stage.CLOSING}


def test_done_needs_a_hello() -> None:
    """A done is legal only after a checked hello."""
    assert {stage for stage, happened in TRANSITIONS if happened is Input.DONE} == {Stage.GREETED, Stage.PROVED}


def test_every_stage_that_waits_has_a_deadline() -> None:
    """No stage between the first and the last lasts for ever."""
    assert set(DEADLINES) == set(Stage) - {Stage.IDLE, Stage.CLOSED}
    assert set(DEADLINES) - {Stage.OPEN, Stage.CLOSING, Stage.LEAVING} == BEFORE_OPEN == set(LATE)


def test_the_diagram_shows_the_table() -> None:
    """The drawn diagram has one arrow for each transition that is no failure."""
    arrows = [line for line in diagram().splitlines() if "-->" in line]
    assert len(arrows) == sum(happened is not Input.FAIL for _, happened in TRANSITIONS)

"""The table of states: what is not in it is illegal, and OPEN and CLOSED are what the rules at its head say."""

from __future__ import annotations

from xmpp_e2e.states import NOT_YET_OPEN, STATE_TIMEOUTS, TIMEOUT_MESSAGES, TRANSITIONS, State, Trigger, diagram


def test_open_has_two_doors() -> None:
    """OPEN is entered with our proof and the peer's done, in either order, and in no other way."""
    doors = {key for key, after in TRANSITIONS.items() if after is State.OPEN and key[0] is not State.OPEN}
    assert doors == {(State.DONE_RECEIVED, Trigger.POLICY_MET), (State.DONE_SENT, Trigger.DONE)}


def test_each_input_has_its_stages() -> None:
    legal = {
        Trigger.OFFER: {State.IDLE},
        Trigger.INITIATE: {State.IDLE},
        Trigger.ACCEPT: {State.OFFER_RECEIVED},
        Trigger.ACCEPTED: {State.OFFER_SENT},
        Trigger.CONNECTED: {State.CONNECTING},
        Trigger.TLS_UP: {State.HANDSHAKING},
        Trigger.HELLO: {State.SECURED, State.SENT_DONE_EARLY},
        Trigger.POLICY_MET: {State.SECURED, State.HELLO_CHECKED, State.DONE_RECEIVED},
        Trigger.STEP: {State.HELLO_CHECKED, State.DONE_SENT, State.DONE_RECEIVED, State.OPEN, State.CLOSING},
        Trigger.DONE: {State.HELLO_CHECKED, State.DONE_SENT},
        Trigger.STANZA: {State.DONE_RECEIVED, State.OPEN, State.CLOSING},
        Trigger.CLOSE: {State.OPEN},
        Trigger.PEER_CLOSED: {State.OPEN, State.CLOSING},
        Trigger.FAIL: set(State) - {State.CLOSED},
        Trigger.END: {State.CLOSING, State.PEER_CLOSING},
    }
    assert {happened: {stage for stage, other in TRANSITIONS if other is happened} for happened in Trigger} == legal


def test_every_stage_that_waits_has_a_deadline() -> None:
    assert set(STATE_TIMEOUTS) == set(State) - {State.IDLE, State.CLOSED}
    opening = NOT_YET_OPEN - {State.IDLE}
    assert set(STATE_TIMEOUTS) - {State.OPEN, State.CLOSING, State.PEER_CLOSING} == opening == set(TIMEOUT_MESSAGES)


def test_the_diagram_shows_the_table() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line]
    assert len(arrows) == sum(happened is not Trigger.FAIL for _, happened in TRANSITIONS)

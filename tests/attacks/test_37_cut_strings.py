"""Attack 37: the man in the middle sees that the strings differ before the people do, and cuts the run to try again."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.mitm import SessionMitm
from tests.attacks.proof_mitm import ASKED, proved, shown, terms
from tests.pair import Pair, Side, config, talk
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role


def comparing() -> SessionMitm:
    """A run on either side; both people have their strings before them."""
    middle = SessionMitm(alice=terms(), bob=terms())
    for mallory in (middle._near.bob, middle._far.alice):
        mallory.session.config = replace(mallory.session.config, promptable_methods=ASKED)
    middle.open()
    middle.alice.session.request_verification("sas", middle._near.now)
    middle._far.alice.session.request_verification("sas", middle._far.now)
    middle.relay()
    assert shown(middle.alice) != shown(middle.bob)
    return middle


def assert_nothing_is_pinned(side: Side, now: float) -> None:
    """It is over, told as a cut; a user who answers now, and says "match", pins nothing."""
    assert side.session.state is State.CLOSED
    (ended,) = side.of(events.SessionClosed)
    assert not ended.clean
    assert ended.error is not None
    assert explain(ended.error)
    assert side.session.pending_prompt is None
    with pytest.raises(LocalError):
        side.session.answer_prompt(b"match", now)
    assert not proved(side)
    assert side.session.assurance is Assurance.VOUCHED


@pytest.mark.parametrize("how", ["end of file", "silence"])
def test_a_run_that_is_cut_pins_nothing(how: str) -> None:
    """He cuts both lines, or lets both people wait: both sides are told that it ended, and are as sure as before."""
    middle = comparing()
    for pair, role in ((middle._near, Role.INITIATOR), (middle._far, Role.RESPONDER)):
        if how == "silence":
            pair.pass_time(301.0)
        else:
            pair.end_transport(role)
        assert_nothing_is_pinned(pair.side(role), pair.now)


def test_he_cannot_try_again_in_the_session() -> None:
    """The attacker declines the run that went wrong; another cannot be begun, by whomever."""
    middle = comparing()
    pair = middle._near
    talk(pair.bob.session).out.element(Element(auth.DECLINE, {"method": "sas"}))
    pair.run()
    assert [event.method for event in middle.alice.of(events.VerificationDeclined)] == ["sas"]
    with pytest.raises(LocalError, match="has run"):
        middle.alice.session.request_verification("sas", pair.now)
    assert not proved(middle.alice)


def test_control_an_honest_run_pins() -> None:
    """Control: the same without a man in the middle; both say that the strings match, and both have proved the other's key."""
    pair = Pair(config("alice", **terms()), config("bob", **terms())).open()
    pair.alice.session.request_verification("sas", pair.now)
    pair.run()
    for side in (pair.alice, pair.bob):
        side.session.answer_prompt(b"match", pair.now)
    pair.run()
    assert proved(pair.alice) == proved(pair.bob) == ["sas"]

"""Attack 37: the middleman sees that the strings differ before the people do, and cuts the run to try again."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.middleman import Middleman
from tests.attacks.steps import ASKED, proved, shown, terms
from tests.pair import Pair, Side, config
from xmpp_e2e import events
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance, Role
from xmpp_e2e.stages import Stage


def comparing() -> Middleman:
    """A run on either side; both people have their strings before them."""
    middle = Middleman(alice=terms(), bob=terms())
    for mallory in (middle._near.bob, middle._far.alice):
        mallory.session._inner._config = replace(mallory.session.config, asks=ASKED)
    middle.open()
    middle.alice.session.request("sas", middle._near.now)
    middle._far.alice.session.request("sas", middle._far.now)
    middle.relay()
    assert shown(middle.alice) != shown(middle.bob)
    return middle


def assert_nothing_is_pinned(side: Side, now: float) -> None:
    """It is over, told as a cut; a user who answers now, and says "match", pins nothing."""
    assert side.session.stage is Stage.CLOSED
    (ended,) = side.of(events.SessionEnd)
    assert not ended.clean
    assert ended.error is not None
    assert ended.error.explain()
    assert side.session.question is None
    with pytest.raises(LocalError):
        side.session.answer(b"match", now)
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
    """He declines the run that went wrong for him; another cannot be begun, by whomever."""
    middle = comparing()
    pair = middle._near
    pair.bob.session._inner.out.element(Element(auth.DECLINE, {"method": "sas"}))
    pair.run()
    assert [event.method for event in middle.alice.of(events.Declined)] == ["sas"]
    with pytest.raises(LocalError, match="has run"):
        middle.alice.session.request("sas", pair.now)
    assert not proved(middle.alice)


def test_control_an_honest_run_pins() -> None:
    """Control: the same without a middleman; both say that the strings match, and both have proved the other's key."""
    pair = Pair(config("alice", **terms()), config("bob", **terms())).open()
    pair.alice.session.request("sas", pair.now)
    pair.run()
    for side in (pair.alice, pair.bob):
        side.session.answer(b"match", pair.now)
    pair.run()
    assert proved(pair.alice) == proved(pair.bob) == ["sas"]

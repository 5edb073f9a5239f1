"""Attack 33: a guesser poses as the responder, learns from the initiator's tag whether he was right, and cuts the line.

The guess is counted before the tag is sent, so nothing that he does afterwards can undo it.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.attacks.steps import proved, terms
from tests.pair import Pair, config
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import Ask, GuessReturned, GuessSpent, Proven, Step
from xmpp_e2e.authenticate.dialogue import Dialogue
from xmpp_e2e.identity import Assurance, Role
from xmpp_e2e.stages import Stage


def met() -> Pair:
    """Alice needs the password, and Bob's place is taken by a guesser."""
    guesser = terms(secrets={"srp": bytes(32)})
    return Pair(config("alice", **terms("srp")), config("bob", **guesser)).open()


def counted(pair: Pair) -> list[int]:
    """Alice's host counts; how many steps the guesser had heard each time."""
    at = []
    pair.run()
    while isinstance(pair.alice.session.question, GuessSpent | GuessReturned):
        at.append(pair.bob.session._inner._steps)
        pair.alice.session.answer(b"", pair.now)
        pair.run()
    return at


@pytest.mark.parametrize("how", ["end of file", "terminate", "silence"])
def test_a_guess_counts_however_it_ends(how: str) -> None:
    """Alice has counted when he had heard A alone; the line is cut, closed or silent, and nothing is taken back."""
    pair = met()
    assert isinstance(pair.alice.session.question, GuessSpent)
    # from here on nothing of his arrives
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    pair.on_jingle = lambda role, element: []
    assert counted(pair) == [1]
    assert pair.bob.session._inner._steps == 2  # he has the tag
    if how == "end of file":
        pair.end_transport(Role.INITIATOR)
    elif how == "terminate":
        pair.alice.session.receive_jingle_error("gone", pair.now)
    else:
        pair.pass_time(301.0)
    assert pair.alice.session.stage is Stage.CLOSED
    assert [type(event.question) for event in pair.alice.of(events.Asked)] == [GuessSpent]
    assert not proved(pair.alice)
    assert not pair.alice.of(events.SessionStart)


def test_the_tag_waits_for_the_count() -> None:
    """Until the host has said that it is stored, the tag is not said, for as long as it takes."""
    pair = met()
    pair.pass_time(200.0)
    assert isinstance(pair.alice.session.question, GuessSpent)
    assert pair.bob.session._inner._steps == 1


def late(self: Dialogue, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Step, bytes, Proven]:
    """The initiator counts what has turned out to be wrong."""
    yield from self.say(self._tag(key, Role.INITIATOR))
    yield from self._expect(self._tag(key, Role.RESPONDER))
    yield Ask(GuessSpent(self._method))
    raise self.failed()


def test_control_counted_afterwards_it_is_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: who counts wrong answers only gives as many guesses as there are sessions to him who never answers."""
    monkeypatch.setattr(Dialogue, "confirm", late)
    pair = met()
    pair.end_transport(Role.INITIATOR)
    assert counted(pair) == []
    assert pair.alice.session.stage is Stage.CLOSED
    assert not pair.alice.of(events.Asked)

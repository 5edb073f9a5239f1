"""Attack 33: a guesser poses as the responder, learns from the initiator's tag whether it was right, and cuts the line.

The guess is counted before the tag is sent, so nothing that they do afterwards can undo it.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.attacks.proof_mitm import proved, terms
from tests.pair import Pair, config, talk
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import (
    AskHost,
    AttemptStarted,
    AttemptSucceeded,
    Effect,
    Proof,
)
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role


def met() -> Pair:
    """Alice needs the password, and Bob's place is taken by a guesser."""
    guesser = terms(shared_secrets={"srp": bytes(32)})
    return Pair(config("alice", **terms("srp")), config("bob", **guesser)).open()


def counted(pair: Pair) -> list[int]:
    """Alice's host counts; how many steps the guesser had heard each time."""
    at = []
    pair.run()
    while isinstance(pair.alice.session.pending_prompt, AttemptStarted | AttemptSucceeded):
        at.append(talk(pair.bob.session)._verifications._messages)
        pair.alice.session.answer_prompt(b"", pair.now)
        pair.run()
    return at


@pytest.mark.parametrize("how", ["end of file", "terminate", "silence"])
def test_a_guess_counts_however_it_ends(how: str) -> None:
    """Alice has counted when the guesser had heard A alone; the line is cut, closed or silent, and nothing is taken back."""
    pair = met()
    assert isinstance(pair.alice.session.pending_prompt, AttemptStarted)
    # from here on nothing of theirs arrives
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    pair.on_jingle = lambda role, element: []
    assert counted(pair) == [1]
    assert talk(pair.bob.session)._verifications._messages == 2  # Bob has the tag
    if how == "end of file":
        pair.end_transport(Role.INITIATOR)
    elif how == "terminate":
        pair.alice.session.receive_jingle_error("gone", pair.now)
    else:
        pair.pass_time(301.0)
    assert pair.alice.session.state is State.CLOSED
    assert [type(event.prompt) for event in pair.alice.of(events.PromptRequested)] == [AttemptStarted]
    assert not proved(pair.alice)
    assert not pair.alice.of(events.SessionOpened)


def test_the_tag_waits_for_the_count() -> None:
    """Until the host has said that it is stored, the tag is not said, for as long as it takes."""
    pair = met()
    pair.pass_time(200.0)
    assert isinstance(pair.alice.session.pending_prompt, AttemptStarted)
    assert talk(pair.bob.session)._verifications._messages == 1


def late(self: ProofExchange, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Effect, bytes, Proof]:
    """The initiator counts what has turned out to be wrong."""
    yield from self.send(self._tag(key, Role.INITIATOR))
    yield from self._expect(self._tag(key, Role.RESPONDER))
    yield AskHost(AttemptStarted(self._method))
    raise self.failure()


def test_control_counted_afterwards_it_is_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: who counts wrong answers only gives as many guesses as there are sessions to a peer who never answers."""
    monkeypatch.setattr(ProofExchange, "confirm_key", late)
    pair = met()
    pair.end_transport(Role.INITIATOR)
    assert counted(pair) == []
    assert pair.alice.session.state is State.CLOSED
    assert not pair.alice.of(events.PromptRequested)

"""Who is told of what was not sent, and how often: answers come at the peers' will."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import Iq

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.messages.failures import ANSWERS, ANSWERS_IN_ALL, SendFailures
from slixmpp_e2e.messages.iq_tracking import IqTracker
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from tests.slixmpp_e2e.messages.stanzas import BODY, offline_client, stanza

GONE = NotSent("the session has ended", NotSentReason.SESSION_CLOSED)


class Told:
    """What is told, as time goes by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[SendFailed] = []
        emitter: Any = self
        self.failures = SendFailures(offline_client(), IqTracker(lambda stamped: ALICE), emitter, lambda: self.now)

    def emit(self, event: SendFailed) -> None:
        self.events.append(event)

    def answers(self, number: int, *peers: str) -> int:
        before = len(self.events)
        for _ in range(number):
            for peer in peers:
                self.failures.report(stanza("iq", "result", to=peer, id="1"), GONE)
        return len(self.events) - before


async def test_of_answers_it_is_told_at_a_bounded_rate() -> None:
    told = Told()
    assert told.answers(1000, BOB, "bob@localhost/2") == ANSWERS.burst
    assert told.answers(1, "carol@localhost/c") == 1
    told.now += 1 / ANSWERS.per_second
    assert told.answers(10, BOB) == 1
    crowd = [f"{number}@localhost/x" for number in range(1000)]
    assert told.answers(1, *crowd) < ANSWERS_IN_ALL.burst


async def test_of_what_the_program_has_sent_itself_it_is_always_told() -> None:
    told = Told()
    for _ in range(200):
        told.failures.report(stanza("message", "chat", BODY, to=BOB), GONE)
        told.failures.report(stanza("iq", "get", to=BOB, id="1"), GONE)
    assert len(told.events) == 400


PAYLOAD = "<query xmlns='jabber:iq:version'/>"


@pytest.mark.parametrize(
    "request_",
    [f"<iq type='get'>{PAYLOAD}</iq>", f"<iq type='get' id='1'>{PAYLOAD}{PAYLOAD}</iq>", "<iq type='set' id='1'/>"],
    ids=["no id", "two payloads", "no payload"],
)
async def test_requests_that_cannot_be_answered_harm_nothing(env: Env, request_: str) -> None:
    """However many come through a session: it goes on, and the program is told a few times at most."""
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    failed, heard = Events(alice, "e2e_send_failed"), Events(alice, "message")
    for _ in range(100):
        theirs.send(Iq(xml=fromstring(request_.replace("<iq", "<iq xmlns='jabber:client'"))))
        await env.settle(bob)
    bob.send_message(mto=ALICE, mbody="still here")
    assert await heard.bodies(1) == ["still here"]
    assert ours.is_open
    assert e2e(alice).sessions() == (ours,)
    assert len(failed) <= ANSWERS.burst

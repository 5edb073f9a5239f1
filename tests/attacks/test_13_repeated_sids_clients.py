"""Attack 13 end to end: real clients, the sid of a session comes again: from another JID, or in a second initiate or accept."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from types import SimpleNamespace
from xml.etree.ElementTree import Element

import pytest

from tests.attacks.test_13_repeated_sids import doctored
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle, until
from xmpp_loopback import Direction, to_text

CAROL = "carol@localhost/c"
ERRORS = "{urn:xmpp:jingle:errors:1}"


def _answers(stanza: Element) -> bool:
    return stanza.get("id") == "again" and stanza.get("type") in ("result", "error")


class Repeater:
    """A server that sends one half of the negotiation again, doctored, after each stanza that passes."""

    def __init__(self, env: Env, action: str) -> None:
        self._env, self._matches = env, jingle(action)
        self._half: Element | None = None
        self._times = 0
        env.server.hooks.append(self._handle)

    def _handle(self, stanza: Element, sender: str) -> Element:
        if self._half is None and self._matches(stanza, sender):
            self._half = deepcopy(stanza)
        elif self._half is not None and self._times < 10:
            again = doctored(self._half)
            again.set("id", f"again{self._times}")
            self._times += 1
            self._env.server.inject(again.get("to", ""), to_text(again))
        return stanza

    def answers(self) -> Iterator[tuple[str, str]]:
        """The conditions that the victim has answered with."""
        for handled in self._env.server.handled:
            iq = handled.element
            if handled.direction is Direction.RECEIVED and iq.get("id", "").startswith("again"):
                error = iq.find("{jabber:client}error")
                assert error is not None
                yield error[0].tag.rpartition("}")[2], next(child.tag for child in error if child.tag.startswith(ERRORS))


@pytest.mark.parametrize("action", ["session-initiate", "session-accept"])
async def test_a_second_half_changes_nothing(env: Env, action: str) -> None:
    """Out of order, each time; the session opens under the key of the first half, and carries what is said."""
    alice, bob = await env.pair()
    repeater = Repeater(env, action)
    ours, theirs = await env.session(alice, bob)
    heard, replies = Events(bob, "message"), Events(alice, "message")
    alice.send_message(mto=BOB, mbody="question")
    bob.send_message(mto=ALICE, mbody="answer")
    assert await heard.bodies(1) == ["question"]
    assert await replies.bodies(1) == ["answer"]
    await env.settle(alice, bob)
    answers = list(repeater.answers())
    assert len(answers) >= 5
    assert set(answers) == {("unexpected-request", f"{ERRORS}out-of-order")}
    assert (ours.fingerprint, theirs.fingerprint) == (e2e(bob).fingerprint, e2e(alice).fingerprint)
    assert e2e(alice).sessions() == (ours,)
    assert e2e(bob).sessions() == (theirs,)


@pytest.mark.parametrize("taken", [True, False], ids=["the sid of a live session", "control: another"])
async def test_a_bytestream_belongs_to_one_session(env: Env, taken: bool) -> None:
    """An offer with the stream sid of a live session is refused, and harms nothing. (Control: with another it is accepted.)"""
    alice, bob = await env.pair()
    offers: list[Element] = []

    def note(stanza: Element, sender: str) -> Element:
        if jingle("session-initiate")(stanza, sender):
            offers.append(deepcopy(stanza))
        return stanza

    env.server.hooks.append(note)
    ours, theirs = await env.session(alice, bob)
    [again] = offers
    again.set("id", "again")
    for element in again.iter():
        if element.tag.endswith("}jingle") or (element.tag.endswith("}transport") and not taken):
            element.set("sid", element.get("sid", "")[::-1])
    env.server.inject(BOB, to_text(again))
    answer = await until(env.server.wait_for(lambda handled: _answers(handled.element)))
    assert answer.element.get("type") == ("error" if taken else "result")
    heard, replies = Events(bob, "message"), Events(alice, "message")
    alice.send_message(mto=BOB, mbody="question")
    bob.send_message(mto=ALICE, mbody="answer")
    assert await heard.bodies(1) == ["question"]
    assert await replies.bodies(1) == ["answer"]
    assert (ours.is_open, theirs.is_open) == (True, True)


async def test_the_same_sid_from_another_jid(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Carol throws the same dice as Alice: two sessions with Bob under one sid, and one sid for two bytestreams. Neither
    touches the other, and the end of one is not that of the other."""
    monkeypatch.setattr("slixmpp_e2e.sessions.factory.os", SimpleNamespace(urandom=lambda count: b"\x13" * count))
    alice, bob = await env.pair()
    carol = await env.client(CAROL)
    await env.settle(bob, carol)
    (first, alices), (_, carols) = await env.session(alice, bob), await env.session(carol, bob)
    assert alices.sid == carols.sid
    heard = Events(bob, "message")
    for client in (alice, carol, alice, carol):
        client.send_message(mto=BOB, mbody=f"from {client.boundjid.user}")
        message = await heard.take()
        assert message["from"] == client.boundjid
        assert message["body"] == f"from {client.boundjid.user}"
        assert message["e2e"]["fingerprint"] == e2e(client).fingerprint
    await until(first.close())
    carol.send_message(mto=BOB, mbody="still here")
    assert (await heard.take())["e2e"]["session"] is carols
    assert e2e(bob).sessions() == (carols,)

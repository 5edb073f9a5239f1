"""Attack 13: a sid that is taken: from another JID, or in a second initiate or accept; no state is overwritten."""

from __future__ import annotations

from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

import pytest

from tests.attacks.signalling_edits import ACTIONS, FINGERPRINT, METHOD, SECURITY, fingerprint_of
from tests.pair import ALICE, BOB, Pair, config, has_code, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import Code, JingleError
from xmpp_e2e.negotiate.jingle import Action, Jingle
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.types import Role

CAROL = "carol@c.test/sofa"


def doctored(element: Element) -> Element:
    """The same half with Mallory's fingerprint, another nonce and one method more."""
    again = deepcopy(element)
    for security in again.iter(SECURITY):
        security.set("nonce", "A" * 22 + "==")
        SubElement(security, METHOD, {"name": "better"})
        for found in security.findall(FINGERPRINT):
            found.text = fingerprint_of("mallory")
    return again


class Repeater:
    """After each thing that passes, the half of ``role`` comes again, doctored, if it has come before."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._half: Element | None = None
        self.answers: list[tuple[State, str, str | None]] = []
        """What the victim's session was doing, and what it answered."""
        self.pair = Pair(on_jingle=self._jingle, on_data=self._data)

    def _jingle(self, sender: Role, element: Element) -> list[Element]:
        if sender is self._role and element.get("action") == ACTIONS[self._role]:
            self._half = element
        else:
            self.again()
        return [element]

    def _data(self, sender: Role, data: bytes) -> list[bytes]:
        self.again()
        return [data]

    def again(self) -> None:
        """Once more."""
        victim = self.pair.side(self._role.other).session
        if self._half is None or victim.state is State.OFFER_SENT:
            return
        was = victim.state
        with pytest.raises(JingleError) as caught:
            victim.receive_jingle(doctored(self._half), self.pair.now)
        assert victim.state is was
        self.answers.append((was, caught.value.condition, caught.value.jingle_condition))


@pytest.mark.parametrize("role", Role)
def test_a_second_half_changes_nothing(role: Role) -> None:
    """In every state the answer is out-of-order, and the session opens under the first half's key as if nothing had come."""
    repeater = Repeater(role)
    pair = repeater.pair.open()
    repeater.again()
    for side, other in ((pair.alice, "bob"), (pair.bob, "alice")):
        assert side.session.state is State.OPEN
        assert side.session.fingerprint == identity(other).fingerprint
        side.session.send_stanza(message("hello"))
    pair.run()
    assert pair.alice.stanzas == pair.bob.stanzas == ["hello"]
    assert len({stage for stage, *_ in repeater.answers}) >= 2
    assert {tuple(answer[1:]) for answer in repeater.answers} == {("unexpected-request", "out-of-order")}


def test_control_without_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were a second initiate taken like the first, it would put its fingerprint in the place of the peer's."""
    genuine = Session._ON_JINGLE[Action.SESSION_INITIATE]

    def careless(self: Session, jingle: Jingle, now: float) -> None:
        self._machine.state = State.IDLE
        genuine(self, jingle, now)

    pair = Pair().open()
    assert pair.bob.session._negotiation.peer_certificate_digest == identity("alice").certificate_digest
    monkeypatch.setitem(Session._ON_JINGLE, Action.SESSION_INITIATE, careless)
    pair.deliver(Role.RESPONDER, doctored(pair.alice.jingle_sent[0]))
    assert pair.bob.session._negotiation.peer_certificate_digest == identity("mallory").certificate_digest


def test_the_same_sid_from_another_jid() -> None:
    """Carol takes the sid of Alice's session with Bob, and its stream's: two sessions, and neither touches the other."""
    pair = Pair().open()
    # whoever throws the same dice gets the same sids
    other = Pair(config("alice", own_jid=CAROL, own_key=identity("carol")), config("bob", peer_jid=CAROL)).open()
    assert other.bob.session.sid == pair.bob.session.sid
    for sessions, sender, name in ((pair, ALICE, "alice"), (other, CAROL, "carol")):
        sessions.alice.session.send_stanza(message("hello"))
        (received,) = sessions.run().bob.of(events.StanzaReceived)
        assert (received.stanza.get("from"), received.stanza.get("to")) == (sender, BOB)
        assert sessions.bob.session.fingerprint == identity(name).fingerprint


def test_an_accept_for_another_sid() -> None:
    """A host that hands an accept to the wrong session is found out inside: the sid is in the digest, and in the hello."""

    def renamed(sender: Role, element: Element) -> list[Element]:
        if sender is Role.RESPONDER:
            element.set("sid", "0" * 32)
        return [element]

    pair = Pair(on_jingle=renamed).open()
    for side in (pair.alice, pair.bob):
        assert not side.of(events.SessionOpened)
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)

"""Attack 12: somebody else than the peer continues a session, or is named as the one who began it.

State belongs to (own JID, peer's full JID, sid); hosts look it up by what servers stamp (`test_16_forged_origin.py` has the
clients). What is tried here gets past that, and meets the session itself.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.attacks.signalling_edits import ACTIONS
from tests.pair import ALICE, BOB, JingleHook, Pair, config, has_code, message
from xmpp_e2e import events
from xmpp_e2e.errors import AuthenticationFailed, Code, StreamError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.states import State
from xmpp_e2e.stream.reader import Header
from xmpp_e2e.types import Role

CAROL = "carol@c.test/sofa"
OTHERS = [CAROL, "alice@a.test/tablet", "alice@a.test", "a.test", "Alice@a.test/phone"]


def names(role: Role, **attributes: str) -> JingleHook:
    """``initiator=`` or ``responder=`` in what ``role`` signals."""

    def hook(sender: Role, element: Element) -> list[Element]:
        if sender is role and element.get("action") == ACTIONS[role]:
            element.attrib.update(attributes)
        return [element]

    return hook


def assert_nothing_came_of_it(pair: Pair) -> None:
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("attribute", ["initiator", "responder"])
@pytest.mark.parametrize("name", [*OTHERS, ""])
def test_who_is_named_does_not_count(role: Role, attribute: str, name: str) -> None:
    """The attributes of <jingle/> are ignored: the peer is who sent the iq, whoever it names, and so stanzas say."""
    pair = Pair(on_jingle=names(role, **{attribute: name})).open()
    pair.alice.session.send_stanza(message("hello"))
    (received,) = pair.run().bob.of(events.StanzaReceived)
    assert (received.stanza.get("from"), received.stanza.get("to")) == (ALICE, BOB)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("role", Role)
def test_the_stream_is_from_the_very_peer(role: Role, name: str) -> None:
    """Another resource, the account, its server, another spelling: compared as strings, each is somebody else."""
    liar = {"alice": config("alice", own_jid=name)} if role is Role.INITIATOR else {"bob": config("bob", own_jid=name)}
    pair = Pair(**liar).open()
    assert_nothing_came_of_it(pair)
    victim = pair.side(role.other)
    assert isinstance(victim.failure, StreamError | AuthenticationFailed)


@pytest.mark.parametrize("role", Role)
def test_the_digest_has_the_full_jids(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the header believed, the digest would still tell another resource from the peer."""
    believe_headers(monkeypatch)
    assert has_code(Code.NEGOTIATION_ALTERED)(third_resource(role).bob.failure)


@pytest.mark.parametrize("role", Role)
def test_control_without_either(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with neither check another resource continues what the peer began."""
    believe_headers(monkeypatch)
    monkeypatch.setattr(Hello, "verify_matches", lambda self, ours: None)
    pair = third_resource(role)
    pair.side(role).session.send_stanza(message("from elsewhere"))
    assert pair.run().side(role.other).stanzas == ["from elsewhere"]


def third_resource(role: Role) -> Pair:
    if role is Role.INITIATOR:
        return Pair(alice=config("alice", own_jid="alice@a.test/tablet")).open()
    return Pair(bob=config("bob", own_jid="bob@b.test/tablet")).open()


def believe_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(self: Conversation, header: Header) -> None:
        pass

    monkeypatch.setattr(Conversation, "_on_header", believe)

"""The man in the middle handles only its own session. Its attacks are in tests/attacks."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from xmpp_e2e.states import State
from xmpp_loopback import parse
from xmpp_loopback.mitm import Mitm

ALICE, BOB = "alice@localhost/a", "bob@localhost/b"


def test_the_end_of_an_earlier_session_passes_by() -> None:
    """A session-terminate that was still on its way passes unchanged."""
    said: list[Element] = []
    relay = Mitm(lambda to, stanza: said.append(stanza), ALICE, BOB)
    for sender, to in ((ALICE, BOB), (BOB, ALICE)):
        stray = parse(
            f"<iq type='set' id='1' from='{sender}' to='{to}'>"
            "<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='of before'/></iq>"
        )
        assert relay(stray, sender) is stray
    assert {relay.near.session.state, relay.far.session.state} == {State.IDLE}
    assert said == []


def test_it_intercepts_one_session() -> None:
    said: list[Element] = []
    relay = Mitm(lambda to, stanza: said.append(stanza), ALICE, BOB)
    offers = [
        parse(
            f"<iq type='set' id='{sid}' from='{ALICE}' to='{BOB}'>"
            f"<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='{sid}'/></iq>"
        )
        for sid in ("first", "next")
    ]
    assert relay(offers[0], ALICE) is None
    so_far = len(said)
    assert relay(offers[1], ALICE) is offers[1]
    assert len(said) == so_far

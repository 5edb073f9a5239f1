"""The man in the middle minds his own sessions; what he does in them is in tests/attacks."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from xmpp_e2e.stages import Stage
from xmpp_loopback import parse
from xmpp_loopback.relay import Relay

ALICE, BOB = "alice@localhost/a", "bob@localhost/b"


def test_the_end_of_an_earlier_session_passes_by() -> None:
    """A session-terminate that was still on its way when he came goes on as it is."""
    said: list[Element] = []
    relay = Relay(lambda to, stanza: said.append(stanza), ALICE, BOB)
    for sender, to in ((ALICE, BOB), (BOB, ALICE)):
        stray = parse(
            f"<iq type='set' id='1' from='{sender}' to='{to}'>"
            "<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='of before'/></iq>"
        )
        assert relay(stray, sender) is stray
    assert {relay.near.session.stage, relay.far.session.stage} == {Stage.IDLE}
    assert said == []


def test_he_relays_one_session() -> None:
    """The first that is offered; the next goes on as it is."""
    said: list[Element] = []
    relay = Relay(lambda to, stanza: said.append(stanza), ALICE, BOB)
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

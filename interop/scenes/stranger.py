"""A stranger who offers a session is answered as by a resource that is not there; who is let in by name is served."""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from interop.props import Heard, session
from interop.servers.setup import Setup
from interop.stage import Stage

SETUP = Setup(friends=False)

OFFER = """<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='1'><content creator='initiator' name='e2e'>
<description xmlns='urn:xmpp:jingle:apps:xmlstream:0'/><security xmlns='urn:x-xmpp-e2e:security:0' version='1'/>
</content></jingle>"""
FAREWELL = "<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='1'><reason><gone/></reason></jingle>"
BLOCK = "<data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='1'>AAAA</data>"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


async def refusal(stage: Stage, client: ClientXMPP, to: str, payload: str, language: str | None) -> Element:
    """The answer as it left the server, without what has to differ."""
    iq = client.make_iq_set(sub=ET.fromstring(payload), ito=to)
    if language is not None:
        iq.xml.set(LANG, language)
    try:
        await iq.send()
    except IqError:
        answer = ET.fromstring([handled.text for handled in stage.server.handled() if iq["id"] in handled.text][-1])
        assert answer.get("from") == to
        for name in ("id", "from", "to"):
            del answer.attrib[name]
        return answer
    raise AssertionError(f"{to} took the offer of a stranger")


def canonical(element: Element) -> str:
    """XML can be written in many ways."""
    return ET.canonicalize(ET.tostring(element, encoding="unicode"))


async def play(stage: Stage) -> None:
    """Alice and Bob are not in each other's rosters; then Bob names her among those who may."""
    stranger, bob = await stage.client("alice", "stranger"), await stage.encrypted("bob")
    told = [Heard(bob, event) for event in ("e2e_session_start", "e2e_session_failed", "e2e_key_changed")]
    for language in (None, "de", None):
        for payload in (OFFER, FAREWELL, BLOCK):
            theirs = await refusal(stage, stranger, f"{bob.boundjid.bare}/nobody", payload, language)
            ours = await refusal(stage, stranger, bob.boundjid.full, payload, language)
            if LANG not in theirs.attrib:
                # Prosody puts a language on whatever a client says, and none on what it says itself.
                ours.attrib.pop(LANG, None)
            assert "service-unavailable" in canonical(ours)
            assert canonical(ours) == canonical(theirs)
    assert not any(map(len, told))

    await stage.leave(bob)
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", accept_from=[stage.jid("alice")])
    await session(alice, bob)

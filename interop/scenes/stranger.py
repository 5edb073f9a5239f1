"""A stranger who offers a session gets the answer of a resource that does not exist. A named account is accepted."""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from interop.harness import Harness
from interop.helpers import Events, session
from interop.servers.setup import Setup

SETUP = Setup(friends=False)

OFFER = """<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='1'><content creator='initiator' name='e2e'>
<description xmlns='urn:xmpp:jingle:apps:xmlstream:0'/><security xmlns='urn:x-xmpp-e2e:security:0' version='1'/>
</content></jingle>"""
TERMINATE = "<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='1'><reason><gone/></reason></jingle>"
BLOCK = "<data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='1'>AAAA</data>"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


async def refusal(harness: Harness, client: ClientXMPP, to: str, payload: str, language: str | None) -> Element:
    """Return the answer as it left the server, without the parts that must differ."""
    iq = client.make_iq_set(sub=ET.fromstring(payload), ito=to)
    if language is not None:
        iq.xml.set(LANG, language)
    try:
        await iq.send()
    except IqError:
        answer = ET.fromstring([handled.text for handled in harness.server.handled() if iq["id"] in handled.text][-1])
        assert answer.get("from") == to
        for name in ("id", "from", "to"):
            del answer.attrib[name]
        return answer
    raise AssertionError(f"{to} took the offer of a stranger")


def canonical(element: Element) -> str:
    """Return canonical XML, which can be compared."""
    return ET.canonicalize(ET.tostring(element, encoding="unicode"))


async def run(harness: Harness) -> None:
    """Alice and Bob are not in each other's rosters; then Bob adds Alice to those who may open sessions."""
    stranger, bob = await harness.client("alice", "stranger"), await harness.e2e_client("bob")
    told = [Events(bob, event) for event in ("e2e_session_opened", "e2e_session_failed", "e2e_key_changed")]
    for language in (None, "de", None):
        for payload in (OFFER, TERMINATE, BLOCK):
            theirs = await refusal(harness, stranger, f"{bob.boundjid.bare}/nobody", payload, language)
            ours = await refusal(harness, stranger, bob.boundjid.full, payload, language)
            if LANG not in theirs.attrib:
                # Prosody adds a language to clients' stanzas, and none to its own.
                ours.attrib.pop(LANG, None)
            assert "service-unavailable" in canonical(ours)
            assert canonical(ours) == canonical(theirs)
    assert not any(map(len, told))

    await harness.log_out(bob)
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob", accept_from=[harness.jid("alice")])
    await session(alice, bob)

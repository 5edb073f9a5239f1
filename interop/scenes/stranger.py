"""A stranger who offers a session is answered as by a resource that is not there; who is let in by name is served."""

from __future__ import annotations

from functools import partial
from xml.etree.ElementTree import tostring

from slixmpp import ET, ClientXMPP
from slixmpp.exceptions import IqError

from interop.props import Heard, session
from interop.servers.loopback import Loopback
from interop.servers.prosody import Prosody
from interop.stage import Stage

SERVERS = {"loopback": partial(Loopback, friends=False), "prosody": partial(Prosody, friends=False)}

OFFER = """<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='1'><content creator='initiator' name='e2e'>
<description xmlns='urn:xmpp:jingle:apps:xmlstream:0'/><security xmlns='urn:x-xmpp-e2e:security:0' version='1'/>
</content></jingle>"""


async def refusal(client: ClientXMPP, to: str) -> str:
    """The error that answers an offer."""
    iq = client.make_iq_set(sub=ET.fromstring(OFFER), ito=to)
    try:
        await iq.send()
    except IqError as error:
        return tostring(error.iq["error"].xml, encoding="unicode")
    raise AssertionError(f"{to} took the offer of a stranger")


async def play(stage: Stage) -> None:
    """Alice and Bob are not in each other's rosters; then Bob names her among those who may."""
    stranger, bob = await stage.client("alice", "stranger"), await stage.encrypted("bob")
    told = [Heard(bob, event) for event in ("e2e_session_start", "e2e_session_failed", "e2e_key_changed")]
    answer = await refusal(stranger, bob.boundjid.full)
    assert "service-unavailable" in answer
    assert answer == await refusal(stranger, f"{bob.boundjid.bare}/nobody")
    assert not any(map(len, told))

    await stage.leave(bob)
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob", accept_from=[stage.jid("alice")])
    await session(alice, bob)

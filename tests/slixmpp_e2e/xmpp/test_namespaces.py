"""Between a component's namespace and that of clients: as deep as the default one is inherited, and no deeper."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring, tostring

from slixmpp_e2e.xmpp.namespaces import of_client, of_stream

COMPONENT = "jabber:component:accept"
FORWARDED = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>in</body></message></forwarded>"
STANZA = f"<message xmlns='{{}}'><body>out</body>{FORWARDED}</message>"


def test_there_and_back() -> None:
    theirs, ours = fromstring(STANZA.format("jabber:client")), fromstring(STANZA.format(COMPONENT))
    assert tostring(of_client(ours)) == tostring(theirs)
    assert tostring(ours) == tostring(fromstring(STANZA.format(COMPONENT)))
    assert tostring(of_stream(theirs, COMPONENT)) == tostring(ours)


def test_a_clients_stanza_is_left_alone() -> None:
    """Not even copied: it is the common case."""
    stanza = fromstring(STANZA.format("jabber:client"))
    assert of_client(stanza) is stanza
    assert of_stream(stanza, "jabber:client") is stanza

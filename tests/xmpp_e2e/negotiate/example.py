"""An initiate as the protocol shows it, what it is read as, and edits of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, fromstring

from xmpp_e2e.negotiate.jingle import (
    NS_DTLS,
    NS_IBB,
    NS_JINGLE,
    NS_SECURITY,
    NS_XMLSTREAM,
    Action,
    Content,
    IBBTransport,
    Jingle,
    Security,
)

PRINT = bytes(range(32))
COLONS = ":".join(f"{byte:02X}" for byte in PRINT)
NONCE = "AAECAwQFBgcICQoLDA0ODw=="

INITIATE = f"""
<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' initiator='alice@a.example/1' sid='5f3c'>
  <content creator='initiator' name='e2e'>
    <description xmlns='urn:xmpp:jingle:apps:xmlstream:0'/>
    <transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='ab01'/>
    <security xmlns='urn:x-xmpp-e2e:security:0' version='1' nonce='{NONCE}'>
      <fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256'>{COLONS}</fingerprint>
      <method name='psk'/><method name='fingerprint'/>
      <assertion>e30.e30.c2ln~YmluZA</assertion>
      <flight>FgMBAA==</flight>
    </security>
  </content>
</jingle>"""

PARSED = Jingle(
    action=Action.SESSION_INITIATE,
    sid="5f3c",
    contents=(
        Content(
            name="e2e",
            transport=IBBTransport("ab01", 4096),
            security=Security(PRINT, ("psk", "fingerprint"), bytes(range(16)), "e30.e30.c2ln~YmluZA", b"\x16\3\1\0"),
        ),
    ),
)

CONTENT = f"{{{NS_JINGLE}}}content"
DESCRIPTION = f".//{{{NS_XMLSTREAM}}}description"
TRANSPORT = f".//{{{NS_IBB}}}transport"
SECURITY = f".//{{{NS_SECURITY}}}security"
PRINTED = f".//{{{NS_DTLS}}}fingerprint"
METHOD, ASSERTION, FLIGHT = (f".//{{{NS_SECURITY}}}{name}" for name in ("method", "assertion", "flight"))

Edit = Callable[[Element], None]


def initiate(*edits: Edit) -> Element:
    """The example, with something changed."""
    element = fromstring(INITIATE)
    for edit in edits:
        edit(element)
    return element


def at(element: Element, path: str) -> Element:
    found = element.find(path)
    assert found is not None
    return found


def having(path: str, **attributes: str) -> Edit:
    def edit(element: Element) -> None:
        for name, value in attributes.items():
            at(element, path).set(name.replace("_", "-"), value)

    return edit


def lacking(path: str, attribute: str) -> Edit:
    def edit(element: Element) -> None:
        del at(element, path).attrib[attribute]

    return edit


def saying(path: str, text: str | None) -> Edit:
    def edit(element: Element) -> None:
        at(element, path).text = text

    return edit


def holding(path: str, tag: str, text: str = "", **attributes: str) -> Edit:
    def edit(element: Element) -> None:
        SubElement(at(element, path), tag, attributes).text = text

    return edit


def cut(path: str) -> Edit:
    def edit(element: Element) -> None:
        victim = at(element, path)
        for parent in element.iter():
            if victim in list(parent):
                parent.remove(victim)
                return

    return edit


def twice(path: str) -> Edit:
    def edit(element: Element) -> None:
        victim = at(element, path)
        for parent in list(element.iter()):
            if victim in list(parent):
                parent.append(victim)
                return

    return edit


def both(*edits: Edit) -> Edit:
    def edit(element: Element) -> None:
        for one in edits:
            one(element)

    return edit


def methods(*names: str) -> Edit:
    def edit(element: Element) -> None:
        security = at(element, SECURITY)
        for method in security.findall(f"{{{NS_SECURITY}}}method"):
            security.remove(method)
        for name in names:
            SubElement(security, f"{{{NS_SECURITY}}}method", {"name": name})

    return edit


def tagged(tag: str) -> Edit:
    def edit(element: Element) -> None:
        element.tag = tag

    return edit


def contents(number: int) -> Edit:
    def edit(element: Element) -> None:
        element.remove(at(element, CONTENT))
        for index in range(number):
            SubElement(element, CONTENT, {"creator": "initiator", "name": str(index)})

    return edit


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()

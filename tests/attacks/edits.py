"""What a server can do to a <jingle/> that passes: small edits, shared by several attacks."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from tests.pair import JingleHook, identity
from xmpp_e2e.identity import Role

NS_JINGLE = "urn:xmpp:jingle:1"
SECURITY = "{urn:x-xmpp-e2e:security:0}security"
METHOD = "{urn:x-xmpp-e2e:security:0}method"
FINGERPRINT = "{urn:xmpp:jingle:apps:dtls:0}fingerprint"

ACTIONS = {Role.INITIATOR: "session-initiate", Role.RESPONDER: "session-accept"}
"""Which half of the negotiation comes from whom."""

Edit = Callable[[Element], None]
"""Changes a <security/> in place."""


def fingerprint_of(name: str) -> str:
    """A certificate's fingerprint, as XEP-0320 writes it."""
    return identity(name).certificate_digest.hex(":").upper()


def edits(role: Role, edit: Edit) -> JingleHook:
    """Apply ``edit`` to what ``role`` signals."""

    def hook(sender: Role, element: Element) -> list[Element]:
        if sender is role and element.get("action") == ACTIONS[role]:
            for security in element.iter(SECURITY):
                edit(security)
        return [element]

    return hook


def swap_fingerprint(name: str) -> Edit:
    """Put the fingerprint of somebody else."""

    def edit(security: Element) -> None:
        (found,) = security.findall(FINGERPRINT)
        found.text = fingerprint_of(name)

    return edit


def ended_with(jingle: list[Element]) -> list[str]:
    """The reasons of the session-terminates among these."""
    return [
        child.tag.rpartition("}")[2]
        for element in jingle
        if element.get("action") == "session-terminate"
        for child in element[0]
    ]

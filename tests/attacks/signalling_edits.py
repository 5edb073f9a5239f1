"""Small edits of a <jingle/> on its way, as a server can make them; several attacks use them."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from tests.pair import JingleHook, identity
from xmpp_e2e.types import Role

NS_JINGLE = "urn:xmpp:jingle:1"
SECURITY = "{urn:x-xmpp-e2e:security:0}security"
METHOD = "{urn:x-xmpp-e2e:security:0}method"
FINGERPRINT = "{urn:xmpp:jingle:apps:dtls:0}fingerprint"

ACTIONS = {Role.INITIATOR: "session-initiate", Role.RESPONDER: "session-accept"}
"""The action with which each role sends its half of the negotiation."""

Edit = Callable[[Element], None]
"""Changes a <security/> in place."""


def fingerprint_of(name: str) -> str:
    """Return a certificate's fingerprint, as XEP-0320 writes it."""
    return identity(name).certificate_digest.hex(":").upper()


def edit_signalling(role: Role, edit: Edit) -> JingleHook:
    """Return a hook that applies ``edit`` to the signalling of ``role``."""

    def hook(sender: Role, element: Element) -> list[Element]:
        if sender is role and element.get("action") == ACTIONS[role]:
            for security in element.iter(SECURITY):
                edit(security)
        return [element]

    return hook


def swap_fingerprint(name: str) -> Edit:
    """Put in the fingerprint of another certificate."""

    def edit(security: Element) -> None:
        (found,) = security.findall(FINGERPRINT)
        found.text = fingerprint_of(name)

    return edit


def terminate_reasons(jingle: list[Element]) -> list[str]:
    """Return the reasons of the session-terminates among these elements."""
    return [
        child.tag.rpartition("}")[2]
        for element in jingle
        if element.get("action") == "session-terminate"
        for child in element[0]
    ]

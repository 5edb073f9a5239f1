"""A component's stream has a default namespace of its own (XEP-0114); inside a session every stanza is a client's."""

from __future__ import annotations

import copy
from xml.etree.ElementTree import Element

from xmpp_e2e.stream import NS_CLIENT


def of_client(stanza: Element) -> Element:
    """The stanza in the namespace of clients: itself, or a copy."""
    namespace = stanza.tag[1:].partition("}")[0]
    if namespace == NS_CLIENT:
        return stanza
    renamed = copy.deepcopy(stanza)
    _rename(renamed, namespace, NS_CLIENT)
    return renamed


def of_stream(stanza: Element, namespace: str) -> Element:
    """The same element as it would be had it come over a stream with this default namespace."""
    # no test fails without this shortcut: to rename a namespace to itself changes nothing
    if namespace != NS_CLIENT:
        _rename(stanza, NS_CLIENT, namespace)
    return stanza


def _rename(element: Element, old: str, new: str) -> None:
    """As deep as the default namespace is inherited: a stanza inside a forwarding (XEP-0297) names its own."""
    prefix = f"{{{old}}}"
    if element.tag.startswith(prefix):
        element.tag = f"{{{new}}}{element.tag[len(prefix) :]}"
        for child in element:
            _rename(child, old, new)

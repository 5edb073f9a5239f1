"""The one module that touches what slixmpp does not promise. Tested against every slixmpp version that we allow.

- ``_build_stanza`` makes a stanza object of an element;
- a stanza that came inside a session must not be counted by XEP-0198 of the client stream, and one that we keep for
  ourselves must be: else the server's count and ours part, and a resumption loses or repeats stanzas.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

_FRONT = -1_000_000
"""add_filter() takes an order of 0 for "at the end"; list.insert() takes any negative number beyond the length for "first"."""


def add_filters(xmpp: BaseXMPP, incoming: Any, outgoing: Any) -> None:
    """Put our two filters in place.

    Outgoing: before the other synchronous filters, after all of the ordinary ones, which may still add to a stanza. What we
    divert must never reach XEP-0198's filter, which keeps every stanza for resending *in clear* after a resumption.
    """
    xmpp.add_filter("in", incoming)
    xmpp.add_filter("out_sync", outgoing, order=_FRONT)


def remove_filters(xmpp: BaseXMPP, incoming: Any, outgoing: Any) -> None:
    """Take them out again."""
    xmpp.del_filter("in", incoming)
    xmpp.del_filter("out_sync", outgoing)


def build(xmpp: BaseXMPP, element: Element) -> StanzaBase:
    """The stanza object of an element."""
    return xmpp._build_stanza(element)


def inject(xmpp: BaseXMPP, stanza: StanzaBase) -> None:
    """Hand a stanza that did not come over the client's stream to its handlers."""
    management = xmpp.plugin.get("xep_0198", None)
    handled = management.handled if management is not None else 0
    try:
        xmpp.recv_stanza(stanza)
    finally:
        if management is not None:
            management.handled = handled


def inert(xmpp: BaseXMPP) -> StanzaBase:
    """What an ``in`` filter returns in the place of a stanza that goes no further: no handler waits for it and nobody
    answers it, but XEP-0198 counts it, in whatever order the plugins were loaded."""
    nothing = Iq(xmpp)
    nothing["type"] = "result"
    return nothing

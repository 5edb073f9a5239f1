"""The one module that touches what slixmpp does not promise. Tested against every slixmpp version that we allow.

- ``_build_stanza`` makes a stanza object of an element;
- what has passed our filters, or must not pass those of others, goes on behind them: through what is behind ours, then out;
- a stanza that came inside a session must not be counted by XEP-0198 of the client stream, and one that we keep for
  ourselves must be: else the server's count and ours part, and a resumption loses or repeats stanzas;
- slixmpp leaves the task that sends pending when its connection is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp import Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring
from slixmpp.xmlstream.xmlstream import NotConnectedError

from slixmpp_e2e.xmpp.namespaces import of_stream

log = logging.getLogger("slixmpp_e2e")

_FRONT = -1_000_000
"""add_filter() takes an order of 0 for "at the end"; list.insert() takes any negative number beyond the length for "first"."""


def add_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
    """Put our three filters in place.

    ``first`` is before every other outgoing filter, where our own iqs leave the queue: an asynchronous filter of somebody
    else would cost each block of a bytestream a task, and might reorder them.

    ``outgoing`` is before the other synchronous filters, after all of the ordinary ones, which may still add to a stanza. What
    we divert must never reach XEP-0198's filter, which keeps every stanza for resending *in clear* after a resumption.
    """
    xmpp.add_filter("in", incoming)
    xmpp.add_filter("out", first, order=_FRONT)
    xmpp.add_filter("out_sync", outgoing, order=_FRONT)


def remove_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
    """Take them out again."""
    xmpp.del_filter("in", incoming)
    xmpp.del_filter("out", first)
    xmpp.del_filter("out_sync", outgoing)


def write(xmpp: BaseXMPP, stanza: StanzaBase, outgoing: Any, text: str | bytes | None = None) -> None:
    """Send a stanza now, through the synchronous filters behind our ``outgoing``, XEP-0198's among them. ``text`` is the
    stanza on the wire, for who can write it faster than slixmpp."""
    for other in _filters(xmpp, "out_sync"):
        try:
            if other != outgoing and other(stanza) is None:
                return
        except Exception:  # an edge: somebody else's code, of which slixmpp, too, would only log what it raises
            log.exception("a stanza was dropped: the filter %r of another plugin raised", other)
            return
    try:
        xmpp.send_raw(text if text is not None else tostring(stanza.xml, xmlns=xmpp.default_ns, stream=xmpp, top_level=True))
    except NotConnectedError:
        log.debug("not connected: XEP-0198 sends it again after a resumption, or the stream is over and so is this")


def encrypts(xmpp: BaseXMPP) -> bool:
    """Is there a filter of somebody who encrypts what goes out in clear (XEP-0420)?"""
    return bool(_filters(xmpp, "out_sce"))


def awaits(xmpp: BaseXMPP, reply: Iq) -> bool:
    """Does somebody who has sent a request wait for this reply?"""
    name = f"IqCallback_{reply['id']}"
    return any(handler.name == name and handler.match(reply) for handler in vars(xmpp)["_XMLStream__handlers"])


def unload(xmpp: BaseXMPP, name: str) -> None:
    """Forget a plugin that could not be loaded, so that it can be registered again."""
    plugins: Any = xmpp.plugin  # slixmpp's annotation says less than it is
    plugins.disable(name)


def _filters(xmpp: BaseXMPP, mode: str) -> list[Any]:
    """In the order in which they are applied."""
    return list(vars(xmpp)["_XMLStream__filters"][mode])


def build(xmpp: BaseXMPP, element: Element) -> StanzaBase:
    """The stanza object of an element."""
    return xmpp._build_stanza(of_stream(element, xmpp.default_ns))


def inject(xmpp: BaseXMPP, stanza: StanzaBase) -> None:
    """Hand a stanza that did not come over the client's stream to its handlers."""
    management = xmpp.plugin.get("xep_0198", None)
    handled = management.handled if management is not None else 0
    try:
        xmpp.recv_stanza(stanza)
    finally:
        if management is not None:
            management.handled = handled


def keep(xmpp: BaseXMPP, stanza: StanzaBase, incoming: Any) -> None:
    """Our filter ``incoming`` keeps a stanza for itself: XEP-0198 counts it all the same, if its filter is behind ours.

    (Passing on some harmless stanza in its place would do too, but slixmpp compares every stanza with every iq that waits for
    its answer: a busy client would spend most of its time on that.)
    """
    management = xmpp.plugin.get("xep_0198", None)
    if management is None or xmpp.is_component:
        return
    filters = _filters(xmpp, "in")
    if filters.index(incoming) < filters.index(management._handle_incoming):
        management._handle_incoming(stanza)


def sift(xmpp: BaseXMPP, admitted: Callable[[StanzaBase], bool]) -> None:
    """Ask ``admitted`` about every stanza that is queued and has not come to the filters yet; drop those that are not."""
    queue = xmpp.waiting_queue
    waiting = []
    while not queue.empty():
        waiting.append(queue.get_nowait())
        queue.task_done()
    for data, use_filters in waiting:
        if not (use_filters and isinstance(data, StanzaBase)) or admitted(data):
            queue.put_nowait((data, use_filters))


async def end_sender(xmpp: BaseXMPP) -> None:
    """End the task that sends what is queued, of a client that is not connected any more; slixmpp begins another one when it
    connects again."""
    sender = xmpp._run_out_filters
    if sender is not None:
        sender.cancel()
        await asyncio.wait({sender})

"""The one module that touches what slixmpp does not promise. It refuses a slixmpp that does not have it.

- ``_build_stanza`` makes a stanza object of an element.
- Stanzas that passed our filters, or that must not pass those of others, go through the filters behind ours and then out.
- XEP-0198 counts stanzas of the client stream. It must not count one that came inside a session, and must count one that we
  keep; else the server's count and ours differ, and a resumption loses or repeats stanzas.
- slixmpp takes a second registration of a plugin in silence, whatever its settings.
- slixmpp says nothing when it begins and ends to read what the socket has brought.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import packages_distributions
from typing import Any
from xml.etree.ElementTree import Element

import slixmpp
from slixmpp import JID, Iq
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring
from slixmpp.xmlstream.xmlstream import NotConnectedError, XMLStream

from slixmpp_e2e.errors import SlixmppUnsupported
from slixmpp_e2e.xmpp.namespaces import of_stream
from xmpp_e2e.errors import InvalidStanza
from xmpp_e2e.stream import NS_CLIENT, writer

log = logging.getLogger("slixmpp_e2e")

_FRONT = -1_000_000
"""add_filter() takes an order of 0 for "at the end"; list.insert() takes any negative number beyond the length for "first"."""

OLDEST, TOO_NEW = (1, 17), (2,)
"""The slixmpp versions that are accepted: from the first on, before the second, as pyproject.toml says to pip."""
_NEEDED = (
    "_build_stanza",
    "_reset_sendq",
    "_spawn_event",
    "add_filter",
    "data_received",
    "del_filter",
    "recv_stanza",
    "send_raw",
    "waiting_queue",
)
_SM_COUNT = 2**32
"""XEP-0198 §4: where counts begin anew."""
_OF_PRESENCE = frozenset(
    {
        ("slixmpp.plugins.xep_0115.caps", "XEP_0115._filter_add_caps"),
        ("slixmpp.plugins.xep_0153.vcard_avatar", "XEP_0153._update_presence"),
    }
)
"""Asynchronous filters of slixmpp's that return whatever is no presence as it is."""


def check_version() -> None:
    """Raise SlixmppUnsupported unless the slixmpp that Python has loaded is accepted, and has what this module touches.

    pip checks versions when it installs. Another package that brings a folder ``slixmpp`` of its own overwrites it unnoticed:
    then the version that pip noted says nothing, and only the code does.
    """
    version = str(slixmpp.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    annotated = {name for cls in XMLStream.__mro__ for name in vars(cls).get("__annotations__", ())}
    missing = [name for name in _NEEDED if not hasattr(XMLStream, name) and name not in annotated]
    if OLDEST <= numbers < TOO_NEW and not missing:
        return
    folder = slixmpp.__path__[0]
    packages = ", ".join(sorted(set(packages_distributions().get("slixmpp", ())))) or "no installed package"
    lacks = f" and lacks {', '.join(missing)}" if missing else ""
    raise SlixmppUnsupported(
        f"slixmpp {'.'.join(map(str, OLDEST))} or later, before {TOO_NEW[0]}, is needed;"
        f" the one in {folder} says that it is {version}{lacks} (the folder belongs to: {packages})"
    )


def guard_registration(xmpp: BaseXMPP, name: str, check: Callable[[Any], None]) -> Callable[[], None]:
    """Call ``check(config)`` whenever the plugin ``name`` is registered again; return what ends that."""
    plugins: Any = xmpp.plugin

    def check_same(plugin: str, config: Any = None, enabled: Any = None) -> None:
        if plugin == name and plugins.enabled(name):
            check(config)

    return call_before(plugins, "enable", check_same)


def guard_handlers(xmpp: BaseXMPP, check: Callable[[str], None]) -> Callable[[], None]:
    """Call ``check(event)`` whenever a handler of a slixmpp event is added; return what ends that."""
    return call_before(xmpp, "add_event_handler", lambda event, *args, **kwargs: check(event))


def guard_disconnect(
    xmpp: BaseXMPP, must_finish: Callable[[], bool], finish: Callable[[], Awaitable[None]], give_up: Callable[[], None]
) -> Callable[[], None]:
    """Let ``disconnect()`` wait for ``finish()`` first, if it must, and call ``give_up()`` before the program goes; return what
    ends that. It returns a future in any case.

    Nothing is given up when slixmpp itself calls it: when a login fails, and to reconnect. The caller's module tells: nothing
    else does, for a program that goes during a login.
    """
    original, finishing, reconnect = xmpp.disconnect, set[asyncio.Future[Any]](), xmpp.reconnect
    reconnecting = False

    async def finish_first(wait: float, reason: str | None) -> None:
        try:
            await finish()
        finally:
            give_up()
            if xmpp.transport:  # else it is disconnected, and all have heard of it
                await original(wait, reason)

    def disconnect(wait: float = 2.0, reason: str | None = None, ignore_send_queue: bool = False) -> asyncio.Future[Any]:
        at_once = ignore_send_queue or not wait
        if finishing and not at_once:
            return next(iter(finishing))
        is_up = xmpp.transport and xmpp.session_bind_event.is_set()
        by_slixmpp = sys._getframe(1).f_globals["__name__"].startswith("slixmpp.")
        if not reconnecting and (at_once or not is_up) and not by_slixmpp:
            give_up()
        if reconnecting or at_once or not xmpp.transport or not must_finish():
            return original(wait, reason, ignore_send_queue)
        task = asyncio.ensure_future(finish_first(wait, reason), loop=xmpp.loop)
        finishing.add(task)
        task.add_done_callback(finishing.discard)
        return task

    def reconnect_at_once(*args: Any, **kwargs: Any) -> None:
        nonlocal reconnecting
        reconnecting = True
        try:
            reconnect(*args, **kwargs)
        finally:
            reconnecting = False

    replaced: dict[str, Any] = {"disconnect": disconnect, "reconnect": reconnect_at_once}

    def end() -> None:
        for name, ours in replaced.items():
            if vars(xmpp).get(name) is ours:
                delattr(xmpp, name)

    vars(xmpp).update(replaced)
    return end


def guard_send_queue(xmpp: BaseXMPP, take: Callable[[list[StanzaBase]], None]) -> Callable[[], None]:
    """Give ``take`` what slixmpp is about to throw away because the stream is lost: what was sent just before, and has yet to
    come to the filters. Return what ends that."""

    def rescue() -> None:
        queued = []
        while not xmpp.waiting_queue.empty():
            data, use_filters = xmpp.waiting_queue.get_nowait()
            xmpp.waiting_queue.task_done()  # slixmpp forgets that, and join() would wait for ever
            if use_filters and isinstance(data, StanzaBase):
                queued.append(data)
        take(queued)

    return call_before(xmpp, "_reset_sendq", rescue)


def guard_reads(xmpp: BaseXMPP, begin: Callable[[], None] | None, end: Callable[[], None]) -> Callable[[], None]:
    """Call ``begin()`` before what one read of the socket brings is handled, and ``end()`` after that; return what ends it."""
    original = xmpp.data_received

    def read(data: bytes | str) -> None:
        if begin is not None:
            begin()
        try:
            original(data)
        finally:
            end()

    return _replace(xmpp, "data_received", read)


def guard_elements(xmpp: BaseXMPP, take: Callable[[Element], bool]) -> Callable[[], None]:
    """Let ``take`` have each top-level element before slixmpp makes a stanza of it, and counts it (XEP-0198); return what ends
    that. What it takes, slixmpp does not see."""
    original: Callable[[Element], None] = xmpp._spawn_event

    def spawn(element: Element) -> None:
        if not take(element):
            original(element)
        elif (management := xmpp.plugin.get("xep_0198", None)) is not None and management.enabled_in:
            management.handled = (management.handled + 1) % _SM_COUNT

    return _replace(xmpp, "_spawn_event", spawn)


def call_before(target: Any, method: str, check: Callable[..., None]) -> Callable[[], None]:
    """Call ``check`` with the arguments of each call of a method, before it; return what ends that."""
    original = getattr(target, method)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return original(*args, **kwargs)

    return _replace(target, method, guarded)


def _replace(target: Any, method: str, ours: Any) -> Callable[[], None]:
    """Put ours in the place of a method of an object; return what puts back what was there."""
    before = vars(target).get(method)

    def end() -> None:
        if vars(target).get(method) is ours:
            delattr(target, method)
            if before is not None:
                setattr(target, method, before)

    setattr(target, method, ours)
    return end


def add_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
    """Put our three filters in place.

    ``first`` comes before every other outgoing filter: what it takes costs no task for another plugin's asynchronous one.

    ``outgoing`` comes before the other synchronous filters, and after all ordinary ones, which may still add to a stanza.
    What we divert must never reach XEP-0198's filter, which keeps every stanza for resending *in plaintext*.
    """
    xmpp.add_filter("in", incoming)
    xmpp.add_filter("out", first, order=_FRONT)
    xmpp.add_filter("out_sync", outgoing, order=_FRONT)


def remove_filters(xmpp: BaseXMPP, incoming: Any, first: Any, outgoing: Any) -> None:
    """Take them out again."""
    xmpp.del_filter("in", incoming)
    xmpp.del_filter("out", first)
    xmpp.del_filter("out_sync", outgoing)


class FiltersOfMessages:
    """The ``out`` filters of other plugins that a message passes behind our first one.

    slixmpp makes a task of an asynchronous filter for each stanza and waits for it, though those of xep_0115 and xep_0153
    look at presence alone: that takes twice as long as all else that is done to send a message.
    """

    def __init__(self, xmpp: BaseXMPP, first: Any) -> None:
        """``first``: our own."""
        self._xmpp, self._first = xmpp, first
        self._seen: list[Any] = []
        self._filters: list[Any] | None = None

    def synchronous(self) -> list[Any] | None:
        """Return them in their order; None if one of them may have to be waited for."""
        filters = vars(self._xmpp)["_XMLStream__filters"]["out"]
        if filters != self._seen:
            self._seen = list(filters)
            behind = self._seen[self._seen.index(self._first) + 1 :] if self._first in self._seen else []
            concerned = [each for each in behind if (each.__module__, each.__qualname__) not in _OF_PRESENCE]
            self._filters = None if any(inspect.iscoroutinefunction(each) for each in concerned) else concerned
        return self._filters


def write(xmpp: BaseXMPP, stanza: StanzaBase, *, outgoing: Any) -> None:
    """Send a stanza now, through the synchronous filters behind our ``outgoing``, XEP-0198's among them."""
    if _passes(stanza, _behind(xmpp, outgoing)):
        _write(xmpp, tostring(stanza.xml, xmlns=xmpp.default_ns, stream=xmpp, top_level=True).encode())


def write_iqs(xmpp: BaseXMPP, iqs: list[Element], *, outgoing: Any) -> None:
    """Send iqs of our own in the same way, in one write. There are stanza objects of them only where others look at them."""
    if others := _behind(xmpp, outgoing):
        iqs = [iq for iq in iqs if _passes(Iq(xmpp, xml=iq), others)]
    _write(xmpp, b"".join(_serialize(xmpp, iq) for iq in iqs))


def _behind(xmpp: BaseXMPP, outgoing: Any) -> list[Any]:
    return [each for each in _filters(xmpp, "out_sync") if each != outgoing]


def _passes(stanza: StanzaBase, filters: list[Any]) -> bool:
    for other in filters:
        try:
            if other(stanza) is None:
                return False
        except Exception:  # an edge: another plugin's code; slixmpp, too, would only log what it raises
            log.exception("a stanza was dropped: the filter %r of another plugin raised", other)
            return False
    return True


def _serialize(xmpp: BaseXMPP, iq: Element) -> bytes:
    if xmpp.default_ns == NS_CLIENT:
        try:
            return writer.element(iq)  # faster than slixmpp's
        except InvalidStanza:
            log.debug("a stanza is beyond what an inner stream carries")  # what a stranger wrote, repeated in an error
    return tostring(iq, xmlns=xmpp.default_ns, stream=xmpp, top_level=True).encode()


def _write(xmpp: BaseXMPP, data: bytes) -> None:
    try:
        if data:
            xmpp.send_raw(data)
    except NotConnectedError:
        log.debug("not connected: XEP-0198 resends it after a resumption, or the stream is over and so is this")


def has_sce_filter(xmpp: BaseXMPP) -> bool:
    """Return whether another plugin encrypts what leaves in plaintext (XEP-0420)."""
    return bool(_filters(xmpp, "out_sce"))


def has_reply_handler(xmpp: BaseXMPP, reply: Iq) -> bool:
    """Return whether somebody who sent a request waits for this reply."""
    name = f"IqCallback_{reply['id']}"
    return any(handler.name == name and handler.match(reply) for handler in vars(xmpp)["_XMLStream__handlers"])


def unload(xmpp: BaseXMPP, name: str) -> None:
    """Forget a plugin that could not be loaded, so that it can be registered again."""
    plugins: Any = xmpp.plugin  # slixmpp's annotation says less than it is
    plugins.disable(name)


def _filters(xmpp: BaseXMPP, mode: str) -> list[Any]:
    """Return the filters in the order in which they are applied."""
    return list(vars(xmpp)["_XMLStream__filters"][mode])


def build(xmpp: BaseXMPP, element: Element) -> StanzaBase:
    """Return the stanza object of an element."""
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


def count_as_handled(xmpp: BaseXMPP, stanza: StanzaBase, incoming: Any) -> None:
    """Let XEP-0198 count a stanza that our filter ``incoming`` keeps, if its own filter stands behind ours.

    (Passing on a harmless stanza instead would do too, but slixmpp compares every stanza with every iq that waits for its
    answer: a busy client would spend most of its time on that.)
    """
    management = xmpp.plugin.get("xep_0198", None)
    if management is None or xmpp.is_component:
        return
    filters = _filters(xmpp, "in")
    if filters.index(incoming) < filters.index(management._handle_incoming):
        management._handle_incoming(stanza)


def has_queued(xmpp: BaseXMPP) -> bool:
    """Return whether anything waits in slixmpp's queues, and has not come to the filters."""
    return not xmpp.waiting_queue.empty() or bool(vars(xmpp)["_XMLStream__queued_stanzas"])


def drop_queued(xmpp: BaseXMPP, admitted: Callable[[StanzaBase], bool]) -> None:
    """Drop queued stanzas that have not come to the filters yet and that ``admitted`` refuses.

    slixmpp has two queues: what is sent before a stream is up waits in a list of its own.
    """
    queue, early = xmpp.waiting_queue, vars(xmpp)["_XMLStream__queued_stanzas"]

    def keep(data: Any, use_filters: bool) -> bool:
        return not (use_filters and isinstance(data, StanzaBase)) or admitted(data)

    waiting = []
    while not queue.empty():
        waiting.append(queue.get_nowait())
        queue.task_done()
    for data, use_filters in waiting:
        if keep(data, use_filters):
            queue.put_nowait((data, use_filters))
    early[:] = [(data, use_filters) for data, use_filters in early if keep(data, use_filters)]


def refuse(xmpp: BaseXMPP, stanzas: list[StanzaBase]) -> None:
    """Let none of these stanzas leave when other plugins' filters have done with them, nor copies of them."""
    left = {_name(stanza): stanza for stanza in stanzas}

    def refuse_once(stanza: StanzaBase) -> StanzaBase | None:
        if left.pop(_name(stanza), None) is None:
            return stanza
        if not left:
            xmpp.del_filter("out_sync", refuse_once)
        return None

    if left:
        xmpp.add_filter("out_sync", refuse_once, order=_FRONT)


def _name(stanza: StanzaBase) -> tuple[str, object]:
    return stanza.xml.get("to", ""), stanza.xml.get("id") or id(stanza)


def joined_room(xmpp: BaseXMPP, account: str) -> bool | None:
    """Return what slixmpp's plugin for rooms (XEP-0045) knows of one: True if we are in, False if we have asked to enter; None
    if it knows no such room. It keeps rooms, and our names in them, by the JID of ours that entered them."""
    muc, found = xmpp.plugin["xep_0045"], None
    for own_jid, rooms in muc.rooms.items():
        if (occupants := rooms.get(JID(account))) is not None:
            found = found or muc.our_nicks.get(own_jid, {}).get(JID(account)) in occupants
    return found

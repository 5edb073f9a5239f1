"""Keeps out of logs what sessions carry: slixmpp logs whole stanzas, at DEBUG and in tracebacks.

With 1.17, these see a stanza that came through a session, or that leaves through one: ``RECV``, after our filter; ``NOT
SENT`` and ``Discarded stanza``, before it; ``Request timed out`` and all that print an IqError or IqTimeout, whose text is
the stanza. ``SEND`` sees only what goes on the wire.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator

from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.xmpp.marker import E2EMarker

_LOGGERS = (
    "asyncio",
    "slixmpp.basexmpp",
    "slixmpp.stanza.rootstanza",
    "slixmpp.xmlstream.stanzabase",
    "slixmpp.xmlstream.xmlstream",
)
"""Those that are given stanzas. (Python applies a logger's filter to no other logger, not even to those below it.)"""

_ERROR_TEXT = ("slixmpp.basexmpp", "%s: %s")
"""Where slixmpp logs the condition of an iq of type error that no handler caught, and the text in it: the peer's own words."""


class HideContent(logging.Filter):
    """Replaces each stanza in a log record by its kind and addresses, unless it came in plaintext.

    What will leave is hidden whichever way it would go, since slixmpp logs it before that is known. It passes every record.
    Give it to a handler of your own, and it works on what your program logs, too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide stanzas among the arguments of a record, and in its exception."""
        error = record.exc_info[1] if record.exc_info else None
        if (record.name, record.msg) == _ERROR_TEXT and isinstance(record.args, tuple):
            record.args = (record.args[0], "(content hidden)")
        found = list(_stanzas((record.msg, record.args, error), set()))
        if not found or (record.msg == "RECV: %s" and not any(E2EMarker.tag_name() in _tags(each) for each in found)):
            return True
        record.msg, record.args = _hide(record.getMessage(), found), ()
        if error is not None:
            record.exc_text = _hide("".join(traceback.format_exception(error)).rstrip("\n"), found)
            record.exc_info = None  # a formatter would write it anew
        return True

    def install(self) -> None:
        """Filter the loggers that are given stanzas."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Undo ``install()``."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


def _stanzas(value: object, seen: set[int]) -> Iterator[StanzaBase]:
    """Find the stanzas that would be printed: in collections, in exceptions, and in what those came from."""
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: tuple[object, ...] = ()
    match value:
        case StanzaBase():
            yield value
        case tuple() | list():
            inner = tuple(value)
        case dict():
            inner = tuple(value.values())
        case BaseExceptionGroup():
            inner = (*value.args, *value.exceptions, value.__cause__, value.__context__)
        case BaseException():
            inner = (*value.args, value.__cause__, value.__context__)
    for each in inner:
        yield from _stanzas(each, seen)


def _tags(stanza: StanzaBase) -> set[str]:
    return {child.tag for child in stanza.xml}


def _hide(text: str, stanzas: list[StanzaBase]) -> str:
    for stanza in stanzas:
        told = f"<{stanza.name} from={stanza.xml.get('from')!r} to={stanza.xml.get('to')!r}> (content hidden)"
        # the traceback of an exception group indents each line
        written = r"\n[ |]*".join(map(re.escape, str(stanza).split("\n")))
        text = re.sub(written, told.replace("\\", r"\\"), text)
    return text

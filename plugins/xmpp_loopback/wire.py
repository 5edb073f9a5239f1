"""Read and write the XML of a stream (RFC 6120 §4, §11). The reader keeps the exact text of each stanza."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from xmpp_e2e.stream.tokens import Tokens

CLIENT = "jabber:client"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
ROSTER = "jabber:iq:roster"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
PING = "urn:xmpp:ping"
SM = "urn:xmpp:sm:3"

STANZA_LIMIT = 256 * 1024
"""Maximum size of a stanza in bytes, as in Prosody and ejabberd. It bounds the memory of an unfinished stanza."""
DEPTH_LIMIT = 256
"""Maximum depth of nested elements, the stream's root included: below Python's recursion limit."""

_XML = "http://www.w3.org/XML/1998/namespace"
_TEXT_BUFFER = 64 * 1024
"""expat delivers text in pieces of this size. Larger pieces mean fewer calls."""


@dataclass(frozen=True)
class Opened:
    """The client's stream header."""

    attributes: dict[str, str]


@dataclass(frozen=True)
class Received:
    """One complete top-level element, with its exact text from the wire."""

    element: Element
    text: str


@dataclass(frozen=True)
class Closed:
    """The client's ``</stream:stream>``."""


@dataclass(frozen=True)
class Violated:
    """The stream must end with this error (RFC 6120 §4.9.3). It is the last event."""

    condition: str


StreamEvent: TypeAlias = Opened | Received | Closed | Violated


class _StopParsing(Exception):
    """Leaves an expat callback; ``str()`` is the condition of the stream error."""


class StreamReader:
    """Splits a client's stream into its top-level elements.

    RFC 6120 §11.1 forbids comments, processing instructions and DTDs: each of them ends the stream.
    """

    def __init__(self, limit: int = STANZA_LIMIT) -> None:
        parser = expat.ParserCreate("UTF-8", "}")
        parser.buffer_text = True
        parser.buffer_size = _TEXT_BUFFER
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._restricted
        parser.StartDoctypeDeclHandler = self._restricted
        self._parser = parser
        self._tokens = Tokens()
        self._limit = limit
        self._depth = 0
        self._events: list[StreamEvent] = []
        self._tree = TreeBuilder()
        self._empty_since = -1
        """The start of the last opened element, if nothing has come since; else -1."""
        self._begin = 0
        """The start of the current stanza, in bytes since the start of the stream."""
        self._kept = bytearray()
        """What was parsed since the end of the last stanza; with what is not parsed yet, at most `limit` bytes stay."""
        self._kept_from = 0
        self._over = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that ``data`` completes, in order. `Violated` is always the last one."""
        if self._over:
            return []
        tokens = self._tokens.cut(data)
        self._kept += tokens
        try:
            self._parser.Parse(tokens, self._tokens.broken)
        except expat.ExpatError:
            self._violate("not-well-formed")
        except _StopParsing as stop:
            self._violate(str(stop))
        if self._depth == 1 and not self._kept.strip():
            self._forget(len(self._kept))  # white space between stanzas only keeps the connection alive
        if len(self._kept) + len(self._tokens) > self._limit and not self._over:
            self._violate("policy-violation")
        events, self._events = self._events, []
        return events

    def _violate(self, condition: str) -> None:
        self._over = True
        self._kept.clear()
        self._events.append(Violated(condition))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        index = self._parser.CurrentByteIndex
        if self._depth == 1:
            if name != STREAMS + "}stream":
                raise _StopParsing("invalid-namespace" if name.endswith("}stream") else "bad-format")
            self._events.append(Opened({_clark(key): value for key, value in attributes.items()}))
            return
        if self._depth > DEPTH_LIMIT:
            raise _StopParsing("policy-violation")
        if self._depth == 2:
            self._begin = index
            self._tree = TreeBuilder()
        self._empty_since = index
        self._tree.start(_clark(name), {_clark(key): value for key, value in attributes.items()})

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._over = True
            self._events.append(Closed())
            return
        element = self._tree.end(_clark(name))
        if self._depth == 1:
            text = self._cut(self._parser.CurrentByteIndex)
            if len(text) > self._limit:
                raise _StopParsing("policy-violation")
            self._events.append(Received(element, text.decode()))
        self._empty_since = -1

    def _cut(self, index: int) -> bytes:
        """Return the bytes of the stanza that ends at ``index``: after ``<a/>``, but before ``</a>``."""
        end = index - self._kept_from
        empty = self._empty_since == self._begin and self._kept.endswith(b"/>", 0, end)
        if not empty:
            end = self._kept.index(b">", end) + 1
        text = bytes(self._kept[self._begin - self._kept_from : end])
        self._forget(end)
        return text

    def _forget(self, count: int) -> None:
        del self._kept[:count]
        self._kept_from += count

    def _characters(self, text: str) -> None:
        if self._depth > 1:
            self._empty_since = -1
            self._tree.data(text)
        elif text.strip(" \t\r\n"):
            raise _StopParsing("bad-format")

    def _restricted(self, *_: object) -> None:
        raise _StopParsing("restricted-xml")


def parse(text: str) -> Element:
    """Parse ``text`` as one element inside a client's stream. Raises ValueError if it is not exactly one."""
    reader = StreamReader(limit=len(text.encode()) + STANZA_LIMIT)
    events = reader.feed(f"<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAMS}'>{text}".encode())
    if len(events) == 2 and isinstance(received := events[1], Received):
        return received.element
    raise ValueError("expected exactly one well-formed element")


def to_text(element: Element, outer: str = CLIENT) -> str:
    """Return ``element`` as XML inside an element of the namespace ``outer``, without its tail."""
    out: list[str] = []
    _write(element, outer, out)
    return "".join(out)


def _write(element: Element, outer: str, out: list[str]) -> None:
    namespace, name = _split(element.tag)
    out.append(f"<{name}")
    if namespace != outer:
        out.append(f' xmlns="{_attribute(namespace)}"')
    for number, (key, value) in enumerate(element.items()):
        space, local = _split(key)
        if space == _XML:
            local = f"xml:{local}"
        elif space:
            out.append(f' xmlns:a{number}="{_attribute(space)}"')
            local = f"a{number}:{local}"
        out.append(f' {local}="{_attribute(value)}"')
    if not element.text and not len(element):
        out.append("/>")
        return
    out.append(">")
    if element.text:
        out.append(escaped(element.text))
    for child in element:
        _write(child, namespace, out)
        if child.tail:
            out.append(escaped(child.tail))
    out.append(f"</{name}>")


def _split(tag: str) -> tuple[str, str]:
    if tag[:1] == "{":
        namespace, _, name = tag[1:].partition("}")
        return namespace, name
    return "", tag


def _clark(name: str) -> str:
    return "{" + name if "}" in name else name


def escaped(value: str) -> str:
    """Escape character data for XML."""
    if "&" in value:
        value = value.replace("&", "&amp;")
    if "<" in value:
        value = value.replace("<", "&lt;")
    if ">" in value:
        value = value.replace(">", "&gt;")
    if "\r" in value:
        value = value.replace("\r", "&#13;")  # otherwise the next parser turns it into a line feed
    return value


def _attribute(value: str) -> str:
    value = escaped(value)
    for character, entity in (('"', "&quot;"), ("\n", "&#10;"), ("\t", "&#9;")):
        if character in value:
            value = value.replace(character, entity)
    return value


def local_name(element: Element) -> str:
    """Return the tag without its namespace."""
    return element.tag.rpartition("}")[2]

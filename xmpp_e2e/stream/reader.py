"""An incremental, bounded reader of the inner stream (RFC 6120 §4, §11; XEP-0246/0247), on expat directly, which is handed
whole tokens only.

Only the XML that XMPP allows gets through (RFC 6120 §11.1): no DTD, entity, processing instruction, comment or XML
declaration, no encoding but UTF-8; CDATA is ordinary text. The first breach ends the stream with the condition that
RFC 6120 §4.9.3 has for it:

- ``restricted-xml`` (§4.9.3.18): what §11.1 forbids, an entity other than the five predefined, an XML declaration
- ``not-well-formed`` (§4.9.3.13): XML or UTF-8 that is broken, and anything but white space after the end of the stream
- ``bad-namespace-prefix`` (§4.9.3.2): a prefix that is not declared
- ``bad-format`` (§4.9.3.1): well-formed, yet no stream: another root, or text between top-level elements
- ``unsupported-stanza-type`` (§4.9.3.24): a second stream header inside the stream
- ``invalid-namespace`` (§4.9.3.10), ``invalid-from`` (§4.9.3.9), ``unsupported-version`` (§4.9.3.25): a wrong header
- ``policy-violation`` (§4.9.3.14): deeper, longer or more than ``Limits`` and the bounds of ``xmpp_e2e.stream`` allow
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from xml.etree.ElementTree import Element
from xml.parsers import expat

from xmpp_e2e.errors import StreamError
from xmpp_e2e.stream import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_NAME,
    MAX_NAMESPACE,
    MAX_STANZA,
    MAX_TAG,
    NS_CLIENT,
    NS_STREAM,
)
from xmpp_e2e.stream.tokens import TAG, Tokens


@dataclass(frozen=True)
class ReaderLimits:
    """The bounds of a reader."""

    depth: int
    """Elements inside each other, the top-level element being the first; more than MAX_DEPTH are never read."""
    stanza_bytes: int
    """Bytes of one top-level element on the wire, finished or not."""
    total_bytes: int | None = None
    """Bytes in all, from the beginning of the stream; None for no bound."""


GREETING = ReaderLimits(depth=8, stanza_bytes=64 * 1024, total_bytes=64 * 1024)
"""Until the peer's hello is checked: twice what an honest peer sends before it is answered."""
OPEN = ReaderLimits(depth=MAX_DEPTH, stanza_bytes=MAX_STANZA)
"""Once the peer's hello is checked."""

RENEWAL_BYTES = 8 * 1024
"""An expat parser keeps every name that it has ever seen. After this many bytes it is replaced at the next boundary between
stanzas, which takes 10 µs, so that a session with ever new names costs 200 KB at most between stanzas, not all memory."""
RENEWAL_MEMORY = 64 * 1024
"""The same after so many bytes of memory for names: a few bytes on the wire make names of 250 characters."""

_BYTE_MEMORY = 4
"""Bytes of memory for a byte of an unfinished stanza: its text, if one character of it is beyond the BMP."""
_ELEMENT_MEMORY = 90
"""Bytes for an ElementTree element, and its place in another one (CPython 3.11 to 3.14, 64 bits)."""
_ATTRIBUTES_MEMORY, _ATTRIBUTE_MEMORY = 240, 100
"""Bytes for the attributes of an element, and for each of them."""
_NAME_MEMORY = 250
"""Bytes for a name, once by expat and twice in ``_Names``, beside its characters."""


@dataclass(frozen=True)
class Header:
    """The stream header (RFC 6120 §4.7), its namespaces and version checked, its addresses not."""

    from_: str
    to: str
    version: str
    """``1.`` and digits."""
    id: str | None = None


@dataclass(frozen=True)
class End:
    """The peer's ``</stream:stream>``."""


StreamItem = Header | Element | End
"""The events of a stream; an Element is a top-level one, complete, without tail."""

_ROOT = f"{NS_STREAM}}}stream"
_VERSION = re.compile(r"1\.[0-9]{1,9}")
_WHITESPACE = " \t\r\n"

_COMMITMENT = b"  "
"""The first bytes for a parser. Expat, though told UTF-8, still switches to UTF-16 upon a byte order mark or a NUL in the
first two bytes, and skips a UTF-8 mark; after two spaces all of these, and an XML declaration, are mere errors."""

_CONDITIONS = {
    expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]: "restricted-xml",
    expat.errors.codes[expat.errors.XML_ERROR_MISPLACED_XML_PI]: "restricted-xml",
    expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]: "bad-namespace-prefix",
}


class _Names(dict[str, str]):
    """Expat's names (``ns}name``) to ElementTree's (``{ns}name``), each made and measured once."""

    memory = 0
    """Bytes that they take, about."""

    def __missing__(self, name: str) -> str:
        _, brace, local = name.rpartition("}")
        if len(local) > MAX_NAME:
            raise _too_much(f"a name of {len(local)} characters")
        self[name] = tag = "{" + name if brace else name
        self.memory += _NAME_MEMORY + 2 * len(name)
        return tag


@dataclass(frozen=True)
class _Measured:
    """A top-level element. The limits under which it is consumed count, not those under which it was parsed."""

    element: Element
    depth: int
    size: int
    memory: int


class Reader:
    """Feed it bytes, then take events until there are none.

    An event is consumed before the limits are applied to what follows it: after ``raise_limits()`` in answer to an event, the
    bytes behind that event are judged by the new limits even if they were fed together. The events, and the error that
    ends them, do not depend on how the bytes were cut.
    """

    def __init__(self, limits: ReaderLimits = GREETING) -> None:
        self.size = 0
        """Bytes on the wire of the element that was returned last, from its first to its closing tag."""
        self.element_memory = 0
        """Bytes of memory that it takes, at most."""
        self._limits = limits
        self._events: deque[Header | _Measured | End] = deque()
        self._error: StreamError | None = None
        self._complete = False
        self._input = b""
        self._taken = 0
        self._total = 0
        # The element under construction, if any: its open elements, text not yet placed, and how deep it has been.
        self._stack: list[Element] = []
        self._text: list[str] = []
        self._last = Element("")
        self._closed = False
        self._deepest = 0
        self._built = 0  # bytes of memory for its elements and attributes
        self._tokens = Tokens()
        self._opening: bytes | None = b""  # until the root has come, what is being parsed
        self._preamble = b""
        self._content: str | None = None  # the default namespace that was declared last
        # Positions count the bytes that this parser was fed, _COMMITMENT included.
        self._first = 0
        self._names = _Names()
        self._parser = _new_parser()
        self._parser.Parse(_COMMITMENT)
        self._fed = self._boundary = len(_COMMITMENT)
        self._attach()
        self._parser.StartElementHandler = self._on_root

    @property
    def closed(self) -> bool:
        """Return whether the peer's ``</stream:stream>`` has come. Without it the end of the bytes has cut the stream off."""
        return self._complete

    @property
    def memory(self) -> int:
        """Bytes of memory that the unfinished element takes, at most; what an idle reader takes is not counted."""
        if not self._stack:
            return 0
        return _BYTE_MEMORY * (self._fed - self._boundary) + self._built + self._names.memory

    def feed(self, data: bytes) -> None:
        """Take ``data``, which follows all that was fed before. Never raises: ``next_event()`` parses, and wants to be
        called until it returns None, for what is not parsed yet is kept here."""
        self._input = self._input[self._taken :] + data
        self._taken = 0

    def next_event(self) -> StreamItem | None:
        """The next event, in order; None if more bytes are needed. StreamError once the peer has broken a rule, and at
        every call after that; what came before the breach has been returned by then."""
        while not self._events:
            if self._deepest > self._limits.depth:
                self._error = self._too_deep()
            if self._error is not None:
                raise self._error
            if self._taken == len(self._input):
                return None
            self._advance()
        event = self._events.popleft()
        if isinstance(event, _Measured):
            if event.depth > self._limits.depth:
                self._events.clear()
                self._error = self._too_deep()
                raise self._error
            self.size, self.element_memory = event.size, event.memory
            return event.element
        return event

    def raise_limits(self, limits: ReaderLimits) -> None:
        """Judge by ``limits`` from here on: all that lies behind the event that was returned last."""
        self._limits = limits

    # --- parse -----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Parse as many of the bytes as cannot exceed a limit, whatever they are."""
        limits, kept = self._limits, len(self._tokens)
        if (room := self._boundary + limits.stanza_bytes - self._fed - kept) <= 0:
            self._error = _too_much(f"a stanza of more than {limits.stanza_bytes} bytes")
            return
        if (room := min(room, MAX_TAG - kept)) <= 0:
            self._error = _too_much(f"a tag of more than {MAX_TAG} bytes")
            return
        if limits.total_bytes is not None and (room := min(room, limits.total_bytes - self._total)) <= 0:
            self._error = _too_much(f"more than {limits.total_bytes} bytes before a hello that could be checked")
            return
        piece = self._input[self._taken : self._taken + room]
        self._taken += len(piece)
        self._total += len(piece)
        base = self._fed
        try:
            tokens = self._tokens.cut(piece)
            self._parse(tokens)
            full = self._fed > RENEWAL_BYTES or self._names.memory > RENEWAL_MEMORY
            if self._boundary >= base and full and self._opening is None and not self._complete:
                self._renew(tokens[self._boundary - base :])
        except StreamError as error:
            self._error = error

    def _parse(self, tokens: bytes) -> None:
        base = self._fed
        self._fed += len(tokens)
        if self._opening is not None:
            self._opening = tokens
        # Text before a breach may be a breach itself, and then the earlier one.
        try:
            # As the last of all, what is broken is refused by the parser at once, whatever it would wait for.
            self._parser.Parse(tokens, self._tokens.broken)
        except StreamError:
            self._check_between()
            raise
        except expat.ExpatError as error:
            self._parser.buffer_text = False  # makes pyexpat hand over what it has
            self._check_between()
            # "]]>" has no place in text and ends with the error: between elements it is text that is the breach
            stopped = tokens[: self._parser.ErrorByteIndex - base + 1]
            between = stopped.endswith(b"]]>") and not self._stack
            condition = "bad-format" if between else _CONDITIONS.get(error.code, "not-well-formed")
            what = expat.ErrorString(error.code)
            raise StreamError(f"the peer's stream breaks the rules of XML: {what}", condition) from None
        self._check_between()
        # A parser keeps "]" back, which may begin "]]>"; a renewal would lose it.
        if tokens.endswith(b"]") and not (self._stack or self._complete):
            raise _text_between()
        self._boundary = self._first if self._stack else self._fed

    def _renew(self, rest: bytes) -> None:
        """Replace the parser by a new one that has seen ``_preamble`` and ``rest``, the unfinished element, only."""
        self._stack.clear()
        self._text.clear()
        self._built = 0
        self._names = _Names()
        self._parser = _new_parser()
        self._parser.Parse(self._preamble)
        self._attach()
        self._fed = len(self._preamble)
        self._parse(rest)

    def _attach(self) -> None:
        parser = self._parser
        parser.StartNamespaceDeclHandler = self._on_namespace
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._text.append
        parser.StartCdataSectionHandler = self._on_cdata
        parser.StartDoctypeDeclHandler = _restricted
        parser.ProcessingInstructionHandler = parser.CommentHandler = _restricted

    # --- what expat tells ------------------------------------------------------------------------------------------

    def _on_namespace(self, prefix: str | None, namespace: str | None) -> None:
        """Called before the element that declares it, and before its names are made: soon enough to prevent them."""
        if namespace and len(namespace) > MAX_NAMESPACE:
            raise _too_much(f"a namespace of {len(namespace)} characters")
        if prefix is None:
            self._content = namespace

    def _on_root(self, name: str, attributes: dict[str, str]) -> None:
        parser = self._parser
        if not name.startswith(f"{NS_STREAM}}}") or self._content != NS_CLIENT:
            raise StreamError("the peer's stream is of another kind: its namespaces are wrong", "invalid-namespace")
        if name != _ROOT:
            raise StreamError("the peer's stream does not begin with a stream header", "bad-format")
        attributes = self._measured(attributes)
        version = attributes.get("version", "0.9")  # RFC 6120 §4.7.5
        if not _VERSION.fullmatch(version):
            raise StreamError("the peer's stream is not of version 1", "unsupported-version")
        if "from" not in attributes or "to" not in attributes:
            raise StreamError("the peer's stream header does not say from whom to whom", "invalid-from")
        place = parser.CurrentByteIndex - self._fed
        assert self._opening is not None, "it is what is being parsed"
        opening = TAG.match(self._opening[place:])
        assert opening is not None, "expat has accepted this tag"
        self._preamble = _COMMITMENT + opening[0]
        self._opening = None
        parser.StartElementHandler = self._on_start
        self._events.append(Header(attributes["from"], attributes["to"], version, attributes.get("id")))

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        if self._text:
            self._place()
        self._last = element = Element(self._names[name], self._measured(attributes))
        self._closed = False
        self._built += _ELEMENT_MEMORY
        stack = self._stack
        if stack:
            stack[-1].append(element)
        elif name == _ROOT:  # it would be waited for to end, until it is too long
            raise StreamError("the peer began a second stream inside the first", "unsupported-stanza-type")
        else:
            self._first = self._parser.CurrentByteIndex
        stack.append(element)
        if len(stack) > self._deepest:
            self._deepest = len(stack)
            if self._deepest > MAX_DEPTH:
                raise self._too_deep()

    def _measured(self, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes of one element by ElementTree's names, all within bounds."""
        if len(attributes) > MAX_ATTRIBUTES:
            raise _too_much(f"{len(attributes)} attributes on one element")
        if attributes:
            self._built += _ATTRIBUTES_MEMORY + _ATTRIBUTE_MEMORY * len(attributes)
        # no test fails without this: most names need no change, and are short
        joined = "".join(attributes)
        if "}" in joined or len(joined) > MAX_NAME:
            return {self._names[name]: value for name, value in attributes.items()}
        return attributes

    def _on_end(self, name: str) -> None:
        if self._text:
            self._place()
        stack = self._stack
        if not stack:
            self._complete = True
            self._events.append(End())
            return
        self._last = element = stack.pop()
        self._closed = True
        if not stack:
            size = self._parser.CurrentByteIndex - self._first
            self._events.append(_Measured(element, self._deepest, size, _BYTE_MEMORY * size + self._built))
            self._deepest = self._built = 0

    def _on_cdata(self) -> None:
        """Outside any stanza even an empty one is text, and one that has only begun would not survive a renewal."""
        if not self._stack:
            raise _text_between()

    def _place(self) -> None:
        """Move the text that has come to its place in ElementTree."""
        text = "".join(self._text)
        self._text.clear()
        if not self._stack:
            if text.strip(_WHITESPACE):
                raise _text_between()
        elif self._closed:
            self._last.tail = text
        else:
            self._last.text = text

    def _check_between(self) -> None:
        if not self._stack:
            self._place()

    def _too_deep(self) -> StreamError:
        return _too_much(f"elements nested more than {min(self._limits.depth, MAX_DEPTH)} deep")


def _new_parser() -> expat.XMLParserType:
    # No interning (None): _Names makes each name once anyway.
    parser = expat.ParserCreate("utf-8", "}", None)
    parser.buffer_size = 1024  # not 8192: a process holds a thousand readers, most of them idle
    parser.buffer_text = True
    return parser


def _restricted(*_: object) -> None:
    raise StreamError("the peer sent a DTD, comment or instruction, which has no place in XMPP", "restricted-xml")


def _text_between() -> StreamError:
    return StreamError("the peer sent text outside any stanza", "bad-format")


def _too_much(what: str) -> StreamError:
    return StreamError(f"the peer sent {what}, which is more than is read here", "policy-violation")

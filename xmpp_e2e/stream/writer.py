"""Writes the inner stream (RFC 6120 §4; XEP-0246/0247): its header, its top-level elements and its closer.

A serialiser of its own, since ``ElementTree.tostring`` knows nothing of a stream's default namespace, emits characters
that XML 1.0 (§2.2) forbids, and loses carriage returns. What it writes is read back equal, code point for code point.
"""

from __future__ import annotations

import re
from functools import lru_cache
from xml.etree.ElementTree import Element
from xml.parsers import expat

from xmpp_e2e.errors import Code, InvalidStanza
from xmpp_e2e.stream import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_NAME,
    MAX_NAMESPACE,
    MAX_STANZA,
    MAX_TAG,
    NS_CLIENT,
    NS_STREAM,
    NS_XML,
)

CLOSER = b"</stream:stream>"
"""The end of the stream."""

_NS_XMLNS = "http://www.w3.org/2000/xmlns/"
_PREFIXES = {NS_STREAM: "stream", NS_XML: "xml"}
"""Bound throughout the stream: the one by its header, the other by XML itself."""

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Not a Char of XML 1.0 §2.2."""
_SPECIAL = re.compile("[&<>\"'\t\n\r]").search
_ESCAPES = {
    ord(character): reference
    for character, reference in {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }.items()
}
"""For attribute values: quotes, and white space that a parser would turn into spaces (XML 1.0 §3.3.3)."""

_LONG_TAG = re.compile(rb"<[^>]{%d,}" % (MAX_TAG - 1))
"""In what is written here, every > that does not end a tag is escaped."""

_CACHED_NAMES = 1024
"""Names of a busy client, several times over; each takes less than 2 KiB by MAX_NAME and MAX_NAMESPACE."""


def header(from_: str, to: str, *, id: str | None = None) -> bytes:
    """The stream header: full JIDs, and the id that the responder adds; InvalidStanza if XML cannot carry one."""
    stream = {"from": from_, "to": to, "version": "1.0"} | ({} if id is None else {"id": id})
    for value in stream.values():
        _check(value, "an address or id in the stream header")
    written = "".join(f" {name}='{_value(value)}'" for name, value in stream.items())
    return f"<stream:stream xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'{written}>".encode()


def element(element: Element) -> bytes:
    """A top-level element as UTF-8 for a stream with our header; its tail is no part of it.

    InvalidStanza if XML 1.0 or the peer's reader would refuse it, or (STANZA_TOO_LARGE) if it takes more than MAX_STANZA
    bytes or one of its tags more than MAX_TAG.
    """
    pieces: list[str] = []
    try:
        _write(pieces, element, NS_CLIENT, 1)
        text = "".join(pieces)
    except TypeError:
        _find_foreign(element)
        raise  # pragma: no cover - for what nobody has thought of: every TypeError has been found and named before
    # Whatever is printable, XML can carry; line breaks and emoji joiners are not, and take the longer way.
    if not text.isprintable() and _FORBIDDEN.search(text):
        _find_forbidden(element)
    data = text.encode()
    if len(data) > MAX_STANZA:
        raise InvalidStanza(f"the stanza takes {len(data)} bytes; a stream carries at most {MAX_STANZA}", Code.STANZA_TOO_LARGE)
    if len(data) > MAX_TAG and (long := _LONG_TAG.search(data)):
        size = len(long[0]) + 1
        raise InvalidStanza(
            f"attributes make a tag take {size} bytes; a stream carries at most {MAX_TAG} in one tag", Code.STANZA_TOO_LARGE
        )
    return data


def _write(pieces: list[str], element: Element, default: str, depth: int) -> None:
    """Append ``element`` where ``default`` is the default namespace. Recursion ends at MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise InvalidStanza(f"the stanza nests elements more than {MAX_DEPTH} deep")
    if len(pieces) > MAX_STANZA:  # an element that is its own descendant many times over would never end
        raise InvalidStanza(
            f"the stanza takes more than {MAX_STANZA} bytes, which is what a stream carries at most", Code.STANZA_TOO_LARGE
        )
    opening, closing, inner = _tags(element.tag, default)
    pieces.append(opening)
    attributes = element.items()
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidStanza(f"an element has {len(attributes)} attributes; readers take at most {MAX_ATTRIBUTES}")
    for index, (name, value) in enumerate(attributes):
        pieces.append(_attribute(name, index))
        pieces.append(value if not _SPECIAL(value) else value.translate(_ESCAPES))
        pieces.append("'")
    text = element.text
    if not text and not len(element):
        pieces.append("/>")
        return
    pieces.append(">")
    if text:
        pieces.append(_text(text))
    for child in element:
        _write(pieces, child, inner, depth + 1)
        if child.tail:
            pieces.append(_text(child.tail))
    pieces.append(closing)


def _text(text: str) -> str:
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "\r" in text:
        text = text.replace("\r", "&#13;")
    return text


def _value(value: str) -> str:
    return value.translate(_ESCAPES)


# --- names -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_CACHED_NAMES)
def _tags(tag: str, default: str) -> tuple[str, str, str]:
    """``<name xmlns='…'`` (where needed), ``</name>``, and the default namespace inside."""
    namespace, local = _split(tag)
    if namespace in _PREFIXES:
        name = f"{_PREFIXES[namespace]}:{local}"
        return f"<{name}", f"</{name}>", default
    declaration = "" if namespace == default else f" xmlns='{_value(namespace)}'"
    return f"<{local}{declaration}", f"</{local}>", namespace


@lru_cache(maxsize=_CACHED_NAMES)
def _attribute(name: str, index: int) -> str:
    """`` name='``, for a name with a namespace preceded by the declaration of a prefix that ``index`` makes unique."""
    namespace, local = _split(name)
    if not namespace:
        if local == "xmlns":
            raise InvalidStanza("an attribute is called xmlns, which is a namespace declaration and no attribute")
        return f" {local}='"
    if namespace in _PREFIXES:
        return f" {_PREFIXES[namespace]}:{local}='"
    return f" xmlns:a{index}='{_value(namespace)}' a{index}:{local}='"


def _split(name: str) -> tuple[str, str]:
    """Namespace (empty for none) and local name, both fit for the wire."""
    if not isinstance(name, str):
        raise InvalidStanza("a name in the stanza is no text; comments and instructions have no place in XMPP")
    braced, brace, local = name.rpartition("}")
    namespace = braced[1:]
    if brace and (braced[:1] != "{" or not namespace or "}" in namespace or namespace == _NS_XMLNS):
        raise InvalidStanza(f"{name!a:.60} is not of the form {{namespace}}name, or its namespace is reserved")
    if len(namespace) > MAX_NAMESPACE:
        raise InvalidStanza(f"a namespace has {len(namespace)} characters; readers take at most {MAX_NAMESPACE}")
    _check(namespace, "a namespace")
    if len(local) > MAX_NAME or not _is_name(local):
        raise InvalidStanza(f"{local!a:.60} is no XML name without a colon and of at most {MAX_NAME} characters")
    return namespace, local


def _is_name(name: str) -> bool:
    """Return whether a reader would take it for one name. Expat, which is that reader, has the tables of XML 1.0 Appendix B."""
    seen: list[tuple[str, dict[str, str]]] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: seen.append((name, attributes))
    try:
        parser.Parse(f"<{name}/>", True)
    except (expat.ExpatError, UnicodeEncodeError):
        return False
    return seen == [(name, {})] and ":" not in name


# --- what is wrong, and where ----------------------------------------------------------------------------------------


def _check(text: str, where: str) -> None:
    if found := _FORBIDDEN.search(text):
        raise InvalidStanza(f"XML cannot carry the character U+{ord(found[0]):04X}, which is in {where}")


def _find_forbidden(element: Element) -> None:
    """Name the character and the element that holds it, never the text around it."""
    for holder in element.iter():  # pragma: no branch - it ends by raising: there is something to find
        local = holder.tag.rpartition("}")[2]
        _check(holder.text or "", f"the text of <{local}>")
        for name, value in holder.items():
            _check(value, f"the attribute {name.rpartition('}')[2]} of <{local}>")
        for child in holder:
            _check(child.tail or "", f"the text of <{local}>")


def _find_foreign(element: Element) -> None:
    """Name the element that holds something else than text, a number perhaps."""
    for holder in element.iter():  # pragma: no branch - it ends by raising: there is something to find
        values = [holder.tag, holder.text, *(child.tail for child in holder), *holder.keys(), *holder.attrib.values()]
        for value in values:
            if value is not None and not isinstance(value, str):
                raise InvalidStanza(f"{holder.tag!a:.60} holds a {type(value).__name__} where only text can be sent")

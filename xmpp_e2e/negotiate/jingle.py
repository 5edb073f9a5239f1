"""Converts <jingle/> elements to frozen dataclasses and back (XEP-0166 1.1, XEP-0247, XEP-0261, and our <security/>).

A message that ``parse`` has read keeps every rule of the protocol that a single message can keep or break. A message
without our parts (another application, no <security/>) passes too, so that a reason can answer it. Unknown elements
are ignored; known ones that come twice are refused, since two readers could choose differently.
"""

from __future__ import annotations

import base64
import enum
import re
from dataclasses import dataclass, field
from typing import TypeVar
from xml.etree.ElementTree import Element, SubElement

from xmpp_e2e.encoding import strict_base64
from xmpp_e2e.errors import JingleError, quoted
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Role

NS_JINGLE = "urn:xmpp:jingle:1"
NS_ERRORS = "urn:xmpp:jingle:errors:1"
NS_XMLSTREAM = "urn:xmpp:jingle:apps:xmlstream:0"
NS_IBB = "urn:xmpp:jingle:transports:ibb:1"
NS_DTLS = "urn:xmpp:jingle:apps:dtls:0"
NS_SECURITY = "urn:x-xmpp-e2e:security:0"

VERSION = "1"
"""The version of our <security/>."""
HASH = "sha-256"
"""The one hash function of fingerprints (XEP-0300)."""

MAX_NAME = 128
"""Characters in a sid or the name of a content: four times what 128 random bits take in hexadecimal."""
MAX_CONTENTS = 16
"""Contents in one message: ours have one, a call with pictures and data has four."""
MAX_METHODS = 16
"""Methods in one list, here or in a hello: four exist; a longer list is noise."""
MAX_METHOD_NAME = 32
"""Characters in the name of a method: the longest has eleven."""
MAX_ASSERTION = 12 * 1024
"""Characters in an assertion: a statement with a certificate chain takes 5.4 kB."""
MAX_FLIGHT = 16 * 1024
"""Bytes in a TLS flight: a ClientHello with a post-quantum share takes 1.5 kB, the answer 1.8 kB."""
MAX_TEXT = 1024
"""Characters of a reason's text that are kept: it is a hint for the log, and anybody on the path can write it."""
_XEP_0047_BLOCK_SIZE = 65535
"""The most that XEP-0047 §2.1 can express."""

_JINGLE, _CONTENT, _REASON, _TEXT = (f"{{{NS_JINGLE}}}{name}" for name in ("jingle", "content", "reason", "text"))
_TRANSPORT = f"{{{NS_IBB}}}transport"
_FINGERPRINT = f"{{{NS_DTLS}}}fingerprint"
_SECURITY, _METHOD = (f"{{{NS_SECURITY}}}{name}" for name in ("security", "method"))
_ASSERTION, _FLIGHT = (f"{{{NS_SECURITY}}}{name}" for name in ("assertion", "flight"))

_WHITE_SPACE = " \t\r\n"
"""White space that a server may put around a text when it indents anew (XML 1.0 §2.3)."""
_HEX = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
_METHOD_NAME = re.compile(rf"[a-z0-9-]{{1,{MAX_METHOD_NAME}}}")
_VISIBLE = re.compile(r"[!-~]+")

_Word = TypeVar("_Word", bound=enum.Enum)


class Action(enum.Enum):
    """The action of a message (XEP-0166 §7.2)."""

    CONTENT_ACCEPT = "content-accept"
    CONTENT_ADD = "content-add"
    CONTENT_MODIFY = "content-modify"
    CONTENT_REJECT = "content-reject"
    CONTENT_REMOVE = "content-remove"
    DESCRIPTION_INFO = "description-info"
    SECURITY_INFO = "security-info"
    SESSION_ACCEPT = "session-accept"
    SESSION_INFO = "session-info"
    SESSION_INITIATE = "session-initiate"
    SESSION_TERMINATE = "session-terminate"
    TRANSPORT_ACCEPT = "transport-accept"
    TRANSPORT_INFO = "transport-info"
    TRANSPORT_REJECT = "transport-reject"
    TRANSPORT_REPLACE = "transport-replace"


class Reason(enum.Enum):
    """The reasons that we give for the end of a session (XEP-0166 §7.4). Any other reason of a peer is a GENERAL_ERROR."""

    SUCCESS = "success"
    CANCEL = "cancel"
    DECLINE = "decline"
    BUSY = "busy"
    TIMEOUT = "timeout"
    GONE = "gone"
    SECURITY_ERROR = "security-error"
    CONNECTIVITY_ERROR = "connectivity-error"
    FAILED_TRANSPORT = "failed-transport"
    UNSUPPORTED_APPLICATIONS = "unsupported-applications"
    UNSUPPORTED_TRANSPORTS = "unsupported-transports"
    GENERAL_ERROR = "general-error"


class Senders(enum.Enum):
    """The senders of a content (XEP-0166 §7.3)."""

    BOTH = "both"
    INITIATOR = "initiator"
    NONE = "none"
    RESPONDER = "responder"


_REASONS = {reason.value: reason for reason in Reason}


@dataclass(frozen=True)
class Security:
    """Our <security/>. ValueError for values that the protocol forbids."""

    fingerprint: bytes
    """SHA-256 of the sender's certificate (DER), 32 bytes."""
    methods: tuple[str, ...]
    """The authentication methods that the sender allows, in document order."""
    nonce: bytes = field(repr=False)
    """16 random bytes."""
    assertion: str | None = field(default=None, repr=False)
    """The statement that the sender's domain signed about their key, not parsed yet."""
    flight: bytes | None = field(default=None, repr=False)
    """TLS bytes that came ahead of the bytestream."""
    version: str = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"version {quoted(self.version)} of the encryption is not spoken here, only {VERSION}")
        if len(self.fingerprint) != 32:
            raise ValueError(f"the fingerprint has {len(self.fingerprint)} bytes; one of {HASH} has 32")
        if len(self.methods) > MAX_METHODS:
            raise ValueError(f"{len(self.methods)} methods are listed, more than {MAX_METHODS}")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("a method is listed twice")
        if wrong := [method for method in self.methods if not _METHOD_NAME.fullmatch(method)]:
            raise ValueError(f"{quoted(wrong[0])} is no name of a method")
        if len(self.nonce) != 16:
            raise ValueError(f"the nonce has {len(self.nonce)} bytes, not 16")
        if self.assertion is not None and not _VISIBLE.fullmatch(self.assertion):
            raise ValueError("the assertion is not a string of visible ASCII characters")
        if self.assertion is not None and len(self.assertion) > MAX_ASSERTION:
            raise ValueError(f"the assertion has {len(self.assertion)} characters, more than {MAX_ASSERTION}")
        if self.flight is not None and not 1 <= len(self.flight) <= MAX_FLIGHT:
            raise ValueError(f"the TLS flight has {len(self.flight)} bytes, not 1 to {MAX_FLIGHT}")


@dataclass(frozen=True)
class IBBTransport:
    """An in-band bytestream (XEP-0261)."""

    sid: str
    """The id of the bytestream, not of the session."""
    block_size: int
    """Raw bytes in a block at most. From MIN_BLOCK_SIZE; an offer can exceed MAX_BLOCK_SIZE, an accept cannot."""


@dataclass(frozen=True)
class Content:
    """One content of a message."""

    name: str
    creator: Role = Role.INITIATOR
    senders: Senders = Senders.BOTH
    application: str | None = NS_XMLSTREAM
    """The namespace of the <description/>, or None without one."""
    transport: IBBTransport | None = None
    """None if it is of a kind that we do not speak, or missing."""
    security: Security | None = None
    """None if it is missing, or belongs to an application other than an XML stream."""


@dataclass(frozen=True)
class Jingle:
    """One message of a negotiation."""

    action: Action
    sid: str
    contents: tuple[Content, ...] = ()
    reason: Reason | None = None
    text: str | None = None
    """The words of the reason for a person: never empty, at most MAX_TEXT characters. Only beside a reason."""
    payload: str | None = None
    """Of session-info only: the qualified tag of what it tells, or None if it is a mere ping."""

    @property
    def secured(self) -> Content | None:
        """The one content, if it is ours: an XML stream with our <security/>."""
        if len(self.contents) != 1:
            return None
        content = self.contents[0]
        return content if content.application == NS_XMLSTREAM and content.security is not None else None


# --- elements to values ----------------------------------------------------------------------------------------------


def parse(element: Element) -> Jingle:
    """The message in ``element``; JingleError ``bad-request`` if it breaks a rule."""
    try:
        return _parse(element)
    except ValueError as error:
        raise JingleError(str(error), "bad-request") from None


def _parse(element: Element) -> Jingle:
    if element.tag != _JINGLE:
        raise ValueError("the element is no <jingle/>")
    action = _word(Action, element.get("action"), "action")
    sid = _name(element, "sid", "the session id")
    contents = _contents(element, action)
    reason, text = _reason(element)
    return Jingle(action, sid, contents, reason, text, _payload(element) if action is Action.SESSION_INFO else None)


def _contents(element: Element, action: Action) -> tuple[Content, ...]:
    found = element.findall(_CONTENT)
    if len(found) > MAX_CONTENTS:
        raise ValueError(f"{len(found)} contents are more than {MAX_CONTENTS}")
    contents = tuple(_content(content) for content in found)
    if action in (Action.SESSION_INITIATE, Action.SESSION_ACCEPT) and not contents:
        raise ValueError(f"{action.value} has no content")
    if len(contents) > 1 and any(content.security for content in contents):
        raise ValueError("an encrypted XML stream must be the only content of its session")
    if action is Action.SESSION_ACCEPT:
        for content in contents:
            if content.transport is not None and content.transport.block_size > MAX_BLOCK_SIZE:
                raise ValueError(f"the block size that is accepted is more than {MAX_BLOCK_SIZE}")
    return contents


def _content(element: Element) -> Content:
    description = _only(element, "{*}description")
    application = None if description is None else description.tag.rpartition("}")[0][1:] or None
    transport = _only(element, "{*}transport")
    security = _only(element, _SECURITY) if application == NS_XMLSTREAM else None
    return Content(
        name=_name(element, "name", "the name of the content"),
        creator=_word(Role, element.get("creator"), "creator"),
        senders=_word(Senders, element.get("senders", Senders.BOTH.value), "word for the senders"),
        application=application,
        transport=_transport(transport) if transport is not None and transport.tag == _TRANSPORT else None,
        security=None if security is None else _security(security),
    )


def _transport(element: Element) -> IBBTransport:
    sid = _name(element, "sid", "the bytestream's id")
    size = element.get("block-size", "")
    # as a number in one spelling only: int() would also read "+1_0" and the digits of other scripts
    if not _NUMBER.fullmatch(size) or not MIN_BLOCK_SIZE <= int(size) <= _XEP_0047_BLOCK_SIZE:
        raise ValueError(f"{quoted(size)} is no block size from {MIN_BLOCK_SIZE} up")
    return IBBTransport(sid, int(size))


def _security(element: Element) -> Security:
    fingerprint, assertion, flight = (_only(element, tag) for tag in (_FINGERPRINT, _ASSERTION, _FLIGHT))
    if fingerprint is None:
        raise ValueError("<security/> has no fingerprint")
    return Security(
        version=element.get("version", ""),
        fingerprint=_fingerprint(fingerprint),
        methods=tuple(method.get("name", "") for method in element.findall(_METHOD)),
        nonce=_base64(element.get("nonce", ""), "nonce"),
        assertion=None if assertion is None else _leaf(assertion),
        flight=None if flight is None else _base64(_leaf(flight), "TLS flight"),
    )


def _fingerprint(element: Element) -> bytes:
    """Colons and case do not matter, as in other clients (XEP-0320); all else does."""
    if element.get("hash") != HASH:
        raise ValueError(f"the fingerprint is not marked as {HASH}")
    text = _leaf(element)
    if not _HEX.fullmatch(text):
        raise ValueError("the fingerprint is not hexadecimal")
    return bytes.fromhex(text.replace(":", ""))


def _base64(text: str, what: str) -> bytes:
    try:
        return strict_base64(text)
    except ValueError:
        raise ValueError(f"the {what} is not strict base64") from None


def _reason(element: Element) -> tuple[Reason | None, str | None]:
    """The reason is a hint for the log: all that can be read is taken, and nothing is refused."""
    given = element.find(_REASON)
    if given is None:
        return None, None
    words = (child.tag.removeprefix(f"{{{NS_JINGLE}}}") for child in given if isinstance(child.tag, str))
    reason = next((_REASONS[word] for word in words if word in _REASONS), Reason.GENERAL_ERROR)
    return reason, given.findtext(_TEXT, "")[:MAX_TEXT] or None


def _payload(element: Element) -> str | None:
    tags = (child.tag for child in element if isinstance(child.tag, str))
    return next((tag for tag in tags if tag not in (_CONTENT, _REASON)), None)


def _only(element: Element, path: str) -> Element | None:
    found = element.findall(path)
    if len(found) > 1:
        raise ValueError(f"<{path.rpartition('}')[2]}/> comes twice where it may come once")
    return found[0] if found else None


def _leaf(element: Element) -> str:
    if len(element):
        raise ValueError(f"<{element.tag.rpartition('}')[2]}/> holds elements, where a text is due")
    return (element.text or "").strip(_WHITE_SPACE)


def _name(element: Element, attribute: str, what: str) -> str:
    name = element.get(attribute, "")
    if not 1 <= len(name) <= MAX_NAME:
        raise ValueError(f"{what} has {len(name)} characters, not 1 to {MAX_NAME}")
    return name


def _word(kind: type[_Word], word: str | None, what: str) -> _Word:
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"{quoted(word or '')} is no {what}") from None


# --- values to elements ----------------------------------------------------------------------------------------------


def build(jingle: Jingle) -> Element:
    """The element of a message: ``parse(build(jingle)) == jingle``."""
    element = Element(_JINGLE, {"action": jingle.action.value, "sid": jingle.sid})
    for content in jingle.contents:
        _build_content(element, content)
    if jingle.reason is not None:
        reason = SubElement(element, _REASON)
        SubElement(reason, f"{{{NS_JINGLE}}}{jingle.reason.value}")
        if jingle.text is not None:
            SubElement(reason, _TEXT).text = jingle.text
    if jingle.payload is not None:
        SubElement(element, jingle.payload)
    return element


def _build_content(parent: Element, content: Content) -> None:
    element = SubElement(parent, _CONTENT, {"creator": content.creator.value, "name": content.name})
    if content.senders is not Senders.BOTH:
        element.set("senders", content.senders.value)
    if content.application is not None:
        SubElement(element, f"{{{content.application}}}description")
    if content.transport is not None:
        block_size = str(content.transport.block_size)
        SubElement(element, _TRANSPORT, {"block-size": block_size, "sid": content.transport.sid})
    if content.security is not None:
        _build_security(element, content.security)


def _build_security(parent: Element, security: Security) -> None:
    nonce = base64.b64encode(security.nonce).decode()
    element = SubElement(parent, _SECURITY, {"version": security.version, "nonce": nonce})
    SubElement(element, _FINGERPRINT, {"hash": HASH}).text = security.fingerprint.hex(":").upper()
    for method in security.methods:
        SubElement(element, _METHOD, {"name": method})
    if security.assertion is not None:
        SubElement(element, _ASSERTION).text = security.assertion
    if security.flight is not None:
        SubElement(element, _FLIGHT).text = base64.b64encode(security.flight).decode()

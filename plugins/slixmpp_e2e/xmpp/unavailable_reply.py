"""How our server answers for a resource that is not there (RFC 6121 §8.5.3.2.3): so are strangers answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from secrets import token_hex
from xml.etree.ElementTree import Element, tostring

from slixmpp import JID
from slixmpp.xmlstream.stanzabase import StanzaBase

from xmpp_e2e.negotiate.jingle import NS_JINGLE

LANGUAGES = 8
"""Servers may answer in the language of who asks. So many answers are kept; in one more the server is asked again."""
ANSWER_BYTES = 4096
"""An error with a text in any language is far smaller."""
WAITING = 16
"""Requests that may wait until the server has answered us, which takes milliseconds: 4 MiB, if they are as large as can be."""
ECHO_BYTES = 16_384
"""Servers that repeat what they were asked would make us repeat what strangers send; an offer is much smaller."""

Replied = Callable[[StanzaBase], None]
Send = Callable[[StanzaBase, tuple[Element, ...], dict[str, str]], None]
"""Answer a request by an error with these children and attributes."""
Ask = Callable[[str, Element, dict[str, str], Replied], None]
"""Send an iq of type set to a full JID, with this payload and these attributes; the reply goes to the last."""

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_ERROR = "{jabber:client}error"


def bare_error(condition: str = "service-unavailable", type: str = "cancel") -> Element:
    """A stanza error of nothing but its condition (RFC 6120 §8.3)."""
    error = Element(_ERROR, {"type": type})
    error.append(Element(f"{{urn:ietf:params:xml:ns:xmpp-stanzas}}{condition}"))
    return error


@dataclass(frozen=True)
class _Answer:
    """What came back."""

    error: Element
    language: str | None
    """The stanza's ``xml:lang``."""
    echoes: bool
    """Does the request come back in front of the error?"""


_BARE = _Answer(bare_error(), None, echoes=False)


class Absent:
    """Asks our own server once on each stream, and in each language in which strangers turn to us: for a resource of our own
    account that nobody can guess. Without an answer strangers get none, as from the resource."""

    def __init__(self, ask: Ask, send: Send) -> None:
        self._ask, self._send = ask, send
        self._answers: OrderedDict[str | None, _Answer] = OrderedDict()
        self._waiting: dict[str | None, list[StanzaBase]] = {}

    def clear(self) -> None:
        """The stream is over: the next one may be with another server."""
        self._answers.clear()
        self._waiting.clear()

    def answer(self, request: StanzaBase, account: str) -> None:
        """Answer a request to ``account``, a bare JID of ours, as if we were not there; now, or when we know how."""
        language = request.xml.get(_LANG)
        if (known := self._answers.get(language)) is not None:
            self._imitate(known, request)
        elif sum(map(len, self._waiting.values())) >= WAITING:
            self._imitate(_BARE, request)
        elif language in self._waiting:
            self._waiting[language].append(request)
        else:
            self._waiting[language] = [request]
            attributes = {} if language is None else {_LANG: language}
            nobody = JID(account)
            nobody.resource = token_hex(16)
            payload = Element(f"{{{NS_JINGLE}}}jingle")
            self._ask(nobody.full, payload, attributes, lambda reply: self._learned(language, reply))

    def _learned(self, language: str | None, reply: StanzaBase) -> None:
        self._answers[language] = answer = _parse(reply)
        if len(self._answers) > LANGUAGES:
            self._answers.popitem(last=False)
        for request in self._waiting.pop(language):
            self._imitate(answer, request)

    def _imitate(self, answer: _Answer, request: StanzaBase) -> None:
        echo: tuple[Element, ...] = ()
        if answer.echoes and len(tostring(request.xml)) <= ECHO_BYTES:
            echo = tuple(deepcopy(child) for child in request.xml)
        attributes = {} if answer.language is None else {_LANG: answer.language}
        self._send(request, (*echo, deepcopy(answer.error)), attributes)


def _parse(reply: StanzaBase) -> _Answer:
    """The bare error, if the server has said anything but an error."""
    error = reply.xml.find(_ERROR)
    if error is None or len(tostring(error)) > ANSWER_BYTES:
        return _BARE
    return _Answer(error, reply.xml.get(_LANG), echoes=reply.xml.find(f"{{{NS_JINGLE}}}jingle") is not None)

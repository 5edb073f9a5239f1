"""Answers strangers as our own server does for a resource that does not exist (RFC 6121 §8.5.3.2.3).

Then nobody who may not open sessions learns that this resource is online.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from secrets import token_hex
from xml.etree.ElementTree import Element, tostring

from slixmpp import JID

from xmpp_e2e.negotiate.jingle import NS_JINGLE

LANGUAGES = 8
"""Cached answers, one for each language: servers may answer in the language of the request. One more is asked for again."""
REPLY_BYTES = 4096
"""Largest error that is imitated; an error with a text in any language is far smaller."""
WAITING = 16
"""Requests that wait until the server has answered us, which takes milliseconds: at most 4 MiB."""
ECHO_BYTES = 16_384
"""Largest request that is repeated in an error, for servers that repeat it. An offer is much smaller."""

OnReply = Callable[[Element], None]
SendError = Callable[[Element, tuple[Element, ...], dict[str, str]], None]
"""Answers a request by an error with these children and attributes."""
SendRequest = Callable[[str, Element, dict[str, str], OnReply], None]
"""Sends an iq of type set to a full JID, with this payload and these attributes; the reply goes to the last."""

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_ERROR = "{jabber:client}error"


def stanza_error(condition: str = "service-unavailable", type: str = "cancel") -> Element:
    """Return a stanza error with nothing but its condition (RFC 6120 §8.3)."""
    error = Element(_ERROR, {"type": type})
    error.append(Element(f"{{urn:ietf:params:xml:ns:xmpp-stanzas}}{condition}"))
    return error


@dataclass(frozen=True)
class _ServerReply:
    """What our server answered."""

    error: Element
    language: str | None
    """The stanza's ``xml:lang``."""
    echoes: bool
    """True if the server repeats the request in front of the error."""


_DEFAULT = _ServerReply(stanza_error(), None, echoes=False)


class UnavailableReply:
    """Asks our own server once on each stream, and once for each language in which strangers write.

    The question goes to a resource of our own account that nobody can guess. Until the answer is there, strangers wait.
    """

    def __init__(self, request: SendRequest, send_error: SendError) -> None:
        self._request, self._send_error = request, send_error
        self._replies: OrderedDict[str | None, _ServerReply] = OrderedDict()
        self._waiting: dict[str | None, list[Element]] = {}

    def clear(self) -> None:
        """Forget everything: the stream is over, and the next one may be with another server."""
        self._replies.clear()
        self._waiting.clear()

    def answer(self, request: Element, account: str) -> None:
        """Answer a request to ``account``, a bare JID of ours, as if this resource did not exist; now, or when we know how."""
        language = request.get(_LANG)
        if (known := self._replies.get(language)) is not None:
            self._imitate(known, request)
        elif sum(map(len, self._waiting.values())) >= WAITING:
            self._imitate(_DEFAULT, request)
        elif language in self._waiting:
            self._waiting[language].append(request)
        else:
            self._waiting[language] = [request]
            attributes = {} if language is None else {_LANG: language}
            nobody = JID(account)
            nobody.resource = token_hex(16)
            payload = Element(f"{{{NS_JINGLE}}}jingle")
            self._request(nobody.full, payload, attributes, lambda reply: self._on_reply(language, reply))

    def _on_reply(self, language: str | None, reply: Element) -> None:
        self._replies[language] = parsed = _parse(reply)
        if len(self._replies) > LANGUAGES:
            self._replies.popitem(last=False)
        for request in self._waiting.pop(language):
            self._imitate(parsed, request)

    def _imitate(self, reply: _ServerReply, request: Element) -> None:
        echo: tuple[Element, ...] = ()
        if reply.echoes and len(tostring(request)) <= ECHO_BYTES:
            echo = tuple(deepcopy(child) for child in request)
        attributes = {} if reply.language is None else {_LANG: reply.language}
        self._send_error(request, (*echo, deepcopy(reply.error)), attributes)


def _parse(reply: Element) -> _ServerReply:
    """Return what to imitate; the default if the server answered anything else."""
    error = reply.find(_ERROR)
    if error is None or len(tostring(error)) > REPLY_BYTES:
        return _DEFAULT
    return _ServerReply(error, reply.get(_LANG), echoes=reply.find(f"{{{NS_JINGLE}}}jingle") is not None)

"""Every parser of what a stranger says, as a function of bytes: it returns, or an error escaped that is not documented.

Each catches what its parser documents and nothing else, and asserts what holds of whatever was accepted.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, fromstring, tostring

from tests.conversation import End, evidence, secret_of
from tests.fuzz import filters
from tests.fuzz.grow import Choices, element_of
from tests.xmpp_e2e.negotiate.example import INITIATE
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.config import AUTHENTICATORS
from xmpp_e2e.encoding import length_prefixed, split_length_prefixed, strict_base64
from xmpp_e2e.errors import (
    AuthenticationFailed,
    BytestreamFailed,
    JingleError,
    StreamError,
)
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.negotiate import jingle
from xmpp_e2e.stream import reader
from xmpp_e2e.transport import ibb
from xmpp_e2e.types import Assurance, Role

MAX_INPUT = 8 * 1024
"""Bytes of one input: twice what the longest example has, so that several bounds can be passed."""
_BLOCK = 4096

# --- jingle ----------------------------------------------------------------------------------------------------------

_TERMINATE = """
<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='5f3c'>
  <reason><security-error/><text>why</text></reason>
</jingle>"""
_INFO = "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='5f3c'><ringing xmlns='urn:news'/></jingle>"
_JINGLES = tuple(fromstring(text) for text in (INITIATE, INITIATE.replace("initiate", "accept", 1), _TERMINATE, _INFO))


def jingles(data: bytes) -> None:
    """``jingle.parse`` refuses by JingleError; what it takes is within bounds and can be said again."""
    element = element_of(data, _JINGLES)
    if element is None:
        return
    try:
        taken = jingle.parse(element)
    except JingleError:
        return
    assert len(taken.contents) <= jingle.MAX_CONTENTS
    assert len(taken.text or "") <= jingle.MAX_TEXT
    assert jingle.parse(jingle.build(taken)) == taken


# --- hello and steps -------------------------------------------------------------------------------------------------

_OURS = auth.Hello(Role.INITIATOR, "5f3c", bytes(32), methods=("psk", "srp"))
_HELLOS = tuple(
    auth.build_hello(auth.Hello(Role.RESPONDER, "5f3c", bytes(32), methods, need, require))
    for methods, need, require in ((("psk", "srp"), ("srp",), Assurance.VERIFIED), ((), (), Assurance.VOUCHED))
)
_TALKATIVE = tuple(each for each in AUTHENTICATORS if each.order)
_STEPS = (auth.build_step("psk", length_prefixed(bytes(32))), auth.build_step("srp", length_prefixed(bytes(16), bytes(512))))


def hellos(data: bytes) -> None:
    """``parse_hello`` refuses by StreamError, ``verify_matches`` by AuthenticationFailed; what it takes can be said again."""
    element = element_of(data, _HELLOS)
    if element is None:
        return
    try:
        hello = auth.parse_hello(element)
    except StreamError:
        return
    assert auth.parse_hello(auth.build_hello(hello)) == hello
    assert auth.build_hello(hello).attrib["neg"] == element.attrib["neg"]
    with suppress(AuthenticationFailed):
        hello.verify_matches(_OURS)
        assert (hello.role, hello.sid, hello.neg) == (Role.RESPONDER, _OURS.sid, _OURS.neg)


def steps(data: bytes) -> None:
    """``parse_step`` refuses by StreamError; what it takes can be said again, in the same words."""
    element = element_of(data, _STEPS)
    if element is None:
        return
    try:
        method, payload = auth.parse_step(element)
    except StreamError:
        return
    assert auth.build_step(method, payload).text == (element.text or "")
    assert auth.parse_sas_form(element) in (None, *SasForm)


def proofs(data: bytes) -> None:
    """An authenticator that hears anything at all fails as documented, and is not convinced by it."""
    choices = Choices(data)
    role = (Role.INITIATOR, Role.RESPONDER)[choices.number(2)]
    method = _TALKATIVE[choices.number(len(_TALKATIVE))]
    cheap = replace(evidence(role), random=lambda size: bytes(size - 1) + b"\x05")  # else most of the time goes into powers
    end = End(method, cheap, secret_of(method), says=b"differ")
    while end.waits and choices.left:
        said = [_field(choices) for _ in range(choices.number(4))]
        end.hear(length_prefixed(*said) if choices.number(8) else choices.piece(255))
    assert end.waits or isinstance(end.outcome, AuthenticationFailed)


def _field(choices: Choices) -> bytes:
    """One of a size that is due somewhere, or any."""
    size = (0, 1, 16, 32, 512, 513)[choices.number(6)]
    return choices.piece(255) if choices.number(2) else bytes((choices.number(256),)) * size


# --- the inner stream ------------------------------------------------------------------------------------------------

_HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='a@x.example/1' to='b@y.example/2' version='1.0'>"
)
_MESSAGE = b"<message type='chat'><body>f\xc3\xb6g &amp; <![CDATA[rain]]></body><x xmlns='urn:x' y='z'><z/></x></message>"
_STREAM = _HEADER + tostring(_HELLOS[0]) + b" " + _MESSAGE + b"</stream:stream>"
_TIGHT = reader.ReaderLimits(depth=4, stanza_bytes=512, total_bytes=2048)
_LIMITS = (reader.GREETING, reader.OPEN, _TIGHT)


def streams(data: bytes) -> None:
    """The reader ends a stream by StreamError and nothing else, wherever the bytes are cut."""
    choices = Choices(data)
    limits, size, headed = _LIMITS[choices.number(3)], 1 + choices.number(255), choices.number(4)
    stream = _HEADER * (headed > 0) + choices.rest()
    whole = list(_read([stream], limits))
    assert list(_read([stream[place : place + size] for place in range(0, len(stream), size)], limits)) == whole


def _read(pieces: list[bytes], limits: reader.ReaderLimits) -> Iterator[object]:
    under_test = reader.Reader(limits)
    for piece in pieces:
        under_test.feed(piece)
        try:
            while (event := under_test.next_event()) is not None:
                yield _comparable(event, limits)
        except StreamError as error:
            yield error.condition
            return


def _comparable(event: reader.StreamItem, limits: reader.ReaderLimits) -> object:
    if not isinstance(event, Element):
        return event
    assert _depth(event) <= limits.depth
    assert event.tail is None
    return tostring(event)


def _depth(element: Element) -> int:
    return 1 + max(map(_depth, element), default=0)


# --- in-band bytestreams ---------------------------------------------------------------------------------------------


def _payloads() -> tuple[Element, ...]:
    opened = Element(ibb.OPEN, {"sid": "ab01", "block-size": "4096", "stanza": "iq"})
    block = Element(ibb.DATA, {"sid": "ab01", "seq": "0"})
    block.text = "Zm9n"
    later = Element(ibb.DATA, {"sid": "ab01", "seq": "1"})
    return opened, block, later, Element(ibb.CLOSE, {"sid": "ab01"})


_PAYLOADS = _payloads()


def bytestreams(data: bytes) -> None:
    """A bytestream that gets any payloads in any order, mixed with what we do, ends by BytestreamFailed and holds no more than
    it says."""
    choices = Choices(data)
    role = (Role.INITIATOR, Role.RESPONDER)[choices.number(2)]
    stream = ibb.IBB(role, "ab01", _BLOCK)
    if role is Role.INITIATOR:
        stream.open()
    delivered = blocks = 0
    while choices.left and stream.failure is None:
        with suppress(BytestreamFailed):
            match choices.number(8):
                case 0:
                    delivered += len(stream.read())
                case 1:
                    stream.acknowledgements_due()
                case 2:
                    stream.stanzas_to_send()
                case 3:
                    stream.acknowledged(choices.number(20))
                case 4 if choices.number(16) == 1:
                    stream.failed(choices.number(20), "item-not-found")
                case 5 if choices.number(16) == 1:
                    stream.close()
                case 5 if stream.writable:
                    stream.send(choices.piece(100))
                case 6:
                    stream.receive(_block(blocks, 1 + choices.number(256) * 16))
                    blocks += 1
                case _:
                    payload = element_of(choices.piece(60), _PAYLOADS)
                    if payload is not None and ibb.sid_of(payload) == stream.sid:
                        stream.receive(payload)
                        blocks += payload.tag == ibb.DATA
    unread = len(stream.read())
    assert unread <= 2 * ibb.RECEIVE_QUEUE
    assert delivered + unread <= len(data) * _BLOCK
    assert stream.failure is None or stream.ended


def _block(number: int, size: int) -> Element:
    """One that is as it should be."""
    element = Element(ibb.DATA, {"sid": "ab01", "seq": str(number)})
    element.text = base64.b64encode(bytes(size)).decode()
    return element


# --- bytes with one meaning ------------------------------------------------------------------------------------------


def base64s(data: bytes) -> None:
    """``strict_base64`` refuses by ValueError; what it takes is the one way to write it."""
    text = data.decode("latin-1" if data[:1] < b"\x80" else "utf-8", "surrogateescape")
    with suppress(ValueError):
        assert base64.b64encode(strict_base64(text)).decode() == text


def fields(data: bytes) -> None:
    """``split_length_prefixed`` refuses by ValueError; what it takes is the one way to write it."""
    with suppress(ValueError):
        assert length_prefixed(*split_length_prefixed(data)) == data


# --- all -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A parser, and what honest input of it looks like."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _written(*examples: Element) -> tuple[bytes, ...]:
    """As XML, behind the choice that makes it XML; and as an example without an edit."""
    as_xml = (b"\x02" + tostring(example) for example in examples)
    return *as_xml, *(bytes((0, place, 0)) for place in range(len(examples)))


TARGETS = {
    "jingle": Target(jingles, _written(*_JINGLES)),
    "hello": Target(hellos, _written(*_HELLOS)),
    "step": Target(steps, _written(*_STEPS)),
    "proof": Target(proofs, (bytes(8), bytes((1, 1, 1, 0, 0, 0, 1)))),
    "stream": Target(streams, tuple(bytes((limit, 7, 1)) + _STREAM.removeprefix(_HEADER) for limit in range(3))),
    "bytestream": Target(bytestreams, (bytes((1, 7, 2, 0, 0, 7, 2, 0, 1, 0)), bytes((0, 2, 3, 0, 5, 9)))),
    "base64": Target(base64s, (b"", b"Zm9n", b"Zm8=", b"Zg==")),
    "stanza": Target(filters.stanzas, _written(*filters.STANZAS)),
    "fields": Target(fields, (b"", length_prefixed(b""), length_prefixed(b"a", b"bc"))),
}

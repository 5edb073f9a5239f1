"""A hostile peer, or a hostile wire between honest ones: refused, and no byte of or after the offence delivered."""

from __future__ import annotations

import base64
from xml.etree.ElementTree import Element, SubElement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmpp_e2e.errors import BytestreamViolation, LocalError
from xmpp_e2e.transport.ibb import CLOSE, DATA, IBB, NS_IBB, OPEN, RECEIVE_BLOCKS, RECEIVE_QUEUE
from xmpp_e2e.types import MIN_BLOCK_SIZE, Role

SIZE = 512


def opening(size: str | None = str(SIZE), **attributes: str) -> Element:
    block_size = {} if size is None else {"block-size": size}
    return Element(OPEN, {"sid": "s", **block_size, **attributes})


def block(seq: int | str | None, data: bytes | str = b"data") -> Element:
    """A block as it comes; ``str`` data is the text itself."""
    element = Element(DATA, {"sid": "s"} if seq is None else {"sid": "s", "seq": str(seq)})
    element.text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return element


def closing() -> Element:
    return Element(CLOSE, {"sid": "s"})


def responder(*before: Element) -> IBB:
    ibb = IBB(Role.RESPONDER, "s", SIZE)
    for payload in before:
        ibb.receive(payload)
    return ibb


def initiator(*before: Element) -> IBB:
    """An initiator whose <open/> has left, and that has received ``before``."""
    ibb = IBB(Role.INITIATOR, "s", SIZE)
    ibb.open()
    ibb.stanzas_to_send()
    for payload in before:
        ibb.receive(payload)
    return ibb


def refuse(ibb: IBB, offence: Element, condition: str) -> None:
    """``offence`` is refused with ``condition``; the bytestream is dead, and nothing more goes into or out of it."""
    with pytest.raises(BytestreamViolation) as caught:
        ibb.receive(offence)
    assert caught.value.condition == condition
    assert ibb.failure is caught.value
    assert ibb.ended
    assert not ibb.writable
    before = ibb.read()
    for seq in range(4):
        with pytest.raises(BytestreamViolation) as again:
            ibb.receive(block(seq))
        assert again.value.condition == "item-not-found"
    assert ibb.failure is caught.value
    assert ibb.read() == b""
    assert b"evil" not in before
    assert not ibb.stanzas_to_send()


CHILD = block(0, "AAAA")
SubElement(CHILD, "more").tail = "AAAA"

OPENS = {
    "resource-constraint": [*(opening("513"), opening("65535"))],
    "not-acceptable": [*(opening(str(MIN_BLOCK_SIZE - 1)), opening("0"), opening(stanza="message"), opening(stanza=""))],
    "bad-request": [
        *(opening(None), opening(""), opening("-1"), opening("512.0"), opening(" 512"), opening("٥١٢"), opening("²")),
        *(opening("000512"), opening("9" * 5000)),
    ],
    "unexpected-request": [*(block(0), closing())],
}


@pytest.mark.parametrize(("offence", "condition"), [(each, name) for name, group in OPENS.items() for each in group])
def test_first_words_of_an_initiator(offence: Element, condition: str) -> None:
    """A bytestream that is opened with larger or senseless blocks, for messages, or not at all, is refused."""
    refuse(responder(), offence, condition)


@pytest.mark.parametrize("size", [str(SIZE), str(MIN_BLOCK_SIZE)])
@pytest.mark.parametrize("attributes", [{}, {"stanza": "iq"}])
def test_in_order_opens(size: str, attributes: dict[str, str]) -> None:
    """The agreed block size or less is accepted, with the default of stanza='iq' said or not."""
    responder(opening(size, **attributes)).receive(block(0))


BLOCKS = [
    pytest.param(block(2), id="dropped"),
    pytest.param(block(0), id="replayed"),
    pytest.param(block("01"), id="another way to write it"),
    pytest.param(block("+1"), id="signed"),
    pytest.param(block(" 1"), id="spaced"),
    pytest.param(block(65_537), id="beyond 16 bits"),
    pytest.param(block(""), id="empty sequence number"),
    pytest.param(block(None), id="no sequence number"),
    pytest.param(block(1, b""), id="empty"),
    pytest.param(block(1, "   "), id="empty but for spaces"),
    pytest.param(block(1, bytes(SIZE + 1)), id="one byte over"),
    pytest.param(block(1, bytes(100_000)), id="far over"),
    pytest.param(block(1, "ZXZpbA"), id="padding missing"),
    pytest.param(block(1, "ZXZpbA="), id="padding short"),
    pytest.param(block(1, "ZXZpbA==="), id="padding long"),
    pytest.param(block(1, "ZXZpbGV2aWw===="), id="padding far too long"),
    pytest.param(block(1, "ZXZpbA==ZXZp"), id="padding in the middle"),
    pytest.param(block(1, "=ZXZp"), id="padding first"),
    pytest.param(block(1, "ZXZpbB=="), id="stray bits"),
    pytest.param(block(1, "ZXZp bGV2"), id="a space"),
    pytest.param(block(1, "ZXZp\nbGV2"), id="a line break"),
    pytest.param(block(1, "\nZXZp\n"), id="line breaks around"),
    pytest.param(block(1, "ZXZp*bGV2"), id="a strange character"),
    pytest.param(block(1, "ZX-_"), id="the alphabet of URLs"),
    pytest.param(block(1, "ZXZpé"), id="not ASCII"),
    pytest.param(block(1, "ZXZp\ud800"), id="half a character"),
    pytest.param(block(1, "Z"), id="one character"),
    pytest.param(opening(), id="a second open"),
]


@pytest.mark.parametrize("offence", BLOCKS)
@pytest.mark.parametrize("ready", [initiator, lambda *before: responder(opening(), *before)], ids=["to I", "to R"])
def test_blocks(ready: object, offence: Element) -> None:
    """A block that is not the next one, or empty, oversized or not in strict base64, is the end on either side."""
    assert callable(ready)
    refuse(ready(block(0)), offence, "unexpected-request")


def test_elements_in_a_block() -> None:
    refuse(initiator(), CHILD, "unexpected-request")


@pytest.mark.parametrize("offence", [opening(), block(0, b"evil"), closing()])
def test_responder_that_speaks_first(offence: Element) -> None:
    """Nothing may come to an initiator whose <open/> has not left yet."""
    unopened = IBB(Role.INITIATOR, "s", SIZE)
    refuse(unopened, offence, "unexpected-request")
    announced = IBB(Role.INITIATOR, "s", SIZE)
    announced.open()
    refuse(announced, offence, "unexpected-request")


@pytest.mark.parametrize("offence", [opening(), block(1, b"evil"), closing()])
def test_words_after_close(offence: Element) -> None:
    """Nothing may come after <close/>, nor after our own <close/> is answered."""
    refuse(initiator(block(0), closing()), offence, "unexpected-request")
    ibb = initiator(block(0))
    ibb.close()
    [(tag, _)] = ibb.stanzas_to_send()
    ibb.acknowledged(tag)
    refuse(ibb, offence, "unexpected-request")


def test_smaller_blocks_bind_the_initiator() -> None:
    """A block within the negotiated size, but over that of the <open/>, is refused."""
    refuse(responder(opening(str(MIN_BLOCK_SIZE))), block(0, bytes(MIN_BLOCK_SIZE + 1)), "unexpected-request")


def test_bytes_are_bounded_against_a_peer_that_ignores_back_pressure() -> None:
    """Two receive queues of unread bytes are the end, acknowledged or not."""
    ibb = IBB(Role.INITIATOR, "s", 8192)
    ibb.open()
    ibb.stanzas_to_send()
    for seq in range(2 * RECEIVE_QUEUE // 8192):
        ibb.receive(block(seq, bytes(8192)))
        ibb.acknowledgements_due()
    with pytest.raises(BytestreamViolation) as caught:
        ibb.receive(block(2 * RECEIVE_QUEUE // 8192, b"x"))
    assert caught.value.condition == "resource-constraint"
    assert ibb.read() == bytes(2 * RECEIVE_QUEUE)


def test_blocks_are_bounded_against_a_peer_that_ignores_back_pressure() -> None:
    """Blocks of one byte are bounded by their number while they wait for their acknowledgements."""
    ibb = IBB(Role.INITIATOR, "s", 8192)
    ibb.open()
    ibb.stanzas_to_send()
    for seq in range(RECEIVE_BLOCKS):
        ibb.receive(block(seq, b"x"))
    with pytest.raises(BytestreamViolation) as caught:
        ibb.receive(block(RECEIVE_BLOCKS, b"x"))
    assert caught.value.condition == "resource-constraint"


@pytest.mark.parametrize(
    "stray",
    [
        Element(DATA, {"sid": "other", "seq": "0"}),
        Element(DATA, {"seq": "0"}),
        Element(f"{{{NS_IBB}}}other", {"sid": "s"}),
        Element("data", {"sid": "s", "seq": "0"}),
    ],
)
def test_strangers_do_no_harm(stray: Element) -> None:
    """What is brought to the wrong bytestream is refused locally, and the bytestream goes on."""
    ibb = initiator()
    with pytest.raises(LocalError):
        ibb.receive(stray)
    ibb.receive(block(0, b"unharmed"))
    assert ibb.read() == b"unharmed"


@settings(deadline=None)
@given(
    blocks=st.integers(4, 12),
    where=st.data(),
    attack=st.sampled_from(["replay", "reorder", "drop", "oversize", "empty", "alphabet"]),
)
def test_hostile_wire(blocks: int, where: st.DataObject, attack: str) -> None:
    """Blocks replayed, reordered, dropped, blown up, emptied or spoilt on the way: only what came before arrives."""
    wire = [block(seq, bytes([seq]) * 100) for seq in range(blocks)]
    at = where.draw(st.integers(0, blocks - 2))
    good = at
    if attack == "replay":
        old = where.draw(st.integers(0, at))
        wire.insert(at + 1, wire[old])
        good = at + 1
    elif attack == "reorder":
        wire[at], wire[at + 1] = wire[at + 1], wire[at]
    elif attack == "drop":
        del wire[at]
    else:
        spoilt = {"oversize": "A" * 4 * SIZE, "empty": "", "alphabet": "A" * 99 + "!"}
        wire[at] = block(at, spoilt[attack])
    ibb = initiator()
    refused = 0
    for payload in wire:
        try:
            ibb.receive(payload)
        except BytestreamViolation:
            refused += 1
    assert refused == len(wire) - good
    assert ibb.read() == b"".join(bytes([seq]) * 100 for seq in range(good))
    assert ibb.ended


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=60), where=st.data())
def test_flipped_bits(data: bytes, where: st.DataObject) -> None:
    """A flipped bit is refused, or gives strict base64 of other bytes, which are TLS's to refuse."""
    text = bytearray(base64.b64encode(data))
    text[where.draw(st.integers(0, len(text) - 1))] ^= 1 << where.draw(st.integers(0, 6))
    ibb = initiator()
    try:
        ibb.receive(block(0, text.decode()))
    except BytestreamViolation:
        assert ibb.read() == b""
    else:
        assert base64.b64encode(altered := ibb.read()) == text
        assert altered != data


words = st.text(max_size=8) | st.sampled_from(["s", "0", "1", "512", "iq", "message", "AAAA", "AAA=", ""])


@settings(deadline=None)
@given(
    role=st.sampled_from(Role),
    stream=st.lists(
        st.tuples(
            st.sampled_from([OPEN, DATA, CLOSE, "other"]),
            st.dictionaries(st.sampled_from(["seq", "block-size", "stanza"]), words),
            words | st.none(),
        ),
        max_size=12,
    ),
)
def test_noise(role: Role, stream: list[tuple[str, dict[str, str], str | None]]) -> None:
    """Whatever comes is taken, or refused by an error of ours."""
    ibb = initiator() if role is Role.INITIATOR else responder()
    for tag, attributes, text in stream:
        element = Element(tag, {"sid": "s", **attributes})
        element.text = text
        try:
            ibb.receive(element)
        except (BytestreamViolation, LocalError):
            continue

"""Attack 5: blocks of the bytestream are replayed, reordered, dropped, flipped, swollen or garbled on the way."""

from __future__ import annotations

import base64
from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.over_ibb import BlockHook, IBBPair
from tests.pair import Pair, config, message
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamViolation, E2EError, TLSFailed
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import IBB
from xmpp_e2e.types import Role

BIG = "x" * 60_000
"""Takes fifteen blocks."""


def copy(block: Element, **attributes: str) -> Element:
    """The same block again."""
    again = Element(block.tag, {**block.attrib, **attributes})
    again.text = block.text
    return again


def flipped(block: Element) -> Element:
    """One bit of it is another one."""
    raw = bytearray(base64.b64decode(block.text or ""))
    raw[len(raw) // 2] ^= 1
    again = copy(block)
    again.text = base64.b64encode(raw).decode()
    return again


def swollen(block: Element) -> Element:
    """Larger than was agreed."""
    again = copy(block)
    again.text = base64.b64encode(bytes(4097)).decode()
    return again


def respelt(spell: Callable[[str], str]) -> Callable[[Element], list[Element]]:
    """The base64 in a spelling that lenient decoders overlook, or read as something else."""

    def respell(block: Element) -> list[Element]:
        again = copy(block)
        again.text = spell(block.text or "")
        assert again.text != block.text
        return [again]

    return respell


def with_loose_bits(text: str) -> str:
    """The last character before the padding has bits that no byte has: the same bytes, spelt otherwise."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bare = base64.b64encode(base64.b64decode(text)[:-1] if not text.endswith("=") else base64.b64decode(text)).decode()
    stem = bare.rstrip("=")
    return stem[:-1] + alphabet[alphabet.index(stem[-1]) + 1] + bare[len(stem) :]


class Third:
    """Abuses the third block of Alice's that comes by, and lets all others pass."""

    def __init__(self, abuse: Callable[[Element], list[Element]]) -> None:
        self._abuse = abuse
        self.count = 0

    def __call__(self, role: Role, block: Element) -> list[Element]:
        if role is Role.RESPONDER:
            return [block]
        self.count += 1
        return self._abuse(block) if self.count == 3 else [block]


class Swap:
    """Alice's third block comes after the fourth."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Element] = []

    def __call__(self, role: Role, block: Element) -> list[Element]:
        if role is Role.RESPONDER:
            return [block]
        self.count += 1
        if self.count == 3:
            self._kept.append(block)
            return []
        kept, self._kept = self._kept, []
        return [block, *kept]


def seq(block: Element, plus: int) -> str:
    return str(int(block.get("seq", "0")) + plus)


ABUSES: dict[str, Callable[[], BlockHook]] = {
    "replay": lambda: Third(lambda block: [block, copy(block)]),
    "reorder": Swap,
    "drop": lambda: Third(lambda block: []),
    "swollen": lambda: Third(lambda block: [swollen(block)]),
    "white space": lambda: Third(respelt(lambda text: f"{text[:8]}\n{text[8:]}")),
    "foreign character": lambda: Third(respelt(lambda text: f"{text[:8]}-{text[9:]}")),
    "no padding": lambda: Third(respelt(lambda text: text.rstrip("=")[:-1])),
    "padding inside": lambda: Third(respelt(lambda text: f"{text[:8]}=={text[8:]}")),
    "loose bits": lambda: Third(respelt(with_loose_bits)),
    "empty": lambda: Third(lambda block: [Element(block.tag, block.attrib)]),
}


@pytest.mark.parametrize("abuse", ABUSES.values(), ids=ABUSES.keys())
def test_a_block_out_of_order_or_form_ends_the_stream(abuse: Callable[[], BlockHook]) -> None:
    """The block is refused, the session ends on both sides, and of the stanza that was under way nothing is delivered."""
    pair = IBBPair().open()
    assert pair.bob.session.state is State.OPEN
    pair.alice.session.send_stanza(message("before"))
    pair.run()
    pair.on_block = abuse()
    pair.alice.session.send_stanza(message(BIG))
    pair.run()
    assert [error.condition for error in pair.refused] == ["unexpected-request"]
    assert pair.bob.stanzas == ["before"]
    for side in (pair.alice, pair.bob):
        (end,) = side.of(events.SessionClosed)
        assert not end.clean
    assert isinstance(pair.bob.failure, BytestreamViolation)
    assert "replayed, reordered, dropped or altered" in explain(pair.bob.failure)


def renumbered_replay() -> BlockHook:
    """A block comes twice, and the server renumbers all that follow: the in-band rules see nothing wrong."""
    shift = 0

    def hook(role: Role, block: Element) -> list[Element]:
        nonlocal shift
        if role is Role.RESPONDER:
            return [block]
        again = copy(block, seq=seq(block, shift))
        if shift:
            return [again]
        shift = 1
        return [again, copy(block, seq=seq(block, 1))]

    return hook


def renumbered_drop() -> BlockHook:
    """A block is lost, and the server renumbers all that follow."""
    dropped = False

    def hook(role: Role, block: Element) -> list[Element]:
        nonlocal dropped
        if role is Role.RESPONDER:
            return [block]
        if not dropped:
            dropped = True
            return []
        return [copy(block, seq=seq(block, -1))]

    return hook


CLEVER: dict[str, Callable[[], BlockHook]] = {
    "flip": lambda: Third(lambda block: [flipped(block)]),
    "renumbered replay": renumbered_replay,
    "renumbered drop": renumbered_drop,
}


@pytest.mark.parametrize("abuse", CLEVER.values(), ids=CLEVER.keys())
def test_what_the_bytestream_cannot_see_tls_does(abuse: Callable[[], BlockHook]) -> None:
    """A server that keeps every rule of the bytestream is found out by the record layer; nothing partial is delivered."""
    pair = IBBPair().open()
    pair.on_block = abuse()
    pair.alice.session.send_stanza(message(BIG))
    pair.run()
    assert not pair.refused
    assert isinstance(pair.bob.failure, TLSFailed)
    assert "altered, replayed or downgraded" in explain(pair.bob.failure)
    assert pair.bob.stanzas == []


@pytest.mark.parametrize("abuse", [*ABUSES.values(), *CLEVER.values()], ids=[*ABUSES, *CLEVER])
def test_during_the_handshake_too(abuse: Callable[[], BlockHook]) -> None:
    """Abuse of the very first blocks, with TLS in them from the start, ends the session before it is open."""
    hook = abuse()
    if isinstance(hook, Third | Swap):
        hook.count = 2  # there are not so many blocks before the session is open
    pair = IBBPair(config("alice", fast_open=False), on_block=hook).open()
    if pair.alice.session.state is not State.CLOSED:  # a block is missing, and nothing comes after it
        pair.pass_time(61)
    for side in (pair.alice, pair.bob):
        assert isinstance(side.failure, E2EError)
        assert not side.of(events.SessionOpened)
        assert side.session.state is State.CLOSED


def test_control_untouched_blocks_arrive() -> None:
    """Control: the same pair, left alone, delivers the same stanza."""
    pair = IBBPair().open()
    pair.alice.session.send_stanza(message(BIG))
    assert pair.run().bob.stanzas == [BIG]


def test_control_without_the_record_layer() -> None:
    """Control: bytes that a sequence number alone protects are replayed unnoticed once the server renumbers them."""
    near, far = IBB(Role.INITIATOR, "s", 4096), IBB(Role.RESPONDER, "s", 4096)
    near.open()
    near.send(b"pay Bob 10;")
    hook = renumbered_replay()
    for _, payload in near.stanzas_to_send():
        for element in hook(Role.INITIATOR, payload) if "data" in payload.tag else [payload]:
            far.receive(element)
    assert far.read() == b"pay Bob 10;pay Bob 10;"


def test_pair_without_blocks_is_the_same_attack() -> None:
    """Bytes replayed below any framing fail alike."""
    pair = Pair().open()
    pair.on_data = lambda role, data: [data, data]
    pair.alice.session.send_stanza(message("once"))
    pair.run()
    assert pair.bob.stanzas == ["once"]
    assert isinstance(pair.bob.failure, TLSFailed)

"""Edits of a ClientHello on its way (RFC 8446 §4.1.2): remove extensions, or put in others."""

from __future__ import annotations

import base64
from collections.abc import Callable
from xml.etree.ElementTree import Element

from tests.pair import DataHook, JingleHook
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_e2e.types import Role

SUPPORTED_GROUPS, ALPN, SUPPORTED_VERSIONS, KEY_SHARE = 10, 16, 43, 51
X25519MLKEM768 = 0x11EC

Extensions = dict[int, bytes]
Edit = Callable[[Extensions], None]
"""Changes the extensions in place."""


def edited(flight: bytes, edit: Edit) -> bytes:
    """Return ``flight``, a ClientHello in one record, with edited extensions and correct lengths."""
    assert (flight[0], flight[5]) == (22, 1), "a handshake record that begins with a ClientHello"
    size = int.from_bytes(flight[3:5], "big")
    body, rest = flight[9 : 5 + size], flight[5 + size :]
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    head, tail = body[:at], body[at + 2 :]
    extensions: Extensions = {}
    while tail:
        length = int.from_bytes(tail[2:4], "big")
        extensions[int.from_bytes(tail[:2], "big")] = tail[4 : 4 + length]
        tail = tail[4 + length :]
    edit(extensions)
    packed = b"".join(kind.to_bytes(2, "big") + sized(2, data) for kind, data in extensions.items())
    hello = head + sized(2, packed)
    return flight[:3] + sized(2, b"\x01" + sized(3, hello)) + rest


def sized(count: int, data: bytes) -> bytes:
    """Prefix ``data`` with its length in ``count`` bytes."""
    return len(data).to_bytes(count, "big") + data


def listed(data: bytes, keep: Callable[[int], bool]) -> bytes:
    """Filter a list of 16-bit numbers."""
    numbers = [data[at : at + 2] for at in range(2, len(data), 2)]
    return sized(2, b"".join(number for number in numbers if keep(int.from_bytes(number, "big"))))


def shares(data: bytes, keep: Callable[[int], bool]) -> bytes:
    """Filter key shares by their groups."""
    kept, at = b"", 2
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if keep(int.from_bytes(data[at : at + 2], "big")):
            kept += data[at:end]
        at = end
    return sized(2, kept)


def edit_first_hello(edit: Edit) -> tuple[JingleHook, DataHook]:
    """Return hooks that edit the initiator's first ClientHello, in the signalling or on the bytestream."""
    done = False

    def on_jingle(role: Role, element: Element) -> list[Element]:
        nonlocal done
        flight = element.find(f".//{{{NS_SECURITY}}}flight")
        if role is Role.INITIATOR and flight is not None:
            done = True
            flight.text = base64.b64encode(edited(base64.b64decode(flight.text or ""), edit)).decode()
        return [element]

    def on_data(role: Role, data: bytes) -> list[bytes]:
        nonlocal done
        if role is Role.INITIATOR and not done:
            done = True
            return [edited(data, edit)]
        return [data]

    return on_jingle, on_data

"""Search the stanzas that a server handled: their text, and the in-band bytes in them, decoded."""

from __future__ import annotations

import base64
import re

from xmpp_e2e_cli.demo.servers import HandledStanza

WORD = 7
"""Minimum length of a word to search for. A word of five letters turns up by chance in the base64 of one run in thirty."""
BLOCK = re.compile(r"<data\b[^>]*>([^<]*)</data>")


def decode_blocks(stanza: HandledStanza) -> bytes:
    """Return the in-band bytes in a stanza (XEP-0047), decoded."""
    return b"".join(base64.b64decode(found) for found in BLOCK.findall(stanza.text))


def find_word(word: str, handled: list[HandledStanza]) -> list[HandledStanza]:
    """Return the stanzas that contain ``word``, as text or decoded. A word across two blocks is found in the second."""
    found = [stanza for stanza in handled if word.lower() in stanza.text.lower()]
    streams: dict[tuple[bool, str], bytes] = {}
    for stanza in handled:
        if data := decode_blocks(stanza):
            stream = (stanza.received, stanza.client)
            tail = streams.get(stream, b"")[-len(word.encode()) :]
            streams[stream] = streams.get(stream, b"") + data
            if word.lower().encode() in (tail + data).lower():
                found.append(stanza)
    return found


def long_words(*bodies: str) -> list[str]:
    """Return the words that are too long to turn up by chance."""
    return sorted({word for body in bodies for word in re.findall(r"\w+", body) if len(word) >= WORD})

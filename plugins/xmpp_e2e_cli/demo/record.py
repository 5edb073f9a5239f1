"""What a server can read in the stanzas that it handles: their text, and the in-band bytes in them, decoded."""

from __future__ import annotations

import base64
import re

from xmpp_e2e_cli.demo.theatre import Handled

WORD = 7
"""Letters of the words that are searched for: one of five is found by chance in the base64 of one run among thirty."""
BLOCK = re.compile(r"<data\b[^>]*>([^<]*)</data>")


def blocks(handled: Handled) -> bytes:
    """The in-band bytes in a stanza (XEP-0047), decoded."""
    return b"".join(base64.b64decode(found) for found in BLOCK.findall(handled.text))


def readable(word: str, record: list[Handled]) -> list[Handled]:
    """The stanzas in which ``word`` can be read, as text or in a decoded block; across blocks it counts for the last."""
    found = [handled for handled in record if word.lower() in handled.text.lower()]
    streams: dict[tuple[bool, str], bytes] = {}
    for handled in record:
        if data := blocks(handled):
            key = (handled.came, handled.client)
            tail = streams.get(key, b"")[-len(word.encode()) :]
            streams[key] = streams.get(key, b"") + data
            if word.lower().encode() in (tail + data).lower():
                found.append(handled)
    return found


def words(*bodies: str) -> list[str]:
    """The words that are long enough to be told from chance."""
    return sorted({word for body in bodies for word in re.findall(r"\w+", body) if len(word) >= WORD})

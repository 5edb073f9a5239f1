"""What waits for TLS is bounded, and so is what may be said before the peer's done."""

from __future__ import annotations

import pytest

from tests.pair import message
from xmpp_e2e.errors import SendBufferFull
from xmpp_e2e.stream.send_buffer import EARLY_STANZA_BYTES, SendBuffer
from xmpp_e2e.stream.writer import element


def test_early_stanzas_add_up() -> None:
    """To the last byte, taken or not; one that finds no room takes none."""
    half = message("x" * (EARLY_STANZA_BYTES // 2 - len(element(message("x"))) + 1))
    out = SendBuffer()
    out.stanza(half, early=True)
    assert len(out.take(None)) == EARLY_STANZA_BYTES // 2
    with pytest.raises(SendBufferFull, match="16384 are free"):
        out.stanza(message("x" * EARLY_STANZA_BYTES), early=True)
    out.stanza(half, early=True)
    with pytest.raises(SendBufferFull, match="0 are free"):
        out.stanza(message(""), early=True)
    out.stanza(half, early=False)
    assert len(out) == EARLY_STANZA_BYTES

"""What is printed of a bound: its value as the code has it, and the reason that stands beside it."""

from __future__ import annotations

from tests.evidence.bounds import bounds
from xmpp_e2e.stream import MAX_STANZA


def test_the_reason_is_found() -> None:
    found = {name: (value, why) for name, value, why in bounds()}
    value, why = found["xmpp_e2e.stream.MAX_STANZA"]
    assert value == f"{MAX_STANZA:,}"
    assert why.startswith("Bytes of one top-level element")

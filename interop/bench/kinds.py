"""What is measured side by side: the kinds of clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Two clients of one kind talk to each other."""

    title: str
    plugins: tuple[str, ...] = ()
    """Plugins of slixmpp that they register."""
    e2e: bool = False
    """They register our plugin."""
    omemo: bool = False
    """They encrypt each message by slixmpp-omemo."""


KINDS: Mapping[str, Kind] = {
    "plaintext": Kind("plaintext"),
    "caps": Kind("plaintext, XEP-0115", ("xep_0115",)),
    "sm": Kind("plaintext, XEP-0198", ("xep_0198",)),
    "e2e": Kind("e2e", e2e=True),
    "e2e_sm": Kind("e2e, XEP-0198", ("xep_0198",), e2e=True),
    "omemo": Kind("slixmpp-omemo", omemo=True),
    "ibb": Kind("slixmpp's IBB", ("xep_0047",)),
}

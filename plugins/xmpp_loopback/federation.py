"""The path between two servers of one process, each with a domain of its own: what server-to-server streams are elsewhere."""

from __future__ import annotations

from functools import partial
from xml.etree.ElementTree import Element

from .hooks import Hook, through
from .server import LoopbackServer
from .wire import parse, to_text

REFUSED_LIMIT = 10_000
"""Stanzas kept in `Federation.refused`; more is a mistake in the test."""


class Federation:
    """Joins two servers both ways, from now on. Honest while `interfere` is empty; the servers may be hostile by theirs.

    Each knows which domain the other one is: a stanza in the name of a third, or of its own people, is refused by a server
    however hostile the path or the other server is (RFC 6120 §8.1.2.2), and is in ``refused``.
    """

    def __init__(self, near: LoopbackServer, far: LoopbackServer) -> None:
        self.interfere: list[Hook] = []
        """What the path does, to both directions: hooks as those of a server."""
        self.refused: list[Element] = []
        near.neighbours[far.domain] = partial(self._carry, near.domain, far)
        far.neighbours[near.domain] = partial(self._carry, far.domain, near)

    def _carry(self, domain: str, server: LoopbackServer, stanza: Element) -> None:
        copied = parse(to_text(stanza))
        for passed in through(self.interfere, copied, copied.get("from", "")):
            if not server.arrive(domain, passed):
                if len(self.refused) >= REFUSED_LIMIT:
                    raise OverflowError(f"more than {REFUSED_LIMIT} stanzas were refused")
                self.refused.append(passed)

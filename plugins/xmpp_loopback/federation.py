"""Join two servers in one process, each with its own domain. This replaces server-to-server streams."""

from __future__ import annotations

from functools import partial
from xml.etree.ElementTree import Element

from .hooks import Hook, through
from .server import LoopbackServer
from .wire import parse, to_text

REFUSED_LIMIT = 10_000
"""Maximum number of stanzas in `Federation.refused`. More is a mistake in the test."""


class Federation:
    """A path between two servers, in both directions. It is honest while `hooks` is empty.

    Each server knows the domain of the other. It refuses a stanza that claims to be from a third domain or from its own
    users, however hostile the path or the other server is (RFC 6120 §8.1.2.2), and puts it into ``refused``.
    """

    def __init__(self, near: LoopbackServer, far: LoopbackServer) -> None:
        self.hooks: list[Hook] = []
        """Hooks that act on stanzas in both directions, as those of a server do."""
        self.refused: list[Element] = []
        near.neighbours[far.domain] = partial(self._carry, near.domain, far)
        far.neighbours[near.domain] = partial(self._carry, far.domain, near)

    def _carry(self, domain: str, server: LoopbackServer, stanza: Element) -> None:
        copied = parse(to_text(stanza))
        for passed in through(self.hooks, copied, copied.get("from", "")):
            if not server.arrive(domain, passed):
                if len(self.refused) >= REFUSED_LIMIT:
                    raise OverflowError(f"more than {REFUSED_LIMIT} stanzas were refused")
                self.refused.append(passed)

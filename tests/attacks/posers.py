"""A server that makes up devices of somebody, and speaks for each of them."""

from __future__ import annotations

from typing import Generic, TypeVar
from xml.etree.ElementTree import Element

from tests.slixmpp_e2e.world import World
from xmpp_loopback.relay import IQ, End

E = TypeVar("E", bound=End)


class Posers(Generic[E]):
    """A hook: what is for one of these full JIDs comes to its end, and to nobody else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ends: dict[str, E] = {}
        world.server.interfere.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        end = self.ends.get(stanza.get("to", ""))
        if end is None or stanza.tag != IQ:
            return stanza
        end.takes(stanza)
        return None

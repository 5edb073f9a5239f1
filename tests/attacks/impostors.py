"""A server that invents devices of an account and speaks for each of them."""

from __future__ import annotations

from typing import Generic, TypeVar
from xml.etree.ElementTree import Element

from tests.slixmpp_e2e.env import Env
from xmpp_loopback.mitm import IQ, MitmSide

E = TypeVar("E", bound=MitmSide)


class Impostors(Generic[E]):
    """A hook that passes what is for one of these full JIDs to its impostor, and to nobody else."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.ends: dict[str, E] = {}
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        end = self.ends.get(stanza.get("to", ""))
        if end is None or stanza.tag != IQ:
            return stanza
        end.takes(stanza)
        return None

"""Requests that come to a client."""

from __future__ import annotations

import asyncio

from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.slixmpp_e2e.env import until


class Asked:
    """Takes the requests that come to a client, and answers none by itself."""

    def __init__(self, client: ClientXMPP) -> None:
        self._queue: asyncio.Queue[Iq] = asyncio.Queue()
        client.register_handler(Callback("asked", StanzaPath("iq@type=get"), self._queue.put_nowait))

    async def take(self) -> Iq:
        return await until(self._queue.get())

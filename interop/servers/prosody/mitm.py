"""A Prosody that attacks its users: each iq between two of them passes through our hooks (mod_mitm.lua)."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from slixmpp.xmlstream.stanzabase import StanzaBase

from interop.harness import log_in
from interop.servers.daemon import COMPONENT
from interop.servers.prosody import Prosody
from xmpp_loopback import Hook, offline, to_text
from xmpp_loopback.hooks import through

MODULE = "mitm"
"""The module that the server must load."""
_FORWARDED = "{urn:xmpp:forward:0}forwarded"


def extra(domain: str) -> str:
    """Return the configuration that a server for ``domain`` needs."""
    return f'mitm_component = "{COMPONENT}.{domain}"\nvalidate_from_addresses = false'


class Mitm:
    """The hooks, and the component that the server asks about each iq. Use it as an async context manager."""

    def __init__(self, server: Prosody) -> None:
        self.hooks: list[Hook] = []
        self._component = server.component_client()
        self._component.enable_direct_tls = False
        path = f"{{{self._component.default_ns}}}message/{_FORWARDED}"
        self._component.register_handler(Callback("mitm", MatchXPath(path), self._took))

    async def __aenter__(self) -> Self:
        await log_in(self._component, self._component.connect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await offline(self._component)

    def inject(self, to: str, stanza: Element) -> None:
        """Send an iq to a client (full JID, as in the stanza's ``to``), from any claimed sender."""
        self._component.send_raw(to_text(stanza))

    def _took(self, message: StanzaBase) -> None:
        for stanza in message.xml.findall(f"{_FORWARDED}/*"):
            for passed in through(self.hooks, stanza, stanza.get("from", "")):
                self.inject(passed.get("to", ""), passed)

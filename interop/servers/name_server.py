"""A DNS server on a free port of 127.0.0.1. It knows only the domains of the servers under test (RFC 6120 §3.2.1)."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from dnslib import QTYPE, RCODE, RR, SRV, A, DNSError, DNSRecord

LOCALHOST = "localhost."
"""The target of every service. ejabberd refuses an address, and any other name would have to be invented."""
SERVICE = "_xmpp-server._tcp."


class NameServer(asyncio.DatagramProtocol):
    """Answers for the domains in ``ports``. Use it as an async context manager."""

    port = 0
    """Its UDP port, once started."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        """The server port of each domain. It may change while the name server runs: nothing is cached for long."""
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a question; ignore anything else."""
        try:
            question = DNSRecord.parse(data)
        except DNSError:
            return
        if self._transport is not None and question.questions:
            self._transport.sendto(self._answer(question).pack(), addr)

    def _answer(self, question: DNSRecord) -> DNSRecord:
        reply = question.reply()
        name, kind = str(question.q.qname).lower(), question.q.qtype
        domain = name.removeprefix(SERVICE).rstrip(".")
        if name == LOCALHOST:
            if kind == QTYPE.A:
                reply.add_answer(RR(name, kind, rdata=A("127.0.0.1")))
        elif name.startswith(SERVICE) and domain in self.ports:
            if kind == QTYPE.SRV:
                reply.add_answer(RR(name, kind, rdata=SRV(0, 0, self.ports[domain], LOCALHOST)))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply

"""The name server through which ejabberd finds the other server of a federation."""

from __future__ import annotations

import asyncio
import socket

import pytest
from dnslib import RCODE, DNSError, DNSRecord

from interop.servers.name_server import NameServer


async def ask(server: NameServer, name: str, kind: str) -> DNSRecord:
    """Return the answer to one question."""
    question = DNSRecord.question(name, kind)
    return DNSRecord.parse(await asyncio.to_thread(question.send, "127.0.0.1", server.port, timeout=10))


async def test_it_knows_where_a_domain_takes_other_servers() -> None:
    """The service of a domain is at localhost, which has an IPv4 address, at the latest port."""
    async with NameServer() as server:
        server.ports["a.test"] = 1
        server.ports["a.test"] = 40000
        service = await ask(server, "_xmpp-server._tcp.A.test", "SRV")
        assert str(service.a.rdata) == "0 0 40000 localhost."
        assert str((await ask(server, "localhost", "A")).a.rdata) == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("_xmpp-server._tcp.b.test", "SRV", "NXDOMAIN"),
        ("_xmpps-server._tcp.a.test", "SRV", "NXDOMAIN"),
        ("a.test", "A", "NXDOMAIN"),
        ("_xmpp-server._tcp.a.test", "A", "NOERROR"),
        ("localhost", "AAAA", "NOERROR"),
    ],
)
async def test_it_knows_nothing_else(name: str, kind: str, code: str) -> None:
    """Other names do not exist, and the known ones have no other records."""
    async with NameServer() as server:
        server.ports["a.test"] = 40000
        answer = await ask(server, name, kind)
    assert RCODE[answer.header.rcode] == code
    assert not answer.rr


async def test_noise_is_ignored() -> None:
    """Anything but a question gets no answer, and the next question does."""
    async with NameServer() as server:
        server.ports["a.test"] = 40000
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.bind(("127.0.0.1", 0))
            for text in (b"", b"noise", bytes(12)):
                noise.sendto(text, ("127.0.0.1", server.port))
            assert (await ask(server, "_xmpp-server._tcp.a.test", "SRV")).rr
            noise.setblocking(False)
            with pytest.raises(BlockingIOError):
                noise.recv(512)


async def test_stopping_frees_the_port() -> None:
    """After the context nobody answers."""
    async with NameServer() as server:
        server.ports["a.test"] = 40000
    with pytest.raises((OSError, DNSError)):
        await asyncio.to_thread(DNSRecord.question("localhost").send, "127.0.0.1", server.port, timeout=0.2)

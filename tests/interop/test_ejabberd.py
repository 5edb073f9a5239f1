"""ejabberd as a child process: `interop/servers/install.sh ejabberd` installs it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interop.servers import ejabberd
from interop.servers.ejabberd import Ejabberd
from interop.servers.process import ServerFailed

STREAM = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"


async def test_debians_limits_are_there_when_they_are_asked_for() -> None:
    """With ``limits`` a client has Debian's 3 kB/s; otherwise no limit but that of a stanza's size."""
    async with Ejabberd(limits=True) as limited, Ejabberd() as free:
        configured = [(server.ca_file.parent / "ejabberd.yml").read_text() for server in (limited, free)]
    assert '"c2s_shaper": "normal"' in configured[0]
    assert '"rate": 3000' in configured[0]
    assert '"c2s_shaper": "none"' in configured[1]
    assert "mod_pres_counter" not in configured[1]
    assert all('"max_stanza_size": 262144' in text for text in configured)


@pytest.mark.parametrize("benchmark", [True, False])
async def test_a_benchmark_needs_no_tls_and_is_not_recorded(benchmark: bool) -> None:
    """Otherwise nobody is let in without TLS, and everything is recorded."""
    async with Ejabberd(benchmark=benchmark) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"<stream:stream to='{server.domain}' version='1.0' {STREAM}>".encode())
        features = await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 20)
        assert (b"PLAIN" in features) == benchmark
        writer.write(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>")
        await asyncio.wait_for(reader.readuntil(b"</failure>"), 20)
        assert bool(server.handled()) != benchmark
        writer.close()
        await writer.wait_closed()


async def test_erlang_without_ejabberd_is_not_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the package; nothing is skipped."""
    monkeypatch.setattr(ejabberd, "LIBRARIES", tmp_path)
    with pytest.raises(ServerFailed, match=r"is not installed.*package ejabberd"):
        async with Ejabberd():
            pytest.fail("it started")

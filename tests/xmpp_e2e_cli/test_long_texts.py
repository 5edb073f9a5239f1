"""``send`` with long texts on servers with Debian's limits: 0 means acknowledged, however long it takes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from interop.servers.ejabberd import Ejabberd
from interop.servers.prosody import Prosody
from tests.xmpp_e2e_cli.conftest import PASSWORDS, People, make_keys
from xmpp_loopback import LoopbackServer

SIZES = [(Prosody, 25_000), (Prosody, 200_000), (Ejabberd, 25_000), (Ejabberd, 50_000)]
"""Characters. At 10 and 3 kB/s they take up to half a minute."""


def text(size: int) -> str:
    return ("My dear Bob, " * (size // 13 + 1))[:size]


@pytest.mark.slow
@pytest.mark.parametrize(("software", "size"), SIZES)
async def test_a_long_text_arrives(
    home: Path, monkeypatch: pytest.MonkeyPatch, software: type[Prosody | Ejabberd], size: int
) -> None:
    """The time to wait for each answer of the peer is shorter than what it takes: bytes that come to them are such answers."""
    monkeypatch.setattr("tests.xmpp_e2e_cli.conftest.PATIENCE", 240.0)
    make_keys(home, "home.test")
    async with software("home.test", PASSWORDS, limits=True) as server:
        people = People(home, ["--host", server.host, "--port", str(server.port), "--ca-file", str(server.ca_file)])
        try:
            bob, ready = await people.listen("bob")
            body = text(size)
            done = await people.send("alice", ready["jid"], "--timeout", "10", "-v", text=body.encode())
            done.ended(0, f"bytes have come to {ready['jid']}")
            assert (await bob.event("message"))["body"] == body
            assert (await bob.event("session_closed"))["clean"]
        finally:
            await people.close()


async def test_what_stops_on_its_way_is_3_and_it_is_said_how_far_it_came(people: People, server: LoopbackServer) -> None:
    _, ready = await people.listen("bob")
    blocks = 0

    def lose(stanza: Element, sender: str) -> Element | None:
        nonlocal blocks
        data = stanza.find("{http://jabber.org/protocol/ibb}data")
        if data is None or not sender.startswith("alice"):
            return stanza
        blocks += len(data.text or "") > 4000
        return stanza if blocks < 5 else None

    server.hooks.append(lose)
    done = await people.send("alice", ready["jid"], "--timeout", "2", text=text(100_000).encode())
    done.ended(3, "for 2 seconds nothing came to", "bytes of the message have come to them")
    assert "delivered" not in done.out


@pytest.mark.parametrize("words", [(), ("-v",)])
async def test_progress_is_shown_on_request(people: People, server: LoopbackServer, words: tuple[str, ...]) -> None:
    """To programs as events. Without a terminal, nobody watches."""
    _, ready = await people.listen("bob")
    done = await people.send("alice", ready["jid"], "--json", *words, text=text(200_000).encode())
    *progress, result = map(json.loads, done.out.splitlines())
    assert result["delivered"][0]["peer"] == ready["jid"]
    assert {event["event"] for event in progress} <= ({"progress"} if words else set())
    assert "bytes have come" not in done.err

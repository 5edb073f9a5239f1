"""``listen`` stays online through what passes, ends where another login is of no use, and never without a farewell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

import slixmpp_e2e
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.store.errors import StoreReason
from tests.slixmpp_e2e.env import Events, block
from tests.xmpp_e2e_cli.conftest import PASSWORDS, People
from xmpp_e2e_cli import cmd_listen
from xmpp_e2e_cli.__main__ import main
from xmpp_loopback import LoopbackServer, no_tls, offline, online


def hasty(words: Sequence[str]) -> int:
    """Run the command with short waits."""
    cmd_listen.RETRY_SECONDS = (0.05, 0.2)
    return main(words)


def watchful(words: Sequence[str]) -> int:
    """Run the command; it asks soon whether its server still answers."""
    cmd_listen.PING_SECONDS = cmd_listen.PONG_SECONDS = 0.5
    return hasty(words)


async def client(server: LoopbackServer, folder: object, name: str = "alice") -> ClientXMPP:
    """Return an ordinary client with the plugin, online."""
    made = ClientXMPP(f"{name}@home.test/x", PASSWORDS[name], ssl_context=no_tls())
    made.register_plugin("e2e", {"store_path": f"{folder}/{name}-x.db", "policy": "require"}, module=slixmpp_e2e)
    await online(made, server)
    return made


async def restart(server: LoopbackServer) -> None:
    """Restart the server on its port, after a while in which nobody can log in."""
    port = server.port
    await server.close()
    await asyncio.sleep(0.3)
    server._wanted_port = port
    await server.start()


async def test_a_listener_logs_in_again_when_its_server_was_restarted(people: People, server: LoopbackServer) -> None:
    people.main = hasty
    bob, _ = await people.listen("bob")
    for _ in range(2):
        await restart(server)
        await bob.event("disconnected")
        jid = (await bob.event("ready"))["jid"]
    assert (await people.send("alice", jid, "-m", "still there?")).code == 0
    assert (await bob.event("message"))["body"] == "still there?"
    assert (await bob.stop()).code == 0


async def test_a_listener_notices_a_server_that_does_not_answer(people: People, server: LoopbackServer) -> None:
    people.main = watchful
    bob, _ = await people.listen("bob")
    server.hooks.append(lambda stanza, sender: None if stanza.find("{urn:xmpp:ping}ping") is not None else stanza)
    await bob.event("disconnected")
    server.hooks.clear()
    await bob.event("ready")
    assert (await bob.stop()).code == 0


async def test_a_listener_ends_when_its_password_is_refused_meanwhile(people: People, server: LoopbackServer) -> None:
    people.main = hasty
    bob, _ = await people.listen("bob")
    assert server._directory._passwords is not None
    server._directory._passwords["bob@home.test"] = "another"
    await restart(server)
    done = await bob.done()
    assert done.code == 3
    assert json.loads(done.out.splitlines()[-1])["code"] == "login-refused"


async def test_a_listener_ends_when_it_runs_twice(people: People, server: LoopbackServer) -> None:
    """Else the two would throw each other out for ever."""
    people.main = hasty
    first, _ = await people.listen("bob", "bob@home.test/same")
    second, _ = await people.listen("bob", "bob@home.test/same")
    done = await first.done()
    assert done.code == 3
    assert json.loads(done.out.splitlines()[-1])["code"] == "replaced"
    assert (await second.stop()).code == 0


def damaged(words: Sequence[str]) -> int:
    """Run the command; its store fails in the background when somebody asks to see its presence."""
    handle = cmd_listen.Listener._subscription_request

    def fail(listener: cmd_listen.Listener, presence: object) -> None:
        client = listener._client
        slixmpp_e2e.of(client)._client.on_store_error(StoreError(Path("bob.db"), "the disk is gone", StoreReason.NO_ACCESS))

    cmd_listen.Listener._subscription_request = fail  # type: ignore[method-assign, assignment]
    try:
        return main(words)
    finally:
        cmd_listen.Listener._subscription_request = handle  # type: ignore[method-assign]


async def test_a_listener_ends_when_its_store_is_unusable(people: People, server: LoopbackServer) -> None:
    people.main = damaged
    server.set_subscription("alice@home.test", "bob@home.test", "none")
    bob, _ = await people.listen("bob")
    alice = ClientXMPP("alice@home.test/x", PASSWORDS["alice"], ssl_context=no_tls())
    await online(alice, server)
    alice.send_presence_subscription("bob@home.test")
    done = await bob.done()
    await offline(alice)
    assert done.code == 1
    assert json.loads(done.out.splitlines()[-1])["code"] == "no-access"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_listener_answers_before_it_ends(
    people: People, server: LoopbackServer, home: object, number: signal.Signals
) -> None:
    """Its answers are on their way when it is told to end: they arrive, and its peer reads a clean end."""
    bob, ready = await people.listen("bob", "--echo")
    alice = await client(server, home)
    heard, ended = Events(alice, "message"), Events(alice, "e2e_session_closed")
    words = [str(count) for count in range(50)]
    for word in words:
        alice.send_message(mto=ready["jid"], mbody=word, mtype="chat")
    for _ in words:
        await bob.event("message")
    os.kill(bob.pid, number)
    assert await heard.bodies(50) == words
    assert (await ended.take()).clean
    assert (await bob.done()).code == 0
    await offline(alice)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_send_that_is_interrupted_says_so(
    people: People, server: LoopbackServer, number: signal.Signals, code: int
) -> None:
    """It does not claim that the message has arrived."""
    _, ready = await people.listen("bob")
    held = asyncio.Event()

    def lose(stanza: Element, sender: str) -> Element | None:
        if block(stanza, sender) and sender.startswith("alice"):
            held.set()
            return None
        return stanza

    server.hooks.append(lose)
    alice = await people.start("alice", "send", ready["jid"], *people.server, "-m", "x", alone=True)
    await held.wait()
    os.kill(alice.pid, number)
    done = await alice.done()
    assert (done.code, done.out) == (code, "")
    assert "Traceback" not in done.err

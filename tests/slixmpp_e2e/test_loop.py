"""A program may register the plugin before its event loop runs, and set another loop afterwards."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from slixmpp_e2e import SasPrompt
from slixmpp_e2e.errors import TrustFileError
from slixmpp_e2e.store import Passphrase
from slixmpp_e2e.store.key_protection import passphrase
from slixmpp_e2e.trust import store_poller
from slixmpp_e2e.trust.trust_file import watcher
from slixmpp_e2e.xmpp import presence
from tests.slixmpp_e2e.env import ACCOUNTS, ALICE, BOB, Env, Events, e2e, echo, until
from xmpp_e2e.types import Assurance
from xmpp_loopback import LoopbackServer, online


async def says_yes(prompt: SasPrompt) -> bool:
    return True


@pytest.mark.parametrize("protection", ["key-file", "passphrase"])
def test_a_loop_that_is_set_after_the_registration_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, protection: str
) -> None:
    """The loop that the client had before is closed: nothing of the plugin touches it any more."""
    for module, bound, value in (
        (presence, "ARRIVAL_SECONDS", 0.0),
        (passphrase, "MEMORY_KIB", 8),
        (watcher, "POLL_SECONDS", 0.01),
        (store_poller, "POLL_SECONDS", 0.01),
    ):
        monkeypatch.setattr(module, bound, value)
    caplog.set_level(logging.INFO, "slixmpp_e2e")
    rules = tmp_path / "trust.toml"
    rules.write_text("")
    env = Env(None, tmp_path)
    protections = {"key_protection": Passphrase("correct horse")} if protection == "passphrase" else {}
    first = asyncio.new_event_loop()
    asyncio.set_event_loop(first)
    alice = env.make(ALICE, trust_file=str(rules), ask_sas=says_yes, **protections)
    assert alice.loop is first
    asyncio.set_event_loop(None)
    first.close()

    async def main() -> None:
        alice.loop = asyncio.get_running_loop()
        async with LoopbackServer(accounts=ACCOUNTS) as server:
            env.server = server
            env.servers = {server.domain: server}
            await online(alice, server)
            bob = await env.client(BOB, ask_sas=says_yes)
            await e2e(alice).wait_ready()
            await env.settle(alice, bob)
            echo(bob)
            heard = Events(alice, "message")
            alice.send_message(mto="bob@localhost", mbody="hello", mtype="chat")
            assert await heard.bodies(1) == ["echo: hello"]
            [session] = e2e(alice).sessions()
            await until(session.verify_sas(says_yes))
            assert session.assurance is Assurance.VERIFIED
            failed = Events(alice, "e2e_trust_file_failed")
            rules.write_text("nonsense")
            assert isinstance((await failed.take()).error, TrustFileError)
            await until(session.close())
            await env.end()

    asyncio.run(main())
    notice = "your passphrase" if protection == "passphrase" else "alice@localhost-a.key"
    assert notice in caplog.text

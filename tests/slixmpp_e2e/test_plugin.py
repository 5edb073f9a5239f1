"""The plugin as users see it: one line, unmodified handlers; loaded, unloaded and loaded again."""

from __future__ import annotations

import asyncio
import copy
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from slixmpp import ClientXMPP

import slixmpp_e2e
from slixmpp_e2e.settings import ConfigError
from slixmpp_e2e.xmpp import marker as mark
from slixmpp_e2e.xmpp.discovery import FEATURES
from tests.slixmpp_e2e.test_switchboard import ask
from tests.slixmpp_e2e.world import ACCOUNTS, ALICE, BOB, Heard, World, e2e, echo, jingle, turns, until
from xmpp_e2e.errors import TimedOut, TransportFailed
from xmpp_loopback import connect, offline

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "echo_bot.py"


async def test_an_unmodified_bot_answers_through_the_session(world: World) -> None:
    """Neither body, element name nor id of what is said can be read by the server."""
    alice, bob = await world.pair()
    echo(bob)
    heard = Heard(alice, "message")
    message = alice.make_message(mto=BOB, mbody="attack at dawn", mtype="chat")
    message["id"] = "inner-stanza-id"
    message.send()
    reply = await heard.take()
    assert reply["body"] == "echo: attack at dawn"
    assert str(reply["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("attack at dawn", "<body", "inner-stanza-id", "<message") == []


async def test_a_peer_who_writes_as_soon_as_he_sees_us_gets_a_session(world: World) -> None:
    """The first presence of a bot tells already what it can do, and its roster is there when the offer comes."""
    alice = await world.client(ALICE)
    bob = world.make(BOB)

    def start(event: Any) -> None:
        bob.send_presence()

    bob.add_event_handler("session_start", start)
    heard = Heard(bob, "message")
    written: list[str] = []

    def greet(presence: Any) -> None:
        if presence["from"].full == BOB and not written:
            written.append("hello")
            alice.send_message(mto="bob@localhost", mbody="hello")

    alice.add_event_handler("presence_available", greet)
    connect(bob, world.server)
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert world.in_clear("hello") == []


async def test_the_example_of_the_documentation_runs(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/examples/echo_bot.py, exactly that file: it logs in, shows its key and answers through a session."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["echo_bot.py", BOB])
    monkeypatch.setenv("ECHO_PASSWORD", ACCOUNTS["bob"])
    example = runpy.run_path(str(EXAMPLE))
    bots: list[ClientXMPP] = []

    def connect_here(bot: ClientXMPP, *address: Any) -> None:
        """To the server that the test runs, by the way that needs no TLS."""
        if not address:
            bots.append(bot)
            connect(bot, world.server)
        else:
            ClientXMPP.connect(bot, *address)

    example["Echo"].connect = connect_here
    running = asyncio.create_task(example["main"]())
    alice = await world.client(ALICE)
    heard, online = Heard(alice, "message"), Heard(alice, "presence_available")
    while (await online.take())["from"].full != BOB:
        pass
    alice.send_message(mto="bob@localhost", mbody="attack at dawn", mtype="chat")
    assert await heard.bodies(1) == ["attack at dawn [vouched]"]
    assert world.in_clear("attack at dawn") == []
    world.unload(bots[0])
    await offline(bots[0])
    await until(running)


# --- loading and unloading -------------------------------------------------------------------------------------------


def traces(client: ClientXMPP) -> dict[str, Any]:
    """All that a plugin can leave in a client."""
    disco: Any = client.plugin["xep_0030"]
    inner = vars(client)
    node = disco.static.get_node(client.boundjid, None)
    return {
        "filters": {mode: list(filters) for mode, filters in inner["_XMLStream__filters"].items()},
        "events": {name: list(handlers) for name, handlers in inner["_XMLStream__event_handlers"].items() if handlers},
        "handlers": [handler.name for handler in inner["_XMLStream__handlers"]],
        "features": copy.copy(node["info"]["features"]),
    }


async def test_nothing_stays_behind(world: World) -> None:
    """Filters, handlers, features, tasks, timers, tokens: as it was before the plugin was loaded."""
    alice = await world.client(ALICE, "xep_0030", "xep_0115", "xep_0198", load=False)
    bob = await world.client(BOB)
    await world.settle(alice, bob)
    before, tasks = traces(alice), asyncio.all_tasks()
    world.load(alice)
    await world.settle(alice, bob)
    ours, _ = await world.session(alice, bob)
    assert set(FEATURES) <= set(traces(alice)["features"])
    assert ours.token in mark._live
    alice.send_message(mto="carol@localhost/c", mbody="held")
    ask(alice, BOB).add_done_callback(lambda done: done.exception())
    await turns(3)
    plugin, ended = e2e(alice), Heard(alice, "e2e_session_end")
    world.unload(alice)
    assert (await ended.take()).session is ours
    assert ours.token not in mark._live
    await world.settle(alice, bob)
    after = traces(alice)
    after["events"].pop("e2e_session_end")
    assert after == before
    assert {task for task in asyncio.all_tasks() - tasks if "slixmpp_e2e" in repr(task)} == set()
    assert list(plugin.switchboard.sessions) == []
    with pytest.raises(Exception, match="Closed"):
        plugin.memory.remembered("bob@localhost")


async def test_it_can_be_loaded_again(world: World) -> None:
    """With the same key, and sessions in both directions."""
    alice, bob = await world.pair()
    for _ in range(2):
        await world.session(alice, bob)
        fingerprint = e2e(alice).fingerprint
        ended = Heard(bob, "e2e_session_end")
        await e2e(alice).close()
        assert (await ended.take()).detail.clean is True
        world.unload(alice)
        await world.settle(alice, bob)
        world.load(alice)
        await world.settle(alice, bob)
        assert e2e(alice).fingerprint == fingerprint
        heard = Heard(alice, "message")
        bob.send_message(mto="alice@localhost", mbody="again")
        assert (await heard.take())["e2e"]["assurance"].name in ("VOUCHED", "KNOWN")
    assert world.in_clear("again") == []


@pytest.mark.parametrize("to", [BOB, "bob@localhost"], ids=["full", "bare"])
async def test_it_can_be_loaded_when_the_stream_is_up(world: World, to: str) -> None:
    """Presence and roster that came before count: messages go inside both ways."""
    alice, bob = await world.client(ALICE, load=False), await world.client(BOB, load=False)
    await world.settle(alice, bob)
    world.load(bob)
    await world.settle(bob, alice)
    world.load(alice)
    echo(bob)
    heard = Heard(alice, "message")
    alice.send_message(mto=to, mbody="attack at dawn", mtype="chat")
    assert await heard.bodies(1) == ["echo: attack at dawn"]
    assert world.in_clear("attack at dawn") == []


async def test_what_was_sent_before_it_is_unloaded_does_not_leave_after_it(world: World) -> None:
    """Stanzas in slixmpp's queue have yet to come to the filters: they are reported, not sent in clear."""
    alice, _ = await world.pair()
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="attack at dawn")
    answer = ask(alice, BOB)
    alice.send_presence(pstatus="leaving")
    world.unload(alice)
    assert isinstance((await failed.take()).error, TransportFailed)
    with pytest.raises(Exception, match="unloaded"):
        await until(answer)
    await until(world.server.saw(lambda handled: "leaving" in handled.text))
    assert world.in_clear("attack at dawn") == []


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"polciy": "require"}, {"policy": "requires"}])
async def test_a_wrong_configuration_is_an_error_each_time(world: World, config: dict[str, str]) -> None:
    """Also at the second try, for slixmpp would take a plugin that has failed for one that is loaded; corrected, it works."""
    alice = world.make(ALICE, load=False)
    for _ in range(2):
        with pytest.raises(ConfigError, match="policy"):
            world.load(alice, **config)
        assert "e2e" not in alice.plugin
    world.load(alice)
    assert e2e(alice).fingerprint


async def test_a_store_that_cannot_be_opened_is_an_error(world: World, tmp_path: Path) -> None:
    """The path is named; nothing is loaded."""
    alice = world.make(ALICE, load=False)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 1000)
    with pytest.raises(Exception, match=r"broken\.db"):
        alice.register_plugin("e2e", {"store": str(broken)}, module=slixmpp_e2e)
    assert "e2e" not in alice.plugin


@pytest.mark.parametrize(
    ("setting", "said"),
    [("handshake_seconds", "did not answer the offer"), ("human_seconds", "was not accepted here in time")],
)
async def test_a_session_that_does_not_open_in_time_fails(world: World, setting: str, said: str) -> None:
    """After as many seconds as the settings say: nobody answers, or nobody compares the key."""
    alice, bob = await world.client(ALICE, trust_model="server-untrusted", **{setting: 0.05}), await world.client(BOB)
    await world.settle(alice, bob)
    if setting == "handshake_seconds":
        world.server.interfere.append(lambda stanza, sender: None if jingle("session-initiate")(stanza, sender) else stanza)
    failed = Heard(alice, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="x")
    error = (await failed.take()).detail.error
    assert isinstance(error, TimedOut)
    assert said in str(error)


async def test_a_session_lives_as_long_as_it_may(world: World) -> None:
    """Then it ends by farewells."""
    alice, bob = await world.client(ALICE, session_seconds=0.05), await world.client(BOB)
    await world.settle(alice, bob)
    ended = Heard(bob, "e2e_session_end")
    await world.session(alice, bob)
    assert (await ended.take()).detail.clean


async def test_a_setting_cannot_be_changed_by_an_attribute(world: World) -> None:
    """slixmpp's way to configure a loaded plugin would change nothing here: better an error than a false belief."""
    alice = world.make(ALICE)
    plugin: Any = e2e(alice)
    assert plugin.policy == "prefer"
    with pytest.raises(ConfigError, match="set_policy"):
        plugin.policy = "require"
    assert plugin.policy == "prefer"


async def test_a_wrong_policy_for_a_peer_is_an_error(world: World) -> None:
    """A misspelt word must not leave him with the old one unnoticed."""
    alice = world.make(ALICE)
    with pytest.raises(ValueError, match="requires"):
        e2e(alice).set_policy(BOB, "requires")
    with pytest.raises(ValueError, match="server"):
        e2e(alice).set_policy(BOB, trust_model="server")

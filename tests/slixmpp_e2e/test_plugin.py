"""The plugin as users see it: one line, unmodified handlers; loaded, unloaded and loaded again."""

from __future__ import annotations

import asyncio
import copy
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import slixmpp
from slixmpp import ClientXMPP
from slixmpp.xmlstream.xmlstream import XMLStream

import slixmpp_e2e
from slixmpp_e2e.errors import ConfigError, SlixmppUnsupported
from slixmpp_e2e.events import RENAMED
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.xmpp import adapter, marker
from slixmpp_e2e.xmpp.discovery import FEATURES
from tests.slixmpp_e2e.env import ACCOUNTS, ALICE, BOB, Env, Events, ask, e2e, echo, jingle, turns, until
from xmpp_e2e.errors import BytestreamFailed, Timeout
from xmpp_loopback import connect, offline, online, reconnect

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "echo_bot.py"


async def test_an_unmodified_bot_answers_through_the_session(env: Env) -> None:
    alice, bob = await env.pair()
    echo(bob)
    heard = Events(alice, "message")
    message = alice.make_message(mto=BOB, mbody="attack at dawn", mtype="chat")
    message["id"] = "inner-stanza-id"
    message.send()
    reply = await heard.take()
    assert reply["body"] == "echo: attack at dawn"
    assert str(reply["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("attack at dawn", "<body", "inner-stanza-id", "<message") == []


async def test_a_peer_who_writes_as_soon_as_they_see_us_gets_a_session(env: Env) -> None:
    """The first presence of a bot tells what it can do, and its roster is there when the offer comes."""
    alice = await env.client(ALICE)
    bob = env.make(BOB)

    def start(event: Any) -> None:
        bob.send_presence()

    bob.add_event_handler("session_start", start)
    heard = Events(bob, "message")
    written: list[str] = []

    def greet(presence: Any) -> None:
        if presence["from"].full == BOB and not written:
            written.append("hello")
            alice.send_message(mto="bob@localhost", mbody="hello")

    alice.add_event_handler("presence_available", greet)
    connect(bob, env.server)
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("hello") == []


async def test_the_example_of_the_documentation_runs(env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["echo_bot.py", BOB])
    monkeypatch.setenv("ECHO_PASSWORD", ACCOUNTS["bob"])
    example = runpy.run_path(str(EXAMPLE))
    bots: list[ClientXMPP] = []

    def connect_here(bot: ClientXMPP, *address: Any) -> None:
        if not address:
            bots.append(bot)
            connect(bot, env.server)
        else:
            ClientXMPP.connect(bot, *address)

    example["Echo"].connect = connect_here
    running = asyncio.create_task(example["main"]())
    alice = await env.client(ALICE)
    heard, presence = Events(alice, "message"), Events(alice, "presence_available")
    while (await presence.take())["from"].full != BOB:
        pass
    alice.send_message(mto="bob@localhost", mbody="attack at dawn", mtype="chat")
    assert await heard.bodies(1) == ["attack at dawn [vouched]"]
    assert env.in_clear("attack at dawn") == []
    env.unload(bots[0])
    await offline(bots[0])
    await until(running)


def traces(client: ClientXMPP) -> dict[str, Any]:
    disco: Any = client.plugin["xep_0030"]
    inner = vars(client)
    node = disco.static.get_node(client.boundjid, None)
    return {
        "filters": {mode: list(filters) for mode, filters in inner["_XMLStream__filters"].items()},
        "events": {name: list(handlers) for name, handlers in inner["_XMLStream__event_handlers"].items() if handlers},
        "handlers": [handler.name for handler in inner["_XMLStream__handlers"]],
        "features": copy.copy(node["info"]["features"]),
    }


async def test_nothing_stays_behind(env: Env) -> None:
    alice = await env.client(ALICE, "xep_0030", "xep_0115", "xep_0198", load=False)
    bob = await env.client(BOB)
    await env.settle(alice, bob)
    before, tasks = traces(alice), asyncio.all_tasks()
    env.load(alice)
    await env.settle(alice, bob)
    ours, _ = await env.session(alice, bob)
    assert set(FEATURES) <= set(traces(alice)["features"])
    token = e2e(alice)._client.sessions.token_of(ours._driver)
    assert token in marker._live
    alice.send_message(mto="carol@localhost/c", mbody="held")
    ask(alice, BOB).add_done_callback(lambda done: done.exception())
    await turns(3)
    plugin, ended = e2e(alice), Events(alice, "e2e_session_closed")
    env.unload(alice)
    assert (await ended.take()).session is ours
    assert token not in marker._live
    await env.settle(alice, bob)
    after = traces(alice)
    after["events"].pop("e2e_session_closed")
    assert after == before
    assert {task for task in asyncio.all_tasks() - tasks if "slixmpp_e2e" in repr(task)} == set()
    assert list(plugin._client.registry) == []
    with pytest.raises(Exception, match="Closed"):
        plugin._store.known_keys("bob@localhost")


async def test_it_can_be_loaded_again(env: Env) -> None:
    alice, bob = await env.pair()
    for _ in range(2):
        await env.session(alice, bob)
        fingerprint = e2e(alice).fingerprint
        ended = Events(bob, "e2e_session_closed")
        await e2e(alice).close()
        assert (await ended.take()).clean is True
        env.unload(alice)
        await env.settle(alice, bob)
        env.load(alice)
        await env.settle(alice, bob)
        assert e2e(alice).fingerprint == fingerprint
        heard = Events(alice, "message")
        bob.send_message(mto="alice@localhost", mbody="again")
        assert (await heard.take())["e2e"]["assurance"].name in ("VOUCHED", "KNOWN")
    assert env.in_clear("again") == []


@pytest.mark.parametrize("to", [BOB, "bob@localhost"], ids=["full", "bare"])
async def test_it_can_be_loaded_when_the_stream_is_up(env: Env, to: str) -> None:
    alice, bob = await env.pair(load=False)
    env.load(bob)
    await env.settle(bob, alice)
    env.load(alice)
    echo(bob)
    heard = Events(alice, "message")
    alice.send_message(mto=to, mbody="attack at dawn", mtype="chat")
    assert await heard.bodies(1) == ["echo: attack at dawn"]
    assert env.in_clear("attack at dawn") == []


async def test_what_was_sent_before_it_is_unloaded_does_not_leave_after_it(env: Env) -> None:
    """Stanzas in slixmpp's queue, which have yet to come to the filters, fail and do not leave in plaintext."""
    alice, _ = await env.pair()
    failed = Events(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="attack at dawn")
    answer = ask(alice, BOB)
    alice.send_presence(pstatus="leaving")
    env.unload(alice)
    assert isinstance((await failed.take()).error, BytestreamFailed)
    with pytest.raises(Exception, match="unloaded"):
        await until(answer)
    await until(env.server.wait_for(lambda handled: "leaving" in handled.text))
    assert env.in_clear("attack at dawn") == []


@pytest.mark.parametrize(
    ("slow", "copied", "refused"),
    [(False, False, True), (False, True, True), (True, False, True), (True, True, True), (False, False, False)],
    ids=["in its turn", "copied", "among the slow ones", "slow and copied", "control: not refused"],
)
async def test_what_another_filter_holds_does_not_leave_after_it_is_unloaded(
    env: Env, monkeypatch: pytest.MonkeyPatch, slow: bool, copied: bool, refused: bool
) -> None:
    """An asynchronous filter of another plugin takes its time; slixmpp goes on with others after a second. (Control: unless it
    is refused, it leaves.)"""
    if not refused:
        monkeypatch.setattr(adapter, "refuse", lambda xmpp, stanzas: None)
    alice, bob = env.make(ALICE, policy="require"), await env.client(BOB, load=False)
    held, go_on = asyncio.Event(), asyncio.Event()

    async def dawdle(stanza: Any) -> Any:
        if stanza.name != "message" or stanza["body"] != "attack at dawn":
            return stanza
        held.set()
        await go_on.wait()
        return copy.copy(stanza) if copied else stanza

    alice.add_filter("out", dawdle)
    await online(alice, env.server)
    await env.settle(alice, bob)
    failed, received = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody="attack at dawn")
    await until(held.wait())
    while slow and not vars(alice)["_XMLStream__slow_tasks"]:
        await turns(1)
    env.unload(alice)
    assert isinstance((await failed.take()).error, BytestreamFailed)
    go_on.set()
    if not refused:
        assert await received.bodies(1) == ["attack at dawn"]
        return
    for body in ("hello", "again"):
        alice.send_message(mto=BOB, mbody=body)
        assert (await received.take())["body"] == body
    assert env.in_clear("attack at dawn") == []
    assert len(failed) == 0
    assert not [each for each in vars(alice)["_XMLStream__filters"]["out_sync"] if "refuse" in repr(each)]


@pytest.mark.parametrize("sent", [False, True])
async def test_no_presence_is_sent_for_the_program(env: Env, sent: bool) -> None:
    """Neither when the plugin is loaded, nor when it is unloaded; if the program has sent one, that is sent again."""
    alice, bob = env.make(ALICE, load=False), await env.client(BOB, load=False)
    seen = Events(bob, "presence_available")
    await reconnect(alice, env.server)
    if sent:
        alice.send_presence()
        await seen.take()
    for change in (env.load, env.unload):
        change(alice)
        await env.settle(alice, bob)
        if sent:
            await seen.take()
    assert len(seen) == 0


async def test_what_was_sent_before_there_was_a_stream_does_not_leave_after_it_is_unloaded(env: Env) -> None:
    """slixmpp keeps what is sent too early in a list of its own, and sends that when the stream is up."""
    alice, bob = env.make(ALICE, policy="require"), await env.client(BOB, load=False)
    failed, received = Events(alice, "e2e_send_failed"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody="attack at dawn")
    env.unload(alice)
    assert isinstance((await failed.take()).error, BytestreamFailed)
    await online(alice, env.server)
    alice.send_message(mto=BOB, mbody="hello")
    assert (await received.take())["body"] == "hello"
    assert env.in_clear("attack at dawn") == []


@pytest.mark.parametrize("config", [{"polciy": "require"}, {"policy": "requires"}])
async def test_a_wrong_configuration_is_an_error_each_time(env: Env, config: dict[str, str]) -> None:
    """The second try fails too, since slixmpp must not take a plugin that failed for a loaded one; corrected, it works."""
    alice = env.make(ALICE, load=False)
    for _ in range(2):
        with pytest.raises(ConfigError, match="policy"):
            env.load(alice, **config)
        assert "e2e" not in alice.plugin
    env.load(alice)
    assert e2e(alice).fingerprint


async def test_a_store_that_cannot_be_opened_is_an_error(env: Env, tmp_path: Path) -> None:
    alice = env.make(ALICE, load=False)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 1000)
    with pytest.raises(Exception, match=r"broken\.db"):
        alice.register_plugin("e2e", {"store_path": str(broken)}, module=slixmpp_e2e)
    assert "e2e" not in alice.plugin


@pytest.mark.parametrize("setting", ["step_seconds", "user_seconds"])
async def test_a_session_that_does_not_open_in_time_fails(env: Env, setting: str) -> None:
    """The settings say after how many seconds, if nobody answers or nobody compares the key."""
    alice, bob = await env.client(ALICE, trust_model="server-untrusted", **{setting: 0.05}), await env.client(BOB)
    await env.settle(alice, bob)
    if setting == "step_seconds":
        env.server.hooks.append(lambda stanza, sender: None if jingle("session-initiate")(stanza, sender) else stanza)
    failed = Events(alice, "e2e_session_failed")
    alice.send_message(mto=BOB, mbody="x")
    assert isinstance((await failed.take()).error, Timeout)


async def test_a_session_lives_no_longer_than_the_setting_says(env: Env) -> None:
    alice, bob = await env.pair(alices={"session_seconds": 0.05})
    ended = Events(bob, "e2e_session_closed")
    await env.session(alice, bob)
    assert (await ended.take()).clean


async def test_a_setting_cannot_be_changed_by_an_attribute(env: Env) -> None:
    """slixmpp's way to configure a loaded plugin would change nothing here, so it is an error."""
    alice = env.make(ALICE)
    plugin: Any = e2e(alice)
    assert plugin.policy is None
    with pytest.raises(ConfigError, match="configure"):
        plugin.policy = "require"
    assert plugin.policy is None


async def test_a_second_registration_with_other_settings_is_refused(env: Env) -> None:
    alice = env.make(ALICE, policy="require")
    plugin, same = e2e(alice), dict(e2e(alice).config)
    for other in ({"policy": "prefer"}, {**same, "queue_seconds": 1.0}, {"polciy": "require"}):
        with pytest.raises(ConfigError, match="registered already"):
            alice.register_plugin("e2e", other, module=slixmpp_e2e)
    own = {name: same[name] for name in ("policy", "store_path", "offline_seconds")}
    for accepted in (None, {}, own, same):
        alice.register_plugin("e2e", accepted, module=slixmpp_e2e)
    assert e2e(alice) is plugin
    assert plugin.policy_of(BOB) is Policy.REQUIRE
    env.unload(alice)
    env.load(alice, policy="prefer")
    assert e2e(alice).policy_of(BOB) is Policy.PREFER
    with pytest.raises(ConfigError):
        alice.register_plugin("e2e", {"policy": "require"}, module=slixmpp_e2e)


async def test_registrations_of_other_plugins_are_not_touched(env: Env) -> None:
    """Only a second registration of this plugin is refused, and nothing of the guards stays when it is unloaded."""
    alice = env.make(ALICE)
    for name in ("one", "two"):
        alice.register_plugin("xep_0092", {"software_name": name})
    env.unload(alice)
    assert "enable" not in vars(alice.plugin)
    assert "add_event_handler" not in vars(alice)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
async def test_a_handler_of_a_former_event_is_refused(env: Env, old: str, new: str) -> None:
    """A handler that would never be called is an error that names the new event, before the plugin is registered or later."""
    alice = env.make(ALICE, load=False)
    alice.add_event_handler(old, print)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"{old} is called {new} now"):
            env.load(alice)
        assert "e2e" not in alice.plugin
    alice.del_event_handler(old, print)
    env.load(alice)
    with pytest.raises(ConfigError, match=f"{old} is called {new} now"):
        alice.add_event_handler(old, print)
    alice.add_event_handler(new, print)


@pytest.mark.parametrize("version", ["1.16.9", "2.0.0", "0.9", "nonsense"])
async def test_an_unsupported_slixmpp_is_refused(env: Env, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """The error names the version, the folder, and the packages that claim it; with the right one the plugin loads."""
    alice = env.make(ALICE, load=False)
    monkeypatch.setattr(adapter, "packages_distributions", lambda: {"slixmpp": ["slixmpp", "another-package"]})
    with monkeypatch.context() as patched:
        patched.setattr(slixmpp, "__version__", version)
        with pytest.raises(SlixmppUnsupported) as caught:
            env.load(alice)
    for part in (version, slixmpp.__path__[0], "another-package, slixmpp"):
        assert part in str(caught.value)
    assert "e2e" not in alice.plugin
    env.load(alice)


async def test_a_slixmpp_without_what_the_adapter_needs_is_refused(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of slixmpp by another package may claim a version that it is not: what is missing is named."""
    alice = env.make(ALICE, load=False)
    monkeypatch.delattr(XMLStream, "_build_stanza")
    with pytest.raises(SlixmppUnsupported, match="lacks _build_stanza"):
        env.load(alice)
    assert "e2e" not in alice.plugin


async def test_the_plugin_of_a_client_has_a_type(env: Env) -> None:
    alice = env.make(ALICE, load=False)
    with pytest.raises(KeyError, match="register_plugin"):
        slixmpp_e2e.of(alice)
    env.load(alice)
    plugin: slixmpp_e2e.E2E = slixmpp_e2e.of(alice)
    assert plugin is alice.plugin.get("e2e", None)


async def test_a_wrong_policy_for_a_peer_is_an_error(env: Env) -> None:
    """A misspelt word does not leave the old policy in force unnoticed."""
    alice = env.make(ALICE)
    with pytest.raises(ValueError, match="requires"):
        e2e(alice).set_policy(BOB, "requires")
    with pytest.raises(ValueError, match="server"):
        e2e(alice).set_policy(BOB, trust_model="server")

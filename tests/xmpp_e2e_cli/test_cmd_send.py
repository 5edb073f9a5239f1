"""``send`` and ``listen`` as processes with the embedded server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from slixmpp import JID, ClientXMPP

import slixmpp_e2e
from slixmpp_e2e.events import SendFailed
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore, path_for
from tests.slixmpp_e2e.env import PATIENCE
from tests.xmpp_e2e_cli.conftest import PASSWORDS, CommandResult, People, secret_file
from xmpp_e2e.types import Fingerprint
from xmpp_e2e_cli import cmd_send
from xmpp_e2e_cli.__main__ import main
from xmpp_loopback import LoopbackServer, no_tls, offline, online
from xmpp_loopback.hostile import swap_fingerprint

OTHER = Fingerprint(bytes(32))
"""A key that belongs to nobody."""


def store_of(home: Path, name: str) -> SQLStore:
    """Open a user's store."""
    return SQLStore.for_jid(f"{name}@home.test", directory=path_of(home, name))


def path_of(home: Path, name: str) -> Path:
    """Return the folder of a user's store."""
    return home / name / path_for("x").parent.name


async def test_a_message_arrives_with_its_assurance_and_comes_back(people: People, server: LoopbackServer) -> None:
    """The server can read no word of it, and a second session is `known`."""
    bob, ready = await people.listen("bob", "--echo")
    done = await people.send("alice", "bob@home.test", "-m", "attack at dawn")
    assert done.code == 0, done.err
    told = await bob.event("message")
    assert (told["body"], told["assurance"], told["encrypted"]) == ("attack at dawn", "vouched", True)
    assert told["from"].startswith("alice@home.test/")
    assert f"delivered to {ready['jid']} [vouched] {ready['fingerprint']}" in done.out
    again = await people.send("alice", ready["jid"], "--json", text="über\nzwei Zeilen\n".encode())
    assert again.data["delivered"] == [{"peer": ready["jid"], "assurance": "known", "fingerprint": ready["fingerprint"]}]
    assert (await bob.event("message"))["body"] == "über\nzwei Zeilen"
    assert (await bob.event("session_closed"))["clean"]
    ended = await bob.stop()
    assert ended.code == 0, ended.err
    assert not server.find_text("attack at dawn")


async def test_a_bare_jid_means_every_device(people: People) -> None:
    """Both of Bob's listeners get the message, each in a session of its own."""
    first, one = await people.listen("bob")
    second, two = await people.listen("bob")
    done = await people.send("alice", "bob@home.test", "--json", "-m", "to all")
    assert {entry["peer"] for entry in done.data["delivered"]} == {one["jid"], two["jid"]}
    assert [(await each.event("message"))["body"] for each in (first, second)] == ["to all", "to all"]


async def test_ctrl_c_ends_a_listener_in_order(people: People) -> None:
    bob = await people.start("bob", "listen", *people.server, alone=True)
    await bob.wait_for_line("own key")
    bob.interrupt()
    done = await bob.done()
    assert (done.code, "Traceback" in done.err) == (0, False)


async def test_a_listener_for_people_shows_the_fingerprint_first(people: People) -> None:
    """Its own key and address go to stderr, messages to stdout."""
    bob = await people.start("bob", "listen", *people.server)
    await bob.wait_for_line("own key SHA256:")
    sending = await people.send("alice", "bob@home.test", "-m", "one\ntwo")
    assert sending.code == 0, sending.err
    first, second = await bob.line(), await bob.line()
    assert first.startswith("alice@home.test/")
    assert first.endswith(" [vouched] one\n")
    assert second == "    two\n"
    done = await bob.stop()
    assert done.err.startswith("listening as bob@home.test/")


async def test_clear_messages_are_marked_none(people: People, server: LoopbackServer) -> None:
    """Plaintext from a peer without encryption is delivered as `none` under `prefer`."""
    bob, ready = await people.listen("bob")
    carol = ClientXMPP("carol@home.test/plain", PASSWORDS["carol"], ssl_context=no_tls())
    await online(carol, server)
    carol.send_message(mto=ready["jid"], mbody="hello", mtype="chat")
    told = await bob.event("message")
    assert (told["assurance"], told["encrypted"], told["fingerprint"]) == ("none", False, None)
    await offline(carol)


async def test_under_require_clear_messages_are_refused(people: People, server: LoopbackServer) -> None:
    """They appear as events, not as messages."""
    bob, ready = await people.listen("bob", "--policy", "require")
    carol = ClientXMPP("carol@home.test/plain", PASSWORDS["carol"], ssl_context=no_tls())
    await online(carol, server)
    carol.send_message(mto=ready["jid"], mbody="hello", mtype="chat")
    assert (await bob.event("plaintext"))["from"] == "carol@home.test/plain"
    await offline(carol)
    assert bob.events("message") == []


async def test_a_send_makes_no_bot_fall_silent_towards_the_plain_client(
    people: People, server: LoopbackServer, tmp_path: Path
) -> None:
    """`send` advertises nothing that it refuses: a bot that greets whoever comes has met nobody, and answers in clear."""
    bot = ClientXMPP("carol@home.test/bot", PASSWORDS["carol"], ssl_context=no_tls())
    bot.register_plugin("e2e", {"store_path": str(tmp_path / "bot.db")}, module=slixmpp_e2e)
    failed: list[SendFailed] = []

    def greet(presence: Any) -> None:
        if presence["from"].bare != "carol@home.test":
            bot.send_message(mto=presence["from"], mbody="welcome")

    bot.add_event_handler("presence_available", greet)
    bot.add_event_handler("message", lambda message: message.reply("an answer").send())
    bot.add_event_handler(SendFailed.name, failed.append)
    await online(bot, server)
    await people.listen("bob")
    done = await people.send("alice", "bob@home.test", "-m", "by the way")
    assert done.code == 0, done.err
    plain = ClientXMPP("alice@home.test/plain", PASSWORDS["alice"], ssl_context=no_tls())
    answers: asyncio.Queue[str] = asyncio.Queue()
    plain.add_event_handler("message", lambda message: answers.put_nowait(message["body"]))
    await online(plain, server)
    plain.send_message(mto=JID("carol@home.test/bot"), mbody="are you there", mtype="chat")
    async with asyncio.timeout(PATIENCE):
        while await answers.get() != "an answer":
            pass
    assert failed == []
    for client in (plain, bot):
        await offline(client)


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def refused(people: People, *words: str) -> CommandResult:
    """Let Alice try to write to Bob."""
    return await people.send("alice", "bob@home.test", "-m", "attack at dawn", *words)


async def test_a_changed_key_is_4_and_the_command_that_is_named_resolves_it(
    people: People, home: Path, server: LoopbackServer
) -> None:
    """Nothing is sent until the command from the error has run."""
    with store_of(home, "alice") as store:
        store.pin("bob@home.test", OTHER, 1.0)
    bob, ready = await people.listen("bob")
    done = await refused(people)
    done.ended(4, "HAS CHANGED")
    named = f"xmpp-e2e trust pin bob@home.test {ready['fingerprint']}"
    assert done.err.count(named) == 1
    assert (await people.run("alice", *named.split()[1:])).code == 0
    done = await refused(people, "--json")
    assert done.code == 0, done.err
    assert done.data["delivered"][0]["assurance"] == "verified"
    assert (await bob.event("message"))["body"] == "attack at dawn"
    assert len(bob.events("message")) == 1


async def test_a_blocked_key_is_4(people: People, home: Path) -> None:
    """A key that the user refused ends the session."""
    _, ready = await people.listen("bob")
    with store_of(home, "alice") as store:
        store.block("bob@home.test", Fingerprint.parse(ready["fingerprint"]), 1.0)
    (await refused(people)).ended(4, "blocked")


async def test_an_unverified_key_is_4_where_the_server_is_not_trusted(people: People) -> None:
    """Under `server-untrusted` a first contact has to be pinned before anything is sent."""
    bob, ready = await people.listen("bob")
    (await refused(people, "--trust-model", "server-untrusted")).ended(
        4, f"xmpp-e2e trust pin bob@home.test {ready['fingerprint']}"
    )
    await bob.event("session_failed")
    ended = await bob.stop()
    assert "attack at dawn" not in ended.out


async def test_a_note_to_oneself_says_that_both_programs_have_one_store(people: People) -> None:
    """`send` and `listen` of one account on one machine show one key; the error names the way out."""
    await people.listen("alice")
    done = await people.send("alice", "alice@home.test", "-m", "attack at dawn")
    assert done.code == 4, done.err
    assert "shows our own key" in done.err
    assert "XDG_DATA_HOME" in done.err


async def test_a_device_of_negative_priority_is_none_of_the_account(
    people: People, server: LoopbackServer, tmp_path: Path
) -> None:
    """RFC 6121 §8.5.2.1.1. By its full JID it is written to."""
    bob = ClientXMPP("bob@home.test/aside", PASSWORDS["bob"], ssl_context=no_tls())
    bob.register_plugin("e2e", {"store_path": str(tmp_path / "bob.db")}, module=slixmpp_e2e)
    await online(bob, server)
    bob.send_presence(ppriority=-1)
    await bob.get_roster()
    (await refused(people)).ended(6, "bob@home.test is not online")
    done = await people.send("alice", "bob@home.test/aside", "-m", "aside")
    assert done.code == 0, done.err
    await offline(bob)


async def test_a_swapped_fingerprint_is_4(people: People, server: LoopbackServer) -> None:
    """A server that swaps the fingerprint in the signalling gets nothing."""
    server.hooks.append(swap_fingerprint(":".join(["AB"] * 32), actions=("session-accept",)))
    await people.listen("bob")
    done = await refused(people, "--json")
    assert done.code == done.data["exit_code"] == 4
    assert (done.data["error"], done.data["code"]) == ("TLSFailed", "fingerprint-mismatch")
    assert not server.find_text("attack at dawn")


async def test_a_peer_who_rejects_our_key_is_5(people: People, home: Path) -> None:
    """Alice learns that Bob refused, but not the reason."""
    with store_of(home, "bob") as store:
        store.pin("alice@home.test", OTHER, 1.0)
    bob, _ = await people.listen("bob", "--on-key-change", "reject")
    done = await refused(people)
    assert done.code == 5, done.err
    assert (await bob.event("key_changed"))["decision"] == "reject"
    assert "attack at dawn" not in (await bob.stop()).out


def impatient(words: Sequence[str]) -> int:
    """Run the command with a short wait for presence."""
    cmd_send.PRESENCE_SECONDS = 0.01
    return main(words)


async def test_an_absent_peer_is_6(people: People) -> None:
    people.main = impatient
    (await refused(people)).ended(6, "bob@home.test is not online")
    assert (await people.send("alice", "bob@home.test/nowhere", "-m", "x")).code == 6


async def test_a_peer_without_encryption_is_6(people: People, server: LoopbackServer) -> None:
    """Nothing is sent in plaintext."""
    bob = ClientXMPP("bob@home.test/plain", PASSWORDS["bob"], ssl_context=no_tls())
    bob.register_plugin("xep_0030")
    await online(bob, server)
    done = await refused(people)
    await offline(bob)
    done.ended(6, "does not advertise")
    assert not server.find_text("attack at dawn")


async def test_a_stranger_is_6_and_the_ways_out_are_named(people: People, server: LoopbackServer) -> None:
    """A bare JID needs a subscription. A full JID works, and --subscribe asks."""
    server.set_subscription("alice@home.test", "bob@home.test", "none")
    bob, ready = await people.listen("bob", "--accept-from", "alice@home.test")
    (await refused(people)).ended(6, "--subscribe", "full JID")
    assert (await people.send("alice", ready["jid"], "-m", "by full JID")).code == 0
    assert (await bob.event("message"))["body"] == "by full JID"
    (await refused(people, "--subscribe")).ended(0, "asking bob@home.test for permission")
    asked = await bob.event("subscription")
    assert asked == {"event": "subscription", "peer": "alice@home.test", "authorized": True}


async def test_a_listener_for_its_roster_lets_nobody_in_by_itself(people: People, server: LoopbackServer) -> None:
    """Under `roster` the user has to answer subscription requests."""
    server.set_subscription("alice@home.test", "bob@home.test", "none")
    bob, _ = await people.listen("bob")
    (await refused(people, "--subscribe", "--timeout", "1")).ended(6, "not answered")
    assert (await bob.event("subscription"))["authorized"] is False


async def test_a_peer_who_does_not_accept_us_is_7(people: People) -> None:
    """Bob accepts only Carol."""
    await people.listen("bob", "--accept-from", "carol@home.test")
    (await refused(people)).ended(7, "accept_from")


async def test_the_policy_off_is_7(people: People, home: Path) -> None:
    with store_of(home, "alice") as store:
        store.set_policy("bob@home.test", PeerPolicy(policy=Policy.OFF))
    await people.listen("bob")
    (await refused(people)).ended(7, "`off`")


async def test_a_wrong_password_and_a_dead_port_are_3(people: People, server: LoopbackServer) -> None:
    """Neither prints a traceback."""
    wrong = await people.run("alice", "send", "bob@home.test", "-m", "x", *people.server, XMPP_E2E_PASSWORD="not-it")
    wrong.ended(3, "refused the password")
    dead = await people.run(
        "alice", "send", "bob@home.test", "-m", "x", "--host", "127.0.0.1", "--port", "1", "--plaintext-loopback"
    )
    dead.ended(3, "cannot be reached")


async def test_a_server_without_tls_is_3_and_gets_no_password(people: People, server: LoopbackServer) -> None:
    """It looks the same when somebody removes the offer of TLS."""
    where = [word for word in people.server if word != "--plaintext-loopback"]
    done = await people.run("alice", "send", "bob@home.test", "-m", "x", "--json", *where)
    assert done.code == 3
    assert (done.data["error"], done.data["code"]) == ("ConnectionFailed", "tls-not-offered")
    assert server.online == []


def argv_of(pid: int) -> bytes:
    """Return the command line, which all users of the machine can read."""
    while not (argv := Path(f"/proc/{pid}/cmdline").read_bytes()):
        pass  # it has only just begun
    return argv


@pytest.mark.parametrize("command", ["listen", "send"])
async def test_no_password_is_in_argv_or_in_what_is_printed(people: People, command: str) -> None:
    """Other users can read argv, and logs are kept."""
    bob, ready = await people.listen("bob")
    words = {"listen": ["listen"], "send": ["send", ready["jid"], "-m", "x"]}[command]
    alice = await people.start("alice", *words, *people.server, alone=True)
    argv = argv_of(alice.pid)
    if command == "listen":
        await alice.wait_for_line("own key")
    done = await (alice.done() if command == "send" else alice.stop())
    assert b"xmpp_e2e_cli" in argv
    everything = argv + done.out.encode() + done.err.encode() + (await bob.stop()).out.encode()
    assert not any(password.encode() in everything for password in PASSWORDS.values())


async def test_two_senders_in_one_store_do_no_harm(people: People) -> None:
    """Two processes of one account share the store."""
    await people.listen("bob")
    both = await asyncio.gather(refused(people), refused(people))
    assert [done.code for done in both] == [0, 0], both


async def test_the_password_can_come_from_a_file(people: People, home: Path) -> None:
    """The first line counts, and the environment does not."""
    file = secret_file(home / "password", f"{PASSWORDS['alice']}\nsecond line\n")
    _, ready = await people.listen("bob")
    words = ["send", ready["jid"], "-m", "x", "--password-file", str(file), *people.server]
    assert (await people.run("alice", *words, XMPP_E2E_PASSWORD="wrong")).code == 0


def test_plaintext_is_for_this_machine_only(command: Callable[..., CommandResult]) -> None:
    """The hidden option works neither for other addresses nor for names."""
    command("init", "alice@home.test")
    for host in ("192.0.2.1", "localhost", "example.org", "::ffff:192.0.2.1"):
        command("send", "bob@home.test", "-m", "x", "--plaintext-loopback", "--host", host).ended(1, "loopback address")
    assert command("send", "bob@home.test", "-m", "x", "--plaintext-loopback").code == 1

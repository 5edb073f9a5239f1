"""`xmpp-e2e trust verify` with two users at two terminals."""

from __future__ import annotations

import os
import re
import sys
import termios
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.xmpp_e2e_cli.conftest import People, Process, secret_file
from xmpp_e2e.errors import LocalError
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli import cmd_verify, prompts

ALICE, BOB = "alice@home.test", "bob@home.test"
WORDS = "copper lantern wanders north"
ASKED = "Is it the same on both sides? [y/N] "


async def listening(people: People, *words: str) -> Process:
    """Start Bob's listener at a terminal."""
    bob = await people.start_at_terminal("bob", "listen", *people.server, *words)
    await bob.wait_for_text("own key")
    return bob


async def comparing(people: People, bob: Process, *words: str) -> Process:
    """Start Alice's `trust verify`; return when both are asked."""
    alice = await people.start_at_terminal("alice", "trust", "verify", BOB, *words, *people.server)
    for process in (alice, bob):
        await process.wait_for_text(ASKED)
    return alice


def shown(process: Process) -> str:
    """Return the short string that a user compares."""
    (text,) = re.findall(r"^  (\S.*)\n" + re.escape(ASKED), "".join(process.told), re.MULTILINE)
    return str(text)


async def trusted(people: People, name: str, peer: str) -> tuple[str, str]:
    """Return assurance and method of the one key that a user remembers of a peer."""
    (key,) = (await people.run(name, "trust", "show", peer, "--json")).data["keys"]
    return key["assurance"], key["method"]


async def test_two_people_compare(people: People) -> None:
    """Alice chooses words, Bob sees the same, both confirm, and both keys are verified."""
    bob = await listening(people)
    alice = await comparing(people, bob, "--form", "words", "--json")
    assert shown(alice) == shown(bob)
    assert re.fullmatch(r"(\w+ ){4}\w+", shown(bob))
    alice.type_line("y")
    await alice.wait_for_text("waiting for the peer's answer")
    bob.type_line("Yes")
    done = await alice.done()
    assert done.code == 0, done.err
    data = done.data
    assert (data["method"], data["assurance"], data["account"]) == ("sas", "verified", ALICE)
    assert await trusted(people, "alice", BOB) == await trusted(people, "bob", ALICE) == ("verified", "sas")


async def test_what_is_not_the_same_is_5(people: People) -> None:
    """Any answer but yes ends the session, and the key is not verified."""
    bob = await listening(people)
    alice = await comparing(people, bob)
    assert shown(alice) == shown(bob)
    bob.type_line("")
    await bob.wait_for_text("You say that it is different")
    done = await alice.done()
    assert (done.code, done.out) == (5, ""), done.err
    assert "The session has ended" in done.err
    assert await trusted(people, "bob", ALICE) == ("vouched", "route")
    assert await trusted(people, "alice", BOB) == ("vouched", "route")


async def test_what_was_typed_before_the_question_is_no_answer(people: People) -> None:
    """Otherwise a stray y would verify a key."""
    bob = await listening(people)
    bob.type_line("y")
    alice = await comparing(people, bob)
    alice.type_line("y")
    await alice.wait_for_text("waiting for the peer's answer")
    assert "You say" not in "".join(bob.told)
    bob.type_line("no")
    done = await alice.done()
    assert (done.code, "their key is not verified any more" in done.err) == (5, True)
    assert await trusted(people, "bob", ALICE) == ("vouched", "route")
    assert await trusted(people, "alice", BOB) == ("vouched", "route")


async def test_a_password_that_both_type(people: People) -> None:
    """Alice is asked at once, Bob when Alice's client asks. Neither terminal shows the password."""
    bob = await listening(people)
    alice = await people.start_at_terminal("alice", "trust", "verify", BOB, "--password", *people.server)
    await alice.wait_for_text(f"Password that you share with {BOB}: ")
    alice.type_line(WORDS)
    await bob.wait_for_text("wants to verify a password")
    bob.type_line(WORDS)
    done = await alice.done()
    assert (done.code, " [verified] SHA256:" in done.out, done.out.endswith("by srp\n")) == (0, True, True), done.err
    assert WORDS not in done.err + "".join(bob.told)
    assert await trusted(people, "bob", ALICE) == ("verified", "srp")


async def test_a_question_is_taken_back(people: People) -> None:
    """It disappears with its session, and the next one is asked at once."""
    bob = await listening(people)
    for said in ("n", "y"):
        bob.told.clear()
        alice = await comparing(people, bob)
        alice.type_line(said)
        if said == "n":
            await bob.wait_for_text("The session has ended")
        else:
            bob.type_line(said)
        assert (await alice.done()).code == (5 if said == "n" else 0)


async def test_ctrl_c_at_a_question_ends_at_once(people: People, home: Path) -> None:
    """Nobody has to press Return, and the terminal shows typed text again."""
    bob = await listening(people)
    secret_file(home / "word", WORDS)
    alice = await people.start("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    await bob.wait_for_text("wants to verify a password")
    assert bob.keyboard is not None
    assert not termios.tcgetattr(bob.keyboard)[3] & termios.ECHO
    os.write(bob.keyboard, b"\x03")
    assert (await bob.done()).code == 0
    assert termios.tcgetattr(bob.keyboard)[3] & termios.ECHO
    assert (await alice.done()).code != 0


async def test_a_wrong_password_is_5_and_counted(people: People, home: Path) -> None:
    bob = await listening(people)
    secret_file(home / "word", WORDS)
    alice = await people.start("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    await bob.wait_for_text("wants to verify a password")
    bob.type_line(WORDS + "!")
    done = await alice.done()
    assert (done.code, done.out) == (5, ""), done.err
    for name, peer in (("alice", BOB), ("bob", ALICE)):
        assert (await people.run(name, "trust", "show", peer, "--json")).data["wrong_guesses"] == 1


async def test_a_password_that_the_peer_has_set_up(people: People, home: Path) -> None:
    """Bob's client needs the password when the session opens."""
    secret_file(home / "word", WORDS)
    assert (await people.run("bob", "password", ALICE, "--file", str(home / "word"))).code == 0
    await people.listen("bob")
    words = ("trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    done = await people.run("alice", *words)
    assert (done.code, "when the session opened" in done.err) == (0, True), done.err
    assert await trusted(people, "alice", BOB) == await trusted(people, "bob", ALICE) == ("verified", "srp")


async def test_what_cannot_be_a_password(people: People, home: Path) -> None:
    """The command fails before it logs in."""
    secret_file(home / "word", "horse\tback\n")
    done = await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    assert (done.code, "cannot be a password" in done.err, "logging in" in done.err) == (1, True, False)


async def test_a_key_that_both_have(people: People) -> None:
    """It verifies a new peer when the session opens, and a verified one in the open session."""
    none = await people.run("alice", "trust", "verify", BOB, "--key", *people.server)
    assert (none.code, f"xmpp-e2e psk add {BOB}" in none.err) == (1, True)
    key = (await people.run("bob", "psk", "new", ALICE)).out
    assert (await people.run("alice", "psk", "add", BOB, text=key.encode())).code == 0
    await people.listen("bob")
    for at_the_opening in (True, False):
        done = await people.run("alice", "trust", "verify", BOB, "--key", *people.server)
        assert (done.code, done.out.endswith("by psk\n")) == (0, True), done.err
        assert ("when the session opened" in done.err) is at_the_opening
    assert await trusted(people, "alice", BOB) == await trusted(people, "bob", ALICE) == ("verified", "psk")


@pytest.mark.parametrize(
    "words", [["--sas", "--key"], ["--file", "x"], ["--key", "--file", "x"], ["--password", "--form", "words"]]
)
async def test_options_that_do_not_go_together(people: People, words: list[str]) -> None:
    """The command fails before it logs in."""
    done = await people.run("alice", "trust", "verify", BOB, *words, *people.server)
    assert (done.code, "error: " in done.err, "logging in" in done.err) == (1, True, False)


async def test_without_a_terminal_nobody_compares(people: People, home: Path) -> None:
    """The command fails at once. A listener without a terminal declines, and its session goes on."""
    done = await people.run("alice", "trust", "verify", BOB, *people.server)
    assert (done.code, "no terminal" in done.err, "--password" in done.err) == (1, True, True)
    secret_file(home / "word", WORDS)
    bob, _ = await people.listen("bob")
    done = await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    assert (done.code, "takes no part" in done.err) == (5, True), done.err
    assert (await bob.event("session_closed"))["clean"]


@pytest.mark.parametrize("assurance", [Assurance.KNOWN, Assurance.VERIFIED])
async def test_what_could_not_run_has_proved_nothing_by_that(assurance: Assurance) -> None:
    """It counts only if the key is verified."""

    class Opened:
        async def wait_open(self) -> None:
            """At once."""

    link: Any = Opened()
    link.assurance = assurance
    with pytest.raises(LocalError) if assurance is Assurance.KNOWN else nullcontext():
        await cmd_verify._check_verified(link, 1.0, LocalError("it cannot run"))


@pytest.mark.parametrize("piped", ["stdin", "stderr"])
def test_who_cannot_see_or_answer_is_not_asked(monkeypatch: pytest.MonkeyPatch, piped: str) -> None:
    """A message from a pipe must not be taken for an answer, and a question must not vanish in a log."""
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    assert prompts.has_terminal()
    monkeypatch.setattr(getattr(sys, piped), "isatty", lambda: False)
    assert not prompts.has_terminal()


async def test_a_key_that_has_changed_can_be_proved(people: People) -> None:
    """The user is warned, and a comparison verifies the new key."""
    assert (await people.run("alice", "trust", "pin", BOB, "SHA256:" + "A" * 43)).code == 0
    bob = await listening(people)
    alice = await comparing(people, bob)
    for process in (alice, bob):
        process.type_line("y")
    done = await alice.done()
    assert (done.code, "HAS CHANGED" in done.err, "by sas" in done.out) == (0, True, True), done.err


async def test_a_message_waits_for_two_people(people: People) -> None:
    """Under `server-untrusted`, `send` at a terminal compares before the first message."""
    bob = await listening(people)
    words = ("send", BOB, "-m", "attack at dawn", "--trust-model", "server-untrusted", *people.server)
    alice = await people.start_at_terminal("alice", *words)
    for process in (alice, bob):
        await process.wait_for_text(ASKED)
        process.type_line("y")
    done = await alice.done()
    assert (done.code, "[verified]" in done.out) == (0, True), done.err
    assert "attack at dawn" in await bob.line()


async def test_whoever_declines_says_so(people: People, home: Path) -> None:
    """The event names the peer and the method."""
    bob, _ = await people.listen("bob")
    secret_file(home / "word", WORDS)
    await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    wanted = await bob.event("verification_requested")
    assert (wanted["method"], wanted["declined"], wanted["peer"].partition("/")[0]) == ("srp", True, ALICE)

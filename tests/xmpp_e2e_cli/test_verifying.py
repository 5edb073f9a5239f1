"""`xmpp-e2e trust verify`: two people, two terminals, and what they compare or share."""

from __future__ import annotations

import os
import re
import sys
import termios
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.xmpp_e2e_cli.conftest import People, Process
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import asking, verifying

ALICE, BOB = "alice@home.test", "bob@home.test"
WORDS = "copper lantern wanders north"
ASKED = "Is it the same on both sides? [y/N] "


async def listening(people: People, *words: str) -> Process:
    """Bob at his terminal."""
    bob = await people.sit("bob", "listen", *people.server, *words)
    await bob.shows("own key")
    return bob


def shown(process: Process) -> str:
    """What somebody compares."""
    (text,) = re.findall(r"^  (\S.*)\n" + re.escape(ASKED), "".join(process.told), re.MULTILINE)
    return str(text)


async def trusted(people: People, name: str, peer: str) -> tuple[str, str]:
    """Of the one key that somebody remembers of a peer: how sure, and by what."""
    (key,) = (await people.run(name, "trust", "show", peer, "--json")).data["keys"]
    return key["assurance"], key["method"]


async def test_two_people_compare(people: People) -> None:
    """She chooses words, and he sees the same; both say yes, and both keys are verified."""
    bob = await listening(people)
    alice = await people.sit("alice", "trust", "verify", BOB, "--form", "words", "--json", *people.server)
    for process in (alice, bob):
        await process.shows(ASKED)
    assert shown(alice) == shown(bob)
    assert re.fullmatch(r"(\w+ ){4}\w+", shown(bob))
    alice.types("y")
    await alice.shows("waiting for what he says")
    bob.types("Yes")
    done = await alice.done()
    assert done.code == 0, done.err
    data = done.data
    assert (data["method"], data["assurance"], data["account"]) == ("sas", "verified", ALICE)
    assert await trusted(people, "alice", BOB) == await trusted(people, "bob", ALICE) == ("verified", "sas")


async def test_what_is_not_the_same_is_5(people: People) -> None:
    """Whoever says no, or nothing, ends it; the other hears that it failed, and nothing is verified by who said so."""
    bob = await listening(people)
    alice = await people.sit("alice", "trust", "verify", BOB, *people.server)
    for process in (alice, bob):
        await process.shows(ASKED)
    assert shown(alice) == shown(bob)
    bob.types("")
    await bob.shows("not the same")
    done = await alice.done()
    assert (done.code, done.out) == (5, ""), done.err
    assert "nothing to answer any more" in done.err
    assert await trusted(people, "bob", ALICE) == ("vouched", "route")
    assert await trusted(people, "alice", BOB) == ("vouched", "route")


async def test_what_was_typed_before_the_question_is_no_answer(people: People) -> None:
    """Else a y that was meant for something else would verify a key."""
    bob = await listening(people)
    bob.types("y")
    alice = await people.sit("alice", "trust", "verify", BOB, *people.server)
    for process in (alice, bob):
        await process.shows(ASKED)
    alice.types("y")
    await alice.shows("waiting for what he says")
    assert "You say" not in "".join(bob.told)
    bob.types("no")
    done = await alice.done()
    assert (done.code, "his key counts as verified here" in done.err, "trust forget" in done.err) == (5, True, True)
    assert await trusted(people, "bob", ALICE) == ("vouched", "route")


async def test_a_password_that_both_type(people: People) -> None:
    """She is asked at once, he by her wish; neither sees what is typed."""
    bob = await listening(people)
    alice = await people.sit("alice", "trust", "verify", BOB, "--password", *people.server)
    await alice.shows(f"Password that you share with {BOB}: ")
    alice.types(WORDS)
    await bob.shows("wants to prove a password")
    bob.types(WORDS)
    done = await alice.done()
    assert (done.code, " [verified] SHA256:" in done.out, done.out.endswith("by srp\n")) == (0, True, True), done.err
    assert WORDS not in done.err + "".join(bob.told)
    assert await trusted(people, "bob", ALICE) == ("verified", "srp")


async def test_a_question_is_taken_back(people: People) -> None:
    """When its session is over; the next one is asked at once."""
    bob = await listening(people)
    for said in ("n", "y"):
        bob.told.clear()
        alice = await people.sit("alice", "trust", "verify", BOB, *people.server)
        for process in (alice, bob):
            await process.shows(ASKED)
        alice.types(said)
        if said == "n":
            await bob.shows("nothing to answer any more")
        else:
            bob.types(said)
        assert (await alice.done()).code == (5 if said == "n" else 0)


async def test_ctrl_c_at_a_question_ends_at_once(people: People, home: Path) -> None:
    """Nobody has to press Return, and what is typed afterwards is seen again."""
    bob = await listening(people)
    (home / "word").write_text(WORDS)
    alice = await people.start("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    await bob.shows("wants to prove a password")
    assert bob.keyboard is not None
    assert not termios.tcgetattr(bob.keyboard)[3] & termios.ECHO
    os.write(bob.keyboard, b"\x03")
    assert (await bob.done()).code == 0
    assert termios.tcgetattr(bob.keyboard)[3] & termios.ECHO
    assert (await alice.done()).code != 0


async def test_a_wrong_password_is_5_and_counted(people: People, home: Path) -> None:
    """On both sides."""
    bob = await listening(people)
    (home / "word").write_text(WORDS)
    alice = await people.start("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    await bob.shows("wants to prove a password")
    bob.types(WORDS + "!")
    done = await alice.done()
    assert (done.code, done.out) == (5, ""), done.err
    for name, peer in (("alice", BOB), ("bob", ALICE)):
        assert (await people.run(name, "trust", "show", peer, "--json")).data["wrong_guesses"] == 1


async def test_a_password_that_he_has_set_up(people: People, home: Path) -> None:
    """He needs it when the session opens, and she has it at hand then."""
    (home / "word").write_text(WORDS)
    assert (await people.run("bob", "password", ALICE, "--file", str(home / "word"))).code == 0
    await people.listen("bob")
    words = ("trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    done = await people.run("alice", *words)
    assert (done.code, "when the session opened" in done.err) == (0, True), done.err
    assert await trusted(people, "alice", BOB) == await trusted(people, "bob", ALICE) == ("verified", "srp")


async def test_what_cannot_be_a_password(people: People, home: Path) -> None:
    """That is told before anybody logs in."""
    (home / "word").write_text("horse\tback\n")
    done = await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    assert (done.code, "cannot be a password" in done.err, "logging in" in done.err) == (1, True, False)


async def test_a_key_that_both_have(people: People) -> None:
    """It proves him when the session opens; if he is verified already, in the open session. Without one that is told."""
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
    """What could not have an effect is refused, before anybody logs in."""
    done = await people.run("alice", "trust", "verify", BOB, *words, *people.server)
    assert (done.code, "goes with" in done.err or "one proof" in done.err, "logging in" in done.err) == (1, True, False)


async def test_without_a_terminal_nobody_compares(people: People, home: Path) -> None:
    """Who asks hears at once that he needs one; who is asked declines, which is 5, and the session is not hurt."""
    done = await people.run("alice", "trust", "verify", BOB, *people.server)
    assert (done.code, "no terminal" in done.err, "--password" in done.err) == (1, True, True)
    (home / "word").write_text(WORDS)
    bob, _ = await people.listen("bob")
    done = await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    assert (done.code, "takes no part" in done.err) == (5, True), done.err
    assert (await bob.event("session_end"))["clean"]


@pytest.mark.parametrize("assurance", [Assurance.KNOWN, Assurance.VERIFIED])
async def test_what_could_not_run_has_proved_nothing_by_that(assurance: Assurance) -> None:
    """It counts only if the key is verified."""

    class Opened:
        async def opened(self) -> None:
            """At once."""

    link: Any = Opened()
    link.assurance = assurance
    with pytest.raises(LocalError) if assurance is Assurance.KNOWN else nullcontext():
        await verifying._was_proved(link, 1.0, LocalError("it cannot run"))


@pytest.mark.parametrize("piped", ["stdin", "stderr"])
def test_who_cannot_see_or_answer_is_not_asked(monkeypatch: pytest.MonkeyPatch, piped: str) -> None:
    """A message from a pipe must not be taken for an answer, and a question must not vanish in a log."""
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    assert asking.is_there()
    monkeypatch.setattr(getattr(sys, piped), "isatty", lambda: False)
    assert not asking.is_there()


async def test_a_key_that_has_changed_can_be_proved(people: People) -> None:
    """It is held, and she hears that; what two people compare resolves it."""
    assert (await people.run("alice", "trust", "pin", BOB, "SHA256:" + "A" * 43)).code == 0
    bob = await listening(people)
    alice = await people.sit("alice", "trust", "verify", BOB, *people.server)
    for process in (alice, bob):
        await process.shows(ASKED)
        process.types("y")
    done = await alice.done()
    assert (done.code, "HAS CHANGED" in done.err, "by sas" in done.out) == (0, True, True), done.err


async def test_a_message_waits_for_two_people(people: People) -> None:
    """At a terminal, and where the server is not trusted, `send` asks before the first message; without one it does not go."""
    bob = await listening(people)
    words = ("send", BOB, "-m", "attack at dawn", "--trust-model", "server-untrusted", *people.server)
    alice = await people.sit("alice", *words)
    for process in (alice, bob):
        await process.shows(ASKED)
        process.types("y")
    done = await alice.done()
    assert (done.code, "[verified]" in done.out) == (0, True), done.err
    assert "attack at dawn" in await bob.line()


async def test_whoever_declines_says_so(people: People, home: Path) -> None:
    """A listener without a terminal tells who wanted what."""
    bob, _ = await people.listen("bob")
    (home / "word").write_text(WORDS)
    await people.run("alice", "trust", "verify", BOB, "--password", "--file", str(home / "word"), *people.server)
    wanted = await bob.event("verify_request")
    assert (wanted["method"], wanted["declined"], wanted["peer"].partition("/")[0]) == ("srp", True, ALICE)

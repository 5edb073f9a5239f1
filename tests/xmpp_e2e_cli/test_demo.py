"""The demonstration: it tells what happened, or that it did not."""

from __future__ import annotations

import contextlib
import hmac
import io
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slixmpp_e2e import E2E
from tests.xmpp_e2e_cli.conftest import Done
from xmpp_e2e.authenticate import sas
from xmpp_e2e.identity import Assurance, Remembered
from xmpp_e2e_cli import demo
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.demo import attacks, meeting, proving, theatre
from xmpp_e2e_cli.demo.people import Actor, Scene
from xmpp_e2e_cli.demo.record import blocks, readable, words
from xmpp_e2e_cli.demo.story import Story
from xmpp_e2e_cli.demo.theatre import Handled
from xmpp_loopback import LoopbackServer

Command = Callable[..., Done]
TOLD = (
    r"TLSv1\.3",
    r"TLS_AES_256_GCM_SHA384|TLS_CHACHA20_POLY1305_SHA256|TLS_AES_128_GCM_SHA256",
    r"Alice's key SHA256:(\S{43}) \S Bob sees SHA256:\1 ",
    r"Bob's key SHA256:(\S{43}) \S Alice sees SHA256:\1 ",
    r"assurance vouched",
    r"http://jabber\.org/protocol/ibb",
    r"<body>Bring the lantern and the silver compass\.</body>",
    r"never saw: .*windmill",
    r"assurance known",
    r"verified by pin, for both",
    r"Alice's screen .* Bob's screen .*│ (\d{4} \d{4} \d{4}) │ │ \1 │ .* It is the same, .* verified by sas, for both",
    r"Bob mistypes it\. Alice reads: .* not the same on both sides: mistyped.* one guess.* verified by srp, for both",
    r"verified by psk, for both",
    r"swaps a fingerprint .* Nothing was sent\. Compare fingerprints",
    r"never met .* It has read both: The treasure .* You said: The treasure .* assurance vouched, for both ",
    r"compare a short string .*│ (\d{4} \d{4} \d{4}) │ │ (?!\1).* It is not the same, .* Alice reads: .* the middle",
    r"They share a key, .* Both refuse\. Alice reads: .* They share a password\. Both refuse",
    r"have met before .* told of a new key\. Alice reads: .* xmpp-e2e trust pin bob@home\.test.* and `known` no more",
    r"have verified a key .* until she gives up, .* THE KEY OF bob@home\.test HAS CHANGED",
    r"everything that was written",
)
"""In what was told, as one line."""


@pytest.fixture
def temp(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for everything temporary."""
    folder = home / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def plays(monkeypatch: pytest.MonkeyPatch, command: Command, *scenes: Scene) -> Done:
    """The demonstration with these scenes only."""
    monkeypatch.setattr(demo, "PARTS", (("", tuple((scene.__name__, scene) for scene in scenes)),))
    return command("demo")


@pytest.mark.parametrize("kind", ["loopback", "prosody"])
def test_the_whole_story_happens(command: Command, temp: Path, home: Path, kind: str) -> None:
    """Exit 0, every part is told, in 80 columns without a colour, and nothing is left: no file, no process."""
    done = command("demo", "--server", kind)
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert [pattern for pattern in TOLD if not re.search(pattern, told)] == []
    assert max(map(len, done.out.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in done.out.splitlines() if "─" not in line)
    assert "\x1b" not in done.out
    assert done.err == ""
    assert os.listdir(temp) == []
    assert not (home / "alice").exists()
    assert not multiprocessing.active_children()


def test_it_reads_well_in_a_narrow_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wider than the terminal, not even a fingerprint or two screens."""
    monkeypatch.setenv("COLUMNS", "44")
    done = plays(monkeypatch, command, meeting.stage, meeting.first_message, proving.a_short_string)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 44
    assert re.search(r"Alice's screen ─*╮\n", done.out)


def test_no_color_is_honoured(command: Command, monkeypatch: pytest.MonkeyPatch, colours: None) -> None:
    """Colour in a terminal, none on request."""
    scenes = meeting.first_message, meeting.what_the_server_saw
    assert "\x1b[33m" in plays(monkeypatch, command, *scenes).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plays(monkeypatch, command, *scenes).out)


def test_it_needs_a_checkout_for_prosody(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed elsewhere it says so, and what works instead."""
    monkeypatch.setattr(theatre, "REPOSITORY", tmp_path)
    done = command("demo", "--server", "prosody")
    assert done.code == 1
    assert "checkout" in done.err
    assert "Without --server" in done.err


def test_without_prosody_it_is_3_and_says_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that cannot be started is no bug."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.servers.process.shutil.which", lambda *args, **kwargs: None)
    done = command("demo", "--server", "prosody")
    assert done.code == 3
    assert "install" in done.err


# --- what did not happen is not told ---------------------------------------------------------------------------------


@pytest.fixture
def fails(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The demonstration of some scenes ends with 2, before it says what it must not; gives what is wrong."""

    def run(untold: str, *scenes: Scene) -> str:
        done = plays(monkeypatch, command, *scenes)
        assert done.code == 2, done.out
        assert untold not in done.out
        assert "error: " in done.err
        return done.err

    return run


Fails = Callable[..., str]
ATTACKS = (
    (attacks.a_swap, "She reads"),
    (attacks.at_first_contact, "It has read both"),
    (attacks.when_strings_are_compared, "Both sessions end"),
    (attacks.when_a_secret_is_shared, "Both refuse"),
    (attacks.when_they_know_each_other, "told of a new key"),
    (attacks.when_a_key_is_verified, "HAS CHANGED"),
)


@pytest.mark.parametrize(("scene", "untold"), ATTACKS, ids=[scene.__name__ for scene, _ in ATTACKS])
def test_a_server_that_does_not_attack_spoils_each_attack(
    fails: Fails, monkeypatch: pytest.MonkeyPatch, scene: Scene, untold: str
) -> None:
    """No refusal is canned: without an attack there is none, and Bob gets the message."""
    monkeypatch.setattr("xmpp_e2e_cli.demo.story.PATIENCE", 2.0)
    monkeypatch.setattr(theatre.Loopback, "between", lambda *_: contextlib.nullcontext())
    fails(untold, scene)


def test_a_confirmation_that_nobody_checks_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were any tag good enough, the server would be taken for who it poses as: the message arrives."""
    blind = SimpleNamespace(digest=hmac.digest, compare_digest=lambda heard, tag: True)
    monkeypatch.setattr("xmpp_e2e.authenticate.dialogue.hmac", blind)
    assert "an error was due" in fails("Both refuse", attacks.when_a_secret_is_shared)


def test_strings_that_are_always_the_same_are_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screens are looked at."""
    monkeypatch.setattr(sas, "short_code", lambda *_: bytes(8))
    assert "not the same" in fails("Both sessions end", attacks.when_strings_are_compared)


@pytest.mark.parametrize("scene", [attacks.when_they_know_each_other, attacks.when_a_key_is_verified])
def test_a_judge_without_memory_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    """Whoever remembers nothing tells nothing and holds nothing."""
    monkeypatch.setattr("xmpp_e2e_cli.demo.story.PATIENCE", 2.0)
    monkeypatch.setattr("slixmpp_e2e.store.SQLStore.remembered", lambda *_: Remembered())
    fails("Alice reads", scene)


@pytest.mark.parametrize("scene", [proving.a_password, proving.a_key])
def test_a_secret_that_is_not_asked_for_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    """`verified` and by what are read from the sessions and the store."""
    monkeypatch.setattr(Actor, "shares", lambda *_: None)
    fails("verified by", scene)


def test_a_pin_that_is_lost_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same."""
    monkeypatch.setattr("slixmpp_e2e.store.SQLStore.pin", lambda *_: None)
    assert "by pin" in fails("verified by", proving.a_fingerprint)


def test_bob_without_encryption_spoils_the_second_scene(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that goes in clear is noticed."""
    monkeypatch.setattr(E2E, "session_bind", lambda *_: None)
    fails("TLSv1.3", meeting.first_message)


def test_a_word_that_the_server_read_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is a real one: a copy of a message in the server's record ends the story."""
    original = theatre.Loopback.handled

    def leaky(self: theatre.Loopback) -> list[Handled]:
        return [*original(self), Handled(True, "alice@home.test/alice", f"<x>{meeting.OPENING}</x>")]

    monkeypatch.setattr(theatre.Loopback, "handled", leaky)
    assert "windmill" in fails("never saw", meeting.first_message, meeting.what_the_server_saw)


def test_a_store_that_forgets_spoils_the_second_session(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """`known` is read from the sessions."""
    monkeypatch.setattr("slixmpp_e2e.store.SQLStore.remembered", lambda *_: Remembered())
    assert "assurance: vouched" in fails("known, for both", meeting.first_message, meeting.the_second_time)


def test_an_echo_that_does_not_come_is_told(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, in words."""
    monkeypatch.setattr("xmpp_e2e_cli.demo.story.PATIENCE", 0.5)
    monkeypatch.setattr(meeting, "echo", lambda message: None)
    assert "Bob's answer reaches Alice" in fails("TLSv1.3", meeting.first_message)


def test_what_is_left_behind_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch, temp: Path) -> None:
    """The last claim is checked like the others."""
    monkeypatch.setattr(demo, "_gone", lambda path: False)
    fails("everything that was")


def test_a_server_that_cannot_listen_is_no_success(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks, the exit code is not 0."""

    async def taken(self: Any) -> None:
        raise OSError("address in use")

    monkeypatch.setattr(LoopbackServer, "start", taken)
    assert command("demo").code == 2


def test_an_untrue_claim_is_never_printed() -> None:
    """Story is where everything is checked."""
    told = io.StringIO()
    story = Story(told)
    with pytest.raises(Untold, match="moon"):
        story.fact("the moon is full", False)
    with pytest.raises(Untold, match="moon"):
        story.row("the moon", "full", False)
    assert (told.getvalue(), story.checked) == ("", 0)


# --- the search ------------------------------------------------------------------------------------------------------

BLOCK = Handled(True, "a@b/c", "<iq><data xmlns='http://jabber.org/protocol/ibb' seq='0'>{}</data></iq>")


def test_the_search_finds_words_in_text_in_blocks_and_across_blocks() -> None:
    """In any spelling of base64, also where a word is torn in two."""
    torn = [replace(BLOCK, text=BLOCK.text.format(piece)) for piece in ("eHh3aW5k", "bWlsbHh4")]  # xxwind millxx
    assert blocks(torn[0]) == b"xxwind"
    assert readable("windmill", torn) == torn[1:]
    assert readable("Windmill", [Handled(True, "", "<body>a WINDMILL</body>")])
    assert not readable("windmill", torn[:1])
    assert not readable("windmill", [torn[0], replace(torn[1], client="d@e/f")])


def test_words_are_those_that_chance_does_not_write() -> None:
    """Short ones occur in any XML."""
    assert words("To the windmill, to the Windmill!") == ["Windmill", "windmill"]


def test_assurances_are_told_by_their_words() -> None:
    """The story and the library use the same vocabulary."""
    assert f"{Assurance.KNOWN}, for both" == "known, for both"

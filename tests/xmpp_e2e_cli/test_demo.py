"""The demonstration: it tells what happened, or that it did not."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e import E2E
from slixmpp_e2e.loopback import LoopbackServer
from tests.xmpp_e2e_cli.conftest import Done
from xmpp_e2e.identity import Assurance, Remembered
from xmpp_e2e_cli import scenes, theatre
from xmpp_e2e_cli.codes import Untold
from xmpp_e2e_cli.scenes import blocks, readable, words
from xmpp_e2e_cli.story import Story
from xmpp_e2e_cli.theatre import Handled

Command = Callable[..., Done]
TOLD = (
    r"TLSv1\.3",
    r"TLS_AES_256_GCM_SHA384|TLS_CHACHA20_POLY1305_SHA256|TLS_AES_128_GCM_SHA256",
    r"Alice's key   SHA256:(\S{43})\n.*Bob sees    SHA256:\1\n",
    r"Bob's key     SHA256:(\S{43})\n.*Alice sees  SHA256:\1\n",
    r"assurance     vouched",
    r"http://jabber\.org/protocol/ibb",
    r"<body>Bring the lantern and the silver\s+compass\.</body>",
    r"never saw: .*windmill",
    r"You said: And who are you\?",
    r"assurance     known",
    r"Nothing was sent\. Compare fingerprints",
    r"everything that was\s+written",
)


@pytest.fixture
def temp(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for everything temporary."""
    folder = home / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("kind", ["loopback", "prosody"])
def test_the_whole_story_happens(command: Command, temp: Path, home: Path, kind: str) -> None:
    """Exit 0, every part is told, in 80 columns without a colour, and nothing is left: no file, no process."""
    done = command("demo", "--server", kind)
    assert done.code == 0, done.err
    for pattern in TOLD:
        assert re.search(pattern, done.out, re.DOTALL), pattern
    assert max(map(len, done.out.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in done.out.splitlines() if "─" not in line)
    assert "\x1b" not in done.out
    assert done.err == ""
    assert os.listdir(temp) == []
    assert not (home / "alice").exists()
    assert not multiprocessing.active_children()


def test_it_reads_well_in_a_narrow_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wider than the terminal, not even a fingerprint."""
    monkeypatch.setenv("COLUMNS", "44")
    done = command("demo")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 44


def test_no_color_is_honoured(command: Command, monkeypatch: pytest.MonkeyPatch, colours: None) -> None:
    """Colour in a terminal, none on request."""
    assert "\x1b[33m" in command("demo").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", command("demo").out)


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


def fails(command: Command, untold: str) -> Done:
    """The demonstration ends with 2, before it says ``untold``, and says what is wrong."""
    done = command("demo")
    assert done.code == 2, done.out
    assert untold not in done.out
    assert "error: " in done.err
    return done


def test_a_server_that_does_not_attack_spoils_the_last_scene(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is not canned: without an attack there is none, and Bob gets the message."""
    monkeypatch.setattr(theatre.Loopback, "swap", lambda *_: None)
    assert "an error was due" in fails(command, "refused. She").err


def test_bob_without_encryption_spoils_the_second_scene(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that goes in clear is noticed."""
    monkeypatch.setattr(E2E, "session_bind", lambda *_: None)
    fails(command, "TLSv1.3")


def test_a_word_that_the_server_read_is_noticed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is a real one: a copy of a message in the server's record ends the story."""
    original = theatre.Loopback.handled

    def leaky(self: theatre.Loopback) -> list[Handled]:
        return [*original(self), Handled(True, "alice@home.test/alice", f"<x>{scenes.OPENING}</x>")]

    monkeypatch.setattr(theatre.Loopback, "handled", leaky)
    assert "windmill" in fails(command, "never saw").err


def test_a_store_that_forgets_spoils_the_second_session(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """`known` is read from the sessions."""
    monkeypatch.setattr("slixmpp_e2e.store.SQLStore.remembered", lambda *_: Remembered())
    assert "assurance: vouched" in fails(command, "known, for both").err


def test_an_echo_that_does_not_come_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, in words."""
    monkeypatch.setattr("xmpp_e2e_cli.story.PATIENCE", 0.5)
    monkeypatch.setattr(scenes, "echo", lambda message: None)
    done = command("demo")
    assert done.code == 2
    assert "Bob's answer reaches Alice" in done.err


def test_what_is_left_behind_is_noticed(command: Command, monkeypatch: pytest.MonkeyPatch, temp: Path) -> None:
    """The last claim is checked like the others."""
    monkeypatch.setattr("xmpp_e2e_cli.demo._gone", lambda path: False)
    fails(command, "everything that was")


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

"""The demo shows what happened, and fails if something else happens."""

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

from tests.xmpp_e2e_cli.conftest import CommandResult
from xmpp_e2e.types import Assurance, KnownKeys
from xmpp_e2e_cli import demo
from xmpp_e2e_cli.demo import attacks, meeting, servers, verification
from xmpp_e2e_cli.demo.narrator import Narrator
from xmpp_e2e_cli.demo.participants import Scene
from xmpp_e2e_cli.demo.server_view import decode_blocks, find_word, long_words
from xmpp_e2e_cli.demo.servers import HandledStanza
from xmpp_e2e_cli.errors import DemoFailed
from xmpp_loopback import LoopbackServer

Command = Callable[..., CommandResult]
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
    r"Bob mistypes it\. Alice reads: .* one guess, on both sides.* verified by srp, for both",
    r"verified by psk, for both",
    r"swaps a fingerprint .* Nothing was sent",
    r"never met .* It has read both messages: The treasure .* You said: The treasure .* assurance vouched, for both ",
    r"compare a short string .*│ (\d{4} \d{4} \d{4}) │ │ (?!\1).* It is not the same, .* Alice reads: .* the middle",
    r"They share a key, .* Both refuse\. Alice reads: .* They share a password\. Both refuse",
    r"have met before .* warned of a new key\. Alice reads: .* xmpp-e2e trust pin bob@home\.test.* no longer `known`",
    r"have verified a key .* until Alice gives up, .* THE KEY OF bob@home\.test HAS CHANGED",
    r"everything that was written",
)
"""Patterns in the demo's output, with all white space as single spaces."""


@pytest.fixture
def temp(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for all temporary files of this test."""
    folder = home / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def plays(monkeypatch: pytest.MonkeyPatch, command: Command, *scenes: Scene) -> CommandResult:
    """Run the demo with these scenes only."""
    monkeypatch.setattr(demo, "PARTS", (("", tuple((scene.__name__, scene) for scene in scenes)),))
    return command("demo")


@pytest.mark.parametrize("kind", ["loopback", "prosody"])
def test_the_whole_story_happens(command: Command, temp: Path, home: Path, kind: str) -> None:
    """Every part appears, in 80 columns and without colours, and no file or process is left."""
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
    done = plays(monkeypatch, command, meeting.setting, meeting.first_message, verification.short_string)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 44
    assert re.search(r"Alice's screen ─*╮\n", done.out)


def test_no_color_is_honoured(command: Command, monkeypatch: pytest.MonkeyPatch, colours: None) -> None:
    scenes = meeting.first_message, meeting.what_the_server_saw
    assert "\x1b[33m" in plays(monkeypatch, command, *scenes).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plays(monkeypatch, command, *scenes).out)


def test_it_needs_a_checkout_for_prosody(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the alternative."""
    monkeypatch.setattr(servers, "REPOSITORY", tmp_path)
    command("demo", "--server", "prosody").ended(1, "checkout", "Without --server")


def test_without_prosody_it_is_3_and_says_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.servers.process.shutil.which", lambda *args, **kwargs: None)
    command("demo", "--server", "prosody").ended(3, "install")


# --- what did not happen is not told ---------------------------------------------------------------------------------


@pytest.fixture
def fails(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run scenes that fail with 2 before they print ``untold``; return the error."""

    def run(untold: str, *scenes: Scene) -> str:
        done = plays(monkeypatch, command, *scenes)
        assert done.code == 2, done.out
        assert untold not in done.out
        assert "error: " in done.err
        return done.err

    return run


Fails = Callable[..., str]
ATTACKS = (
    (attacks.swapped_fingerprint, "She reads"),
    (attacks.first_contact, "It has read both"),
    (attacks.compared_strings, "Both sessions end"),
    (attacks.shared_secret, "Both refuse"),
    (attacks.known_key, "warned of a new key"),
    (attacks.verified_key, "HAS CHANGED"),
)


@pytest.mark.parametrize(("scene", "untold"), ATTACKS, ids=[scene.__name__ for scene, _ in ATTACKS])
def test_a_server_that_does_not_attack_spoils_each_attack(
    fails: Fails, monkeypatch: pytest.MonkeyPatch, scene: Scene, untold: str
) -> None:
    """No refusal is faked: without an attack Bob gets the message."""
    monkeypatch.setattr("xmpp_e2e_cli.demo.narrator.PATIENCE", 2.0)
    monkeypatch.setattr(servers.Loopback, "between", lambda *_: contextlib.nullcontext())
    fails(untold, scene)


def test_a_confirmation_that_nobody_checks_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """If any tag were accepted, the impostor would get the message."""
    blind = SimpleNamespace(digest=hmac.digest, compare_digest=lambda heard, tag: True)
    monkeypatch.setattr("xmpp_e2e.authenticate.proof_exchange.hmac", blind)
    assert "an error was expected" in fails("Both refuse", attacks.shared_secret)


KNOWN, SECRET = "slixmpp_e2e.store.SQLStore.known_keys", "xmpp_e2e_cli.demo.participants.Participant.store_secret"
FIRST, STRINGS = (meeting.first_message,), (attacks.compared_strings,)
TWICE = (meeting.first_message, meeting.the_second_time)
BROKEN: dict[str, tuple[str, object, float | None, str, str, tuple[Scene, ...]]] = {
    # what is broken: by what, the scene's patience, what must not be told, what the error says, the scenes
    "strings": ("xmpp_e2e.authenticate.sas.sas_code", bytes(8), None, "Both sessions end", "not the same", STRINGS),
    "a known key": (KNOWN, KnownKeys(), 2.0, "Alice reads", "", (attacks.known_key,)),
    "a verified key": (KNOWN, KnownKeys(), 2.0, "Alice reads", "", (attacks.verified_key,)),
    "a password": (SECRET, None, None, "verified by", "", (verification.password,)),
    "a key": (SECRET, None, None, "verified by", "", (verification.key,)),
    "a pin": ("slixmpp_e2e.store.SQLStore.pin", None, None, "verified by", "by pin", (verification.fingerprint,)),
    "encryption": ("slixmpp_e2e.E2E.session_bind", None, None, "TLSv1.3", "", FIRST),
    "the store": (KNOWN, KnownKeys(), None, "known, for both", "assurance: vouched", TWICE),
    "the echo": ("xmpp_e2e_cli.demo.meeting.echo", None, 0.5, "TLSv1.3", "Bob's answer reaches Alice", FIRST),
    "the end": ("xmpp_e2e_cli.demo._gone", False, None, "everything that was", "", ()),
}


@pytest.mark.usefixtures("temp")
@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """The demo reads its claims from the sessions and the store."""
    part, result, patience, untold, told, scenes = BROKEN[case]
    monkeypatch.setattr(part, lambda *_: result)
    if patience is not None:
        monkeypatch.setattr("xmpp_e2e_cli.demo.narrator.PATIENCE", patience)
    assert told in fails(untold, *scenes)


def test_a_word_that_the_server_read_is_noticed(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plaintext copy among the server's stanzas fails the scene."""
    original = servers.Loopback.handled

    def leaky(self: servers.Loopback) -> list[HandledStanza]:
        return [*original(self), HandledStanza(True, "alice@home.test/alice", f"<x>{meeting.OPENING}</x>")]

    monkeypatch.setattr(servers.Loopback, "handled", leaky)
    assert "windmill" in fails("never saw", meeting.first_message, meeting.what_the_server_saw)


def test_a_server_that_cannot_listen_is_no_success(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:

    async def taken(self: Any) -> None:
        raise OSError("address in use")

    monkeypatch.setattr(LoopbackServer, "start", taken)
    assert command("demo").code == 2


def test_an_untrue_claim_is_never_printed() -> None:
    told = io.StringIO()
    narrator = Narrator(told)
    with pytest.raises(DemoFailed, match="moon"):
        narrator.claim("the moon is full", False)
    with pytest.raises(DemoFailed, match="moon"):
        narrator.claim_row("the moon", "full", False)
    assert (told.getvalue(), narrator.checked) == ("", 0)


# --- the search ------------------------------------------------------------------------------------------------------

BLOCK = HandledStanza(True, "a@b/c", "<iq><data xmlns='http://jabber.org/protocol/ibb' seq='0'>{}</data></iq>")


def test_the_search_finds_words_in_text_in_blocks_and_across_blocks() -> None:
    """It works in any alignment of base64, and for a word across two blocks."""
    torn = [replace(BLOCK, text=BLOCK.text.format(piece)) for piece in ("eHh3aW5k", "bWlsbHh4")]  # xxwind millxx
    assert decode_blocks(torn[0]) == b"xxwind"
    assert find_word("windmill", torn) == torn[1:]
    assert find_word("Windmill", [HandledStanza(True, "", "<body>a WINDMILL</body>")])
    assert not find_word("windmill", torn[:1])
    assert not find_word("windmill", [torn[0], replace(torn[1], client="d@e/f")])


def test_words_are_those_that_chance_does_not_write() -> None:
    """Short ones occur in any XML."""
    assert long_words("To the windmill, to the Windmill!") == ["Windmill", "windmill"]


def test_assurances_are_told_by_their_words() -> None:
    assert f"{Assurance.KNOWN}, for both" == "known, for both"

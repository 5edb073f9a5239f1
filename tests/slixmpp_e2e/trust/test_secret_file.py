"""Secrets in files: taken from files that are ours alone, refused with a reason otherwise, and never repeated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slixmpp_e2e.trust.trust_file.secret_file import SECRET_FILE_BYTES, psk_in, psk_text, secret_in
from xmpp_e2e.authenticate.psk import KEY_BYTES, MIN_KEY_BYTES

SECRET = "correct horse"


def file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\n"])
def test_one_line(tmp_path: Path, content: bytes) -> None:
    """With or without the end of the line."""
    assert secret_in(file(tmp_path, content)) == SECRET


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "one line"),
        (b"\n", "one line"),
        (b"correct horse\nbattery\n", "one line"),
        (b"\xffcorrect horse", "UTF-8"),
        (b"correct horse" * SECRET_FILE_BYTES, "no secret of one line"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, content: bytes, words: str) -> None:
    """Said why, without what is in it."""
    with pytest.raises(ValueError, match=words) as caught:
        secret_in(file(tmp_path, content))
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message has the mode and the command that helps."""
    with pytest.raises(ValueError, match=rf"{mode:04o}.*chmod 600"):
        secret_in(file(tmp_path, b"correct horse", mode))


@pytest.mark.skipif(os.name != "posix", reason="owners are a matter of POSIX")
@pytest.mark.parametrize(
    ("owner", "mode", "taken"), [(0, 0o440, True), (0, 0o444, False), (0, 0o460, False), (7, 0o600, False)]
)
def test_whose_file_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, taken: bool) -> None:
    """Root may let our group read it, as systemd does with credentials; another user's is refused."""
    path, us = file(tmp_path, b"correct horse", mode), 1000
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[4] = owner
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "geteuid", lambda: us)
    if taken:
        assert secret_in(path) == SECRET
    else:
        with pytest.raises(ValueError, match="user"):
            secret_in(path)


def test_where_modes_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not looked at."""
    path = file(tmp_path, b"correct horse", 0o644)
    monkeypatch.setattr(os, "name", "nt")
    taken = secret_in(path)
    monkeypatch.undo()
    assert taken == SECRET


def test_what_is_no_file(tmp_path: Path) -> None:
    """Not there, a folder, or a pipe for which nobody waits."""
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory|ordinary")):
        with pytest.raises(ValueError, match=words):
            secret_in(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="no ordinary file"):
        secret_in(tmp_path / "pipe")


@pytest.mark.parametrize("length", [MIN_KEY_BYTES, 17, KEY_BYTES, 64])
def test_a_key_is_written_and_read(length: int) -> None:
    """Whatever its bytes are."""
    key = bytes(range(255, 255 - length, -1))
    assert psk_text(key).startswith("psk:")
    assert "=" not in psk_text(key)
    assert psk_in(psk_text(key)) == key


@pytest.mark.parametrize("text", ["", "psk:", "correct horse", psk_text(bytes(32))[4:], psk_text(bytes(32)) + "=", "psk:ä" * 9])
def test_what_is_no_key(text: str) -> None:
    """Is told apart from a password, and not repeated."""
    with pytest.raises(ValueError, match="password") as caught:
        psk_in(text)
    assert "horse" not in str(caught.value)


def test_a_short_key() -> None:
    """Could be a password in disguise."""
    with pytest.raises(ValueError, match="at least 16 bytes, and this one 15; a password is no key"):
        psk_in(psk_text(bytes(15)))

"""A secret is read only from a file that nobody else can read, and no error repeats it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slixmpp_e2e.trust.trust_file.secret_file import SECRET_FILE_BYTES, decode_psk, encode_psk, read_secret_file
from xmpp_e2e.authenticate.psk import KEY_BYTES, MIN_KEY_BYTES

SECRET = "correct horse"


def file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\n"])
def test_one_line(tmp_path: Path, content: bytes) -> None:
    assert read_secret_file(file(tmp_path, content)) == SECRET


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
def test_content_that_is_no_secret(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_secret_file(file(tmp_path, content))
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "horse" not in repr(caught.value.__context__)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match=rf"{mode:04o}.*chmod 600"):
        read_secret_file(file(tmp_path, b"correct horse", mode))


@pytest.mark.skipif(os.name != "posix", reason="owners are a matter of POSIX")
@pytest.mark.parametrize(
    ("owner", "mode", "taken"), [(0, 0o440, True), (0, 0o444, False), (0, 0o460, False), (7, 0o600, False)]
)
def test_the_owner_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, taken: bool) -> None:
    """Root may let our group read it, as systemd does with credentials. Another user's file is refused."""
    path, us = file(tmp_path, b"correct horse", mode), 1000
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[4] = owner
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "geteuid", lambda: us)
    if taken:
        assert read_secret_file(path) == SECRET
    else:
        with pytest.raises(ValueError, match="user"):
            read_secret_file(path)


def test_modes_are_ignored_where_they_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems than POSIX have no such permissions."""
    path = file(tmp_path, b"correct horse", 0o644)
    monkeypatch.setattr(os, "name", "nt")
    taken = read_secret_file(path)
    monkeypatch.undo()
    assert taken == SECRET


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory|ordinary")):
        with pytest.raises(ValueError, match=words):
            read_secret_file(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="no ordinary file"):
        read_secret_file(tmp_path / "pipe")


@pytest.mark.parametrize("length", [MIN_KEY_BYTES, 17, KEY_BYTES, 64])
def test_each_encoded_key_can_be_decoded(length: int) -> None:
    key = bytes(range(255, 255 - length, -1))
    assert encode_psk(key).startswith("psk:")
    assert "=" not in encode_psk(key)
    assert decode_psk(encode_psk(key)) == key


GOOD = encode_psk(bytes(32))


@pytest.mark.parametrize("text", ["", "psk:", "correct horse", GOOD[4:], f"{GOOD}=", "psk:ä" * 9])
def test_a_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="password") as caught:
        decode_psk(text)
    assert "horse" not in str(caught.value)


def test_a_short_key_is_refused() -> None:
    """It could be a password in disguise."""
    with pytest.raises(ValueError, match="at least 16 bytes, and this one 15; a password is no key"):
        decode_psk(encode_psk(bytes(15)))

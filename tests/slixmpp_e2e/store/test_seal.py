"""Sealing: a value opens in its place, with its key, unaltered; and the key file is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from slixmpp_e2e.store import KeyFile, KeyMissing, KeyWrong, StoreInaccessible
from slixmpp_e2e.store.key_protection.key_file import _associated

SECRET = b"a secret of some length"


@pytest.fixture
def sealer(tmp_path: Path) -> KeyFile:
    """A key file that has just been made."""
    sealer = KeyFile(tmp_path / "bob.key")
    sealer.create()
    return sealer


def test_what_is_sealed_opens_in_its_place(sealer: KeyFile) -> None:
    """Sealing and opening in the same place gives the value, and never twice the same bytes in between."""
    sealed = sealer.seal(SECRET, "secrets", "bob")
    assert sealer.unseal(sealed, "secrets", "bob") == SECRET
    assert SECRET not in sealed
    assert sealer.seal(SECRET, "secrets", "bob") != sealed


@pytest.mark.parametrize("place", [("secrets", "eve"), ("identity", "bob"), ("secrets",), ("secretsb", "ob"), ()])
def test_it_opens_in_no_other_place(sealer: KeyFile, place: tuple[str, ...]) -> None:
    """Another row, another table, or the same letters cut elsewhere: refused."""
    with pytest.raises(InvalidTag):
        sealer.unseal(sealer.seal(SECRET, "secrets", "bob"), *place)


def test_no_byte_can_be_altered(sealer: KeyFile) -> None:
    """Nonce, ciphertext and tag: every flipped bit and every truncation is noticed."""
    sealed = sealer.seal(SECRET, "secrets", "bob")
    for index in range(len(sealed)):
        altered = bytearray(sealed)
        altered[index] ^= 1
        with pytest.raises(InvalidTag):
            sealer.unseal(bytes(altered), "secrets", "bob")
        with pytest.raises(InvalidTag):
            sealer.unseal(sealed[:index], "secrets", "bob")


_PLACES = st.lists(st.binary(max_size=5), max_size=4).map(tuple)


@given(_PLACES, _PLACES)
def test_no_two_places_are_written_alike(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    """The associated data is injective."""
    assert (_associated(one) == _associated(other)) == (one == other)


def test_the_key_file_is_the_owners_alone(sealer: KeyFile) -> None:
    """32 bytes, mode 0600, whatever the umask is."""
    assert stat.S_IMODE(sealer.path.stat().st_mode) == 0o600
    assert sealer.path.stat().st_size == 32


def test_the_notice_is_one_sentence_that_says_what_the_key_protects(tmp_path: Path) -> None:
    """The user is told where the key is, and against whom it helps and does not."""
    notice = KeyFile(tmp_path / "bob.key").create()
    assert str(tmp_path / "bob.key") in notice
    assert "the store alone" in notice
    assert "not from whoever can read both files" in notice
    assert notice.count(". ") == 0


def test_a_key_is_never_overwritten(sealer: KeyFile) -> None:
    """Making a key where there is one is refused, and the old one stays."""
    before = sealer.path.read_bytes()
    with pytest.raises(StoreInaccessible, match="cannot be created") as caught:
        KeyFile(sealer.path).create()
    assert str(sealer.path) in str(caught.value)
    assert sealer.path.read_bytes() == before


def test_no_half_written_key_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the key cannot be written out, no file stays behind that would look like one."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreInaccessible, match="No space left"):
        KeyFile(tmp_path / "bob.key").create()
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the file and the name of the file are synchronised."""
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    KeyFile(tmp_path / "bob.key").create()
    assert synced == [False, True]


def test_a_missing_key_is_said_and_never_made(tmp_path: Path) -> None:
    """Opening without a key names the file; nothing appears in its place."""
    sealer = KeyFile(tmp_path / "bob.key")
    assert not sealer.ready()
    with pytest.raises(KeyMissing, match=r"bob\.key: the key file .* is missing"):
        sealer.seal(SECRET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_of_another_length_is_no_key(tmp_path: Path, content: bytes) -> None:
    """Exactly 32 bytes, or it is somebody else's file."""
    path = tmp_path / "bob.key"
    path.write_bytes(content)
    with pytest.raises(KeyWrong, match=r"bob\.key: this is no key file"):
        KeyFile(path).seal(SECRET)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A folder in its place, for instance."""
    (tmp_path / "bob.key").mkdir()
    with pytest.raises(StoreInaccessible, match="cannot be read"):
        KeyFile(tmp_path / "bob.key").seal(SECRET)


def test_a_key_file_that_others_could_read_is_closed_to_them(sealer: KeyFile) -> None:
    """A restored copy with loose permissions is tightened when it is used."""
    sealer.path.chmod(0o644)
    KeyFile(sealer.path).seal(SECRET)
    assert stat.S_IMODE(sealer.path.stat().st_mode) == 0o600


def test_the_key_shows_nowhere(sealer: KeyFile) -> None:
    """The repr names the file only."""
    sealer.seal(SECRET)
    assert repr(sealer) == f"KeyFile('{sealer.path}')"

"""A value decrypts in its place, with its key, unaltered; and only its owner may read the key file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from slixmpp_e2e.store import KeyFile, StoreReason
from slixmpp_e2e.store.key_protection.protection import associated_data
from tests.slixmpp_e2e.store.expect import store_error

SECRET = b"a secret of some length"


@pytest.fixture
def protection(tmp_path: Path) -> KeyFile:
    protection = KeyFile(tmp_path / "bob.key")
    protection.create_key()
    return protection


def test_a_value_decrypts_in_its_place(protection: KeyFile) -> None:
    encrypted = protection.encrypt(SECRET, "secrets", "bob")
    assert protection.decrypt(encrypted, "secrets", "bob") == SECRET
    assert SECRET not in encrypted
    assert protection.encrypt(SECRET, "secrets", "bob") != encrypted


@pytest.mark.parametrize("place", [("secrets", "eve"), ("identity", "bob"), ("secrets",), ("secretsb", "ob"), ()])
def test_a_value_decrypts_in_no_other_place(protection: KeyFile, place: tuple[str, ...]) -> None:
    with pytest.raises(InvalidTag):
        protection.decrypt(protection.encrypt(SECRET, "secrets", "bob"), *place)


def test_no_byte_can_be_altered(protection: KeyFile) -> None:
    encrypted = protection.encrypt(SECRET, "secrets", "bob")
    for index in range(len(encrypted)):
        altered = bytearray(encrypted)
        altered[index] ^= 1
        with pytest.raises(InvalidTag):
            protection.decrypt(bytes(altered), "secrets", "bob")
        with pytest.raises(InvalidTag):
            protection.decrypt(encrypted[:index], "secrets", "bob")


_PLACES = st.lists(st.binary(max_size=5), max_size=4).map(tuple)


@given(_PLACES, _PLACES)
def test_no_two_places_have_the_same_encoding(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert (associated_data(one) == associated_data(other)) == (one == other)


def test_only_the_owner_may_read_the_key_file(protection: KeyFile) -> None:
    assert stat.S_IMODE(protection.path.stat().st_mode) == 0o600
    assert protection.path.stat().st_size == 32


def test_a_key_is_never_overwritten(protection: KeyFile) -> None:
    before = protection.path.read_bytes()
    with store_error(StoreReason.NO_ACCESS, match="cannot be created") as caught:
        KeyFile(protection.path).create_key()
    assert str(protection.path) in str(caught.value)
    assert protection.path.read_bytes() == before


def test_no_half_written_key_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with store_error(StoreReason.FULL, match="No space left"):
        KeyFile(tmp_path / "bob.key").create_key()
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    KeyFile(tmp_path / "bob.key").create_key()
    assert synced == [False, True]


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_of_another_length_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bob.key"
    path.write_bytes(content)
    with store_error(StoreReason.WRONG_KEY, match=r"bob\.key: this is no key file"):
        KeyFile(path).encrypt(SECRET)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """There may be a folder in its place."""
    (tmp_path / "bob.key").mkdir()
    with store_error(StoreReason.NO_ACCESS, match="cannot be read"):
        KeyFile(tmp_path / "bob.key").encrypt(SECRET)


def test_a_key_file_loses_the_permissions_of_others(protection: KeyFile) -> None:
    """A restored copy with loose permissions is restricted when it is used."""
    protection.path.chmod(0o644)
    KeyFile(protection.path).encrypt(SECRET)
    assert stat.S_IMODE(protection.path.stat().st_mode) == 0o600


def test_the_key_is_not_in_the_repr(protection: KeyFile) -> None:
    protection.encrypt(SECRET)
    assert repr(protection) == f"KeyFile('{protection.path}')"

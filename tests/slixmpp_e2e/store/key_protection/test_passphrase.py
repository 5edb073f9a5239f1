"""A passphrase protects a store: the key that it gives, the parameters in the store, and the effect of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import select, update

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import KeyFile, Passphrase, SQLStore, StoredOwnKey, StoreReason, tables
from slixmpp_e2e.store.key_protection import passphrase
from tests.slixmpp_e2e.store.expect import never, store_error
from tests.slixmpp_e2e.store.processes import files
from xmpp_e2e.types import Fingerprint

pytestmark = pytest.mark.usefixtures("quick_derivation")

BOB = "bob@example.org"
IDENTITY = StoredOwnKey(b"the certificate", b"the private key")
WORDS = "Grüße vom Süden"
SALT = "AAECAwQFBgcICQoLDA0ODw=="
PARAMETERS = f"argon2id m=65536 t=3 p=1 {SALT}"
KEY = bytes.fromhex("63373dcb3c7c6bd4f31bf1a2f34bdc1ba0922983a10768fb18bd89a4eff73898")
"""The reference implementation's answer (argon2-cffi) for WORDS and the salt 00 01 … 0f."""


@pytest.fixture
def protected(tmp_path: Path) -> Path:
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        store.own_key(lambda: IDENTITY)
        store.put_secret(BOB, "psk", "1", b"secret")
        assert "no way to replace it if you forget it" in str(store.key_notice)
        store.pin(BOB, Fingerprint(b"A" * 32), 1.0)
    return tmp_path / "store.db"


def test_the_key_is_that_of_argon2id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with all the memory
    protection = Passphrase(WORDS)
    protection.bind(tmp_path, PARAMETERS)
    encrypted = protection.encrypt(b"value", "place")
    assert protection.parameters() == PARAMETERS
    other = KeyFile(tmp_path / "key")
    other._cipher = AESGCM(KEY)
    assert other.decrypt(encrypted, "place") == b"value"


@pytest.mark.parametrize("typed", ["Gru\u0308\u00dfe vom Su\u0308den", "Grüße\u00a0vom\u3000Süden"])
def test_the_keyboard_makes_no_difference(tmp_path: Path, typed: str) -> None:
    """Characters may be composed or not, and spaces of any kind: RFC 8265's OpaqueString."""
    protections = Passphrase(WORDS), Passphrase(typed)
    for protection in protections:
        protection.bind(tmp_path, PARAMETERS)
    assert protections[1].decrypt(protections[0].encrypt(b"value")) == b"value"


def test_a_salt_is_never_used_twice(tmp_path: Path) -> None:
    protection = Passphrase(WORDS)
    said = set()
    for _ in range(4):
        protection.create_key()
        said.add(protection.parameters())
    assert len(said) == 4
    assert {len(parameters) for parameters in said} == {len(PARAMETERS)}


def test_the_key_of_a_new_store_is_derived_once_and_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load_key` derives it with the salt that the store gets later, and no change has to wait for it."""
    derivations: list[object] = []

    def counted(**terms: object) -> object:
        derivations.append(terms["salt"])
        return Argon2id(**terms)

    monkeypatch.setattr(passphrase, "Argon2id", counted)
    protection = Passphrase(WORDS)
    with SQLStore.open(tmp_path / "store.db", protection) as store:
        assert not store.load_key()
        assert len(derivations) == 1
        store.own_key(lambda: IDENTITY)
        assert store.load_key()
        store.put_secret(BOB, "psk", "1", b"secret")
    assert len(derivations) == 1


def test_the_salt_of_a_store_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """Another process may have protected the store first."""
    protection = Passphrase(WORDS)
    protection.load_key()
    protection.bind(tmp_path, PARAMETERS)
    protection.create_key()
    assert protection.parameters() != PARAMETERS


def test_a_store_opens_with_its_passphrase(protected: Path) -> None:
    assert [name for name in files(protected.parent) if name.endswith(".key")] == []
    with SQLStore.open(protected, Passphrase(WORDS)) as store:
        assert store.load_key()
        assert store.own_key(never) == IDENTITY
        assert store.secret(BOB, "psk", "1") == b"secret"
        store.put_secret(BOB, "psk", "2", b"another")
        assert store.key_notice is None
        assert store.protection_kind() == "passphrase"


def test_a_wrong_passphrase_is_reported_and_does_no_harm(protected: Path) -> None:
    before = files(protected.parent)
    with SQLStore.open(protected, Passphrase("Grüße vom Norden")) as store:
        assert store.known_keys(BOB).any_verified
        for use in (
            store.load_key,
            lambda: store.own_key(never),
            lambda: store.secret(BOB, "psk", "1"),
            lambda: store.put_secret(BOB, "psk", "1", b"new"),
            lambda: store.change_protection(KeyFile(protected.with_suffix(".key"))),
        ):
            with store_error(StoreReason.WRONG_PASSPHRASE, match=r"store\.db: the passphrase is not the one") as caught:
                use()
            assert "Try again" in explain(caught.value)
            assert "Norden" not in explain(caught.value) + repr(store._protection)
    assert files(protected.parent) == before
    with SQLStore.open(protected, Passphrase(WORDS)) as store:
        assert store.own_key(never) == IDENTITY


def test_the_error_names_the_protection_that_a_store_needs(protected: Path) -> None:
    with SQLStore.open(protected) as store:
        assert store.protection_kind() == "passphrase"
        assert store.known_keys(BOB).any_verified
        for use in (store.load_key, lambda: store.own_key(never), lambda: store.put_secret(BOB, "psk", "2", b"new")):
            words = r"store\.db: .* protected by a passphrase, and .* with a key-file"
            with store_error(StoreReason.OTHER_PROTECTION, match=words) as caught:
                use()
            assert "Open the store with what the message names" in explain(caught.value)
    assert not protected.with_suffix(".key").exists()


@pytest.mark.parametrize(
    "entry",
    [
        "passphrase",
        "passphrase argon2id m=8 t=1 p=1 " + SALT,
        "passphrase argon2id m=4000000000 t=3 p=1 " + SALT,
        "passphrase scrypt " + SALT,
        f"passphrase {PARAMETERS[:-4]}",
        f"passphrase {PARAMETERS[:-1]}!",
        f"passphrase {PARAMETERS[:-1]}ü",
        f"passphrase {SALT}",
    ],
)
def test_the_store_does_not_choose_the_cost(protected: Path, entry: str) -> None:
    """Other parameters are refused: an altered store gets neither a cheap key nor all our memory."""
    with SQLStore.open(protected, Passphrase(WORDS)) as store:
        with store._writing() as connection:
            connection.execute(update(tables.meta).where(tables.meta.c.name == tables.PROTECTION).values(value=entry))
        with store_error(StoreReason.DAMAGED, match=r"store\.db: the store is damaged, or of a later version"):
            store.secret(BOB, "psk", "1")


def test_a_key_file_has_no_parameters(tmp_path: Path) -> None:
    with SQLStore.open(tmp_path / "store.db") as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        with store._writing() as connection:
            connection.execute(tables.meta.insert().values({"name": tables.PROTECTION, "value": "key-file elsewhere"}))
        with store_error(StoreReason.DAMAGED, match="a key file has no parameters"):
            store.secret(BOB, "psk", "1")


def test_the_passphrase_is_stored_nowhere(protected: Path) -> None:
    assert all(WORDS.encode() not in content for content in files(protected.parent).values())
    assert repr(Passphrase(WORDS)) == "Passphrase(…)"
    with SQLStore.open(protected) as store, store._reading() as connection:
        entry = connection.execute(select(tables.meta.c.value).where(tables.meta.c.name == tables.PROTECTION)).scalar_one()
    assert entry.startswith("passphrase argon2id m=65536 t=3 p=1 ")


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one character"):
        Passphrase("")


def test_an_old_openssl_is_reported_before_anything_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the version that has Argon2id, and a protection that works without it."""

    def unsupported(**_: object) -> NoReturn:
        raise UnsupportedAlgorithm("Argon2id")

    monkeypatch.setattr(passphrase, "Argon2id", unsupported)
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        words = r"store\.db: a passphrase needs Argon2id, .* 3\.2 or later"
        with store_error(StoreReason.PROTECTION_UNAVAILABLE, match=words) as caught:
            store.put_secret(BOB, "psk", "1", b"secret")
        assert "a key file needs nothing" in explain(caught.value)
        assert store.protection_kind() is None

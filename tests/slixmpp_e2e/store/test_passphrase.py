"""A passphrase as the seal: which key it gives, what the store keeps of it, and what a wrong one leads to."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import select, update

from slixmpp_e2e.store import (
    KeyFile,
    KeyWrong,
    Passphrase,
    PassphraseWrong,
    SealedOtherwise,
    SealUnavailable,
    SQLStore,
    StoreDamaged,
    StoredIdentity,
    StoreError,
    tables,
)
from slixmpp_e2e.store.key_protection import passphrase
from tests.slixmpp_e2e.store.processes import execute, files
from xmpp_e2e.identity import Fingerprint

BOB = "bob@example.org"
IDENTITY = StoredIdentity(b"the certificate", b"the private key")
WORDS = "Grüße vom Süden"
SALT = "AAECAwQFBgcICQoLDA0ODw=="
PARAMETERS = f"argon2id m=65536 t=3 p=1 {SALT}"
KEY = bytes.fromhex("63373dcb3c7c6bd4f31bf1a2f34bdc1ba0922983a10768fb18bd89a4eff73898")
"""The reference implementation's answer (argon2-cffi) for WORDS and the salt 00 01 … 0f."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation that takes no time; its strength is not what these tests are about."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)


@pytest.fixture
def sealed(tmp_path: Path, quick: None) -> Path:
    """A store with an identity and a secret, closed."""
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        store.identity(lambda: IDENTITY)
        store.put_secret(BOB, "psk", "1", b"secret")
        store.pin(BOB, Fingerprint(b"A" * 32), 1.0)
    return tmp_path / "store.db"


def never() -> NoReturn:
    """Where an identity is there already."""
    raise AssertionError("a second identity was made")


def test_the_key_is_argon2ids(tmp_path: Path) -> None:
    """64 MiB, three passes, one lane, 32 bytes: as another implementation computes it, and as the parameters say."""
    sealer = Passphrase(WORDS)
    sealer.attach(tmp_path, PARAMETERS)
    sealed = sealer.seal(b"value", "place")
    assert sealer.parameters() == PARAMETERS
    other = KeyFile(tmp_path / "key")
    other._cipher = AESGCM(KEY)
    assert other.unseal(sealed, "place") == b"value"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("typed", ["Gru\u0308\u00dfe vom Su\u0308den", "Grüße\u00a0vom\u3000Süden"])
def test_the_keyboard_makes_no_difference(tmp_path: Path, typed: str) -> None:
    """Composed or not, with any kind of space: RFC 8265's OpaqueString."""
    sealers = Passphrase(WORDS), Passphrase(typed)
    for sealer in sealers:
        sealer.attach(tmp_path, PARAMETERS)
    assert sealers[1].unseal(sealers[0].seal(b"value")) == b"value"


@pytest.mark.usefixtures("quick")
def test_a_salt_is_never_used_twice(tmp_path: Path) -> None:
    """16 random bytes for each store."""
    sealer = Passphrase(WORDS)
    said = set()
    for _ in range(4):
        sealer.create()
        said.add(sealer.parameters())
    assert len(said) == 4
    assert {len(parameters) for parameters in said} == {len(PARAMETERS)}


@pytest.mark.usefixtures("quick")
def test_the_key_of_a_new_store_is_computed_once_and_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `unlock`, for which nobody waits, with the salt that the store will have; not in the middle of a change."""
    derivations: list[object] = []

    def counted(**terms: object) -> object:
        derivations.append(terms["salt"])
        return Argon2id(**terms)

    monkeypatch.setattr(passphrase, "Argon2id", counted)
    sealer = Passphrase(WORDS)
    with SQLStore.open(tmp_path / "store.db", sealer) as store:
        assert not store.unlock()
        assert len(derivations) == 1
        store.identity(lambda: IDENTITY)
        assert store.unlock()
        store.put_secret(BOB, "psk", "1", b"secret")
    assert len(derivations) == 1


@pytest.mark.usefixtures("quick")
def test_a_salt_that_a_store_has_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """Another process may have been faster to seal the store."""
    sealer = Passphrase(WORDS)
    sealer.load()
    sealer.attach(tmp_path, PARAMETERS)
    sealer.create()
    assert sealer.parameters() != PARAMETERS


def test_a_store_opens_with_its_passphrase(sealed: Path) -> None:
    """All is there; there is no key file; the notice was given when the seal was made."""
    assert [name for name in files(sealed.parent) if name.endswith(".key")] == []
    with SQLStore.open(sealed, Passphrase(WORDS)) as store:
        assert store.unlock()
        assert store.identity(never) == IDENTITY
        assert store.secret(BOB, "psk", "1") == b"secret"
        store.put_secret(BOB, "psk", "2", b"another")
        assert store.created_notice is None
        assert store.sealed_with() == "passphrase"


@pytest.mark.usefixtures("quick")
def test_a_first_secret_that_was_not_stored_leaves_nothing_behind(tmp_path: Path) -> None:
    """The next try makes another salt, and what is sealed then opens with what the store says of it."""
    path = tmp_path / "store.db"
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        execute(path, "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'not today'); END")
        with pytest.raises(StoreError):
            store.put_secret(BOB, "psk", "1", b"secret")
        assert store.sealed_with() is None
        execute(path, "DROP TRIGGER refuse")
        store.put_secret(BOB, "psk", "1", b"secret")
    with SQLStore.open(path, Passphrase(WORDS)) as store:
        assert store.secret(BOB, "psk", "1") == b"secret"


@pytest.mark.usefixtures("quick")
def test_the_notice_says_what_a_passphrase_means(tmp_path: Path) -> None:
    """Nobody opens the secrets without it, its owner neither."""
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        assert not store.unlock()
        assert store.sealed_with() is None
        store.put_secret(BOB, "psk", "1", b"secret")
        assert "no way to replace it if you forget it" in str(store.created_notice)
        assert str(store.created_notice).count(". ") == 0


def test_a_wrong_passphrase_is_said_and_does_no_harm(sealed: Path) -> None:
    """Reading, writing and unlocking are refused with the way out; the files stay; what is not sealed can be read."""
    before = files(sealed.parent)
    with SQLStore.open(sealed, Passphrase("Grüße vom Norden")) as store:
        assert store.remembered(BOB).any_verified
        for use in (
            store.unlock,
            lambda: store.identity(never),
            lambda: store.secret(BOB, "psk", "1"),
            lambda: store.put_secret(BOB, "psk", "1", b"new"),
            lambda: store.reseal(KeyFile(sealed.with_suffix(".key"))),
        ):
            with pytest.raises(KeyWrong, match=r"store\.db: the passphrase is not the one") as caught:
                use()
            assert type(caught.value) is PassphraseWrong
            assert "Try again" in caught.value.explain()
            assert "Norden" not in caught.value.explain() + repr(store._sealer)
    assert files(sealed.parent) == before
    with SQLStore.open(sealed, Passphrase(WORDS)) as store:
        assert store.identity(never) == IDENTITY


def test_what_a_store_is_sealed_with_is_said_to_whoever_comes_with_another_key(sealed: Path) -> None:
    """A key file does not open it, none is made, and the message names what does; trust can be read without."""
    with SQLStore.open(sealed) as store:
        assert store.sealed_with() == "passphrase"
        assert store.remembered(BOB).any_verified
        for use in (store.unlock, lambda: store.identity(never), lambda: store.put_secret(BOB, "psk", "2", b"new")):
            with pytest.raises(SealedOtherwise, match=r"store\.db: .* with a passphrase, and .* with a key-file") as caught:
                use()
            assert "Open the store with what the message names" in caught.value.explain()
    assert not sealed.with_suffix(".key").exists()


@pytest.mark.usefixtures("quick")
def test_a_store_with_a_key_file_does_not_open_with_a_passphrase(tmp_path: Path) -> None:
    """Nor the other way round."""
    with SQLStore.open(tmp_path / "store.db") as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        assert store.sealed_with() == "key-file"
    sealer = Passphrase(WORDS)
    with (
        SQLStore.open(tmp_path / "store.db", sealer) as store,
        pytest.raises(SealedOtherwise, match=r"sealed with a key-file, and .* with a passphrase"),
    ):
        store.secret(BOB, "psk", "1")


@pytest.mark.parametrize(
    "seal",
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
def test_the_store_does_not_choose_the_cost(sealed: Path, seal: str) -> None:
    """Whoever can write the store gets neither a cheap key nor all our memory: other parameters are refused."""
    with SQLStore.open(sealed, Passphrase(WORDS)) as store:
        with store._writing() as connection:
            connection.execute(update(tables.meta).where(tables.meta.c.name == tables.SEAL).values(value=seal))
        with pytest.raises(StoreDamaged, match=r"store\.db: the store is damaged, or of a later version"):
            store.secret(BOB, "psk", "1")


def test_a_key_file_has_no_parameters(tmp_path: Path) -> None:
    """If the store names some, it is not one of ours."""
    with SQLStore.open(tmp_path / "store.db") as store:
        store.put_secret(BOB, "psk", "1", b"secret")
        with store._writing() as connection:
            connection.execute(tables.meta.insert().values({"name": tables.SEAL, "value": "key-file elsewhere"}))
        with pytest.raises(StoreDamaged, match="a key file has no parameters"):
            store.secret(BOB, "psk", "1")


def test_the_passphrase_lies_nowhere(sealed: Path) -> None:
    """Neither in the files nor in a repr; the salt is in the clear."""
    assert all(WORDS.encode() not in content for content in files(sealed.parent).values())
    assert repr(Passphrase(WORDS)) == "Passphrase(…)"
    with SQLStore.open(sealed) as store, store._reading() as connection:
        seal = connection.execute(select(tables.meta.c.value).where(tables.meta.c.name == tables.SEAL)).scalar_one()
    assert seal.startswith("passphrase argon2id m=65536 t=3 p=1 ")


def test_an_empty_passphrase_is_a_mistake() -> None:
    """Of whoever asked for it."""
    with pytest.raises(ValueError, match="at least one character"):
        Passphrase("")


def test_an_old_openssl_is_said_before_anything_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Argon2id there is no key; the message names the version, the remedy another seal."""

    def unsupported(**_: object) -> NoReturn:
        raise UnsupportedAlgorithm("Argon2id")

    monkeypatch.setattr(passphrase, "Argon2id", unsupported)
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        with pytest.raises(SealUnavailable, match=r"store\.db: a passphrase needs Argon2id, .* 3\.2 or later") as caught:
            store.put_secret(BOB, "psk", "1", b"secret")
        assert "a key file needs nothing" in caught.value.explain()
        assert store.sealed_with() is None

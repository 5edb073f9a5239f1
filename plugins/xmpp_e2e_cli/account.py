"""Whose account, which store, what password: found, never guessed, and no password ever in argv.

A store is made by ``init`` alone: a misspelt JID must not leave one behind.
"""

from __future__ import annotations

import getpass
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from slixmpp import JID, InvalidJID

from slixmpp_e2e.store import Sealer, SQLStore, StoredIdentity, path_for
from xmpp_e2e.identity import Fingerprint
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e_cli import sealing
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.sealing import Seal
from xmpp_e2e_cli.words import first_line

JID_VARIABLE = "XMPP_E2E_JID"
PASSWORD_VARIABLE = "XMPP_E2E_PASSWORD"
KEYRING_SERVICE = "xmpp-e2e"
"""``keyring set xmpp-e2e alice@example.org`` puts a password where we look."""


class NoAccount(UsageProblem):
    """No account was named, and none or several could be meant."""


class NotInitialised(UsageProblem):
    """The account has no key on this machine yet."""


class NoPassword(UsageProblem):
    """There is nowhere to take the password from."""

    remedy = (
        f"Use --password-file FILE, the environment variable {PASSWORD_VARIABLE}, the keyring (keyring set"
        f" {KEYRING_SERVICE} JID), or a terminal, where you are asked. Never the command line: everybody can read it."
    )


def parse_jid(text: str) -> JID:
    """A JID of a person, bare or full; UsageProblem if it is none."""
    try:
        jid = JID(text)
    except InvalidJID as error:
        raise UsageProblem(f"{text!r} is no JID ({error}): expected name@domain or name@domain/resource") from None
    if not jid.local or not jid.domain:
        raise UsageProblem(f"{text!r} is not the JID of a person: expected name@domain or name@domain/resource")
    return jid


def initialised() -> list[str]:
    """The bare JIDs that have a store in the default folder, sorted; those too long for a file name are not found."""
    found = path_for("nobody").parent.glob("*.db")
    return sorted(unquote(path.stem) for path in found if not path.name.startswith("~"))


def choose(named: str | None, environment: Mapping[str, str] | None = None) -> JID:
    """The account that is meant: ``named``, else the environment's, else the only one that there is. NoAccount."""
    environment = os.environ if environment is None else environment
    if text := named or environment.get(JID_VARIABLE):
        return parse_jid(text)
    accounts = initialised()
    if len(accounts) == 1:
        return JID(accounts[0])
    if accounts:
        raise NoAccount(f"there are several accounts ({', '.join(accounts)}); say which with --account JID")
    raise NoAccount("there is no account yet; make a key for one with: xmpp-e2e init JID")


def seal_of(account: JID, passphrase_file: Path | None = None) -> Sealer:
    """What opens the secrets of an account that has a key. NotInitialised, StoreError."""
    kind = sealing.kind_of(account)
    if kind is None:
        raise NotInitialised(f"{account.bare} has no key on this machine; make one with: xmpp-e2e init {account.bare}")
    return sealing.sealer(kind, path_for(account.bare), sealing.present(account, passphrase_file))


def open_store(account: JID, passphrase_file: Path | None = None) -> SQLStore:
    """The store of an account that has a key. NotInitialised, StoreError."""
    return SQLStore.for_jid(account.bare, sealer=seal_of(account, passphrase_file))


def unlocked(account: JID, passphrase_file: Path | None = None) -> Sealer:
    """The plugin's setting ``seal``, which has been tried: whoever mistypes hears it now. NotInitialised, StoreError."""
    seal = seal_of(account, passphrase_file)
    with SQLStore.for_jid(account.bare, sealer=seal) as store:
        store.unlock()
    return seal


def make_store(
    account: JID, kind: Seal | None = None, passphrase_file: Path | None = None
) -> tuple[SQLStore, Fingerprint, bool]:
    """The store with an identity in it, its fingerprint, and whether it was there before. StoreError, UsageProblem.

    ``kind`` None: as it is, or with a key file.
    """
    path, existing = path_for(account.bare), sealing.kind_of(account)
    if existing is None:
        kind = kind or Seal.KEY_FILE
        seal = sealing.sealer(kind, path, sealing.chosen(account, passphrase_file, sealing.PASSPHRASE_VARIABLE))
        seal.attach(path, None)
        seal.load()  # if it cannot be, no store is begun
    elif kind in (None, existing):
        seal = seal_of(account, passphrase_file)
    else:
        raise UsageProblem(
            f"the store of {account.bare} is sealed with a {existing.value}; change that with: xmpp-e2e seal {kind.value}"
        )
    store = SQLStore.open(path, seal)
    try:
        return store, own_fingerprint(store), existing is not None
    except BaseException:
        store.close()
        raise


def own_fingerprint(store: SQLStore) -> Fingerprint:
    """Of the key that the store holds; it is made if there is none."""
    stored = store.identity(_create)
    return Identity(stored.certificate, stored.private_key).fingerprint


def _create() -> StoredIdentity:
    created = Identity.create(datetime.now(UTC))
    return StoredIdentity(created.certificate, created.private_key)


def password_for(account: JID, file: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """The password: from the file, the environment, the keyring, or the person at the terminal. NoPassword."""
    environment = os.environ if environment is None else environment
    if file is not None:
        return first_line(file, "password", NoPassword)
    if password := environment.get(PASSWORD_VARIABLE) or _from_keyring(account.bare):
        return password
    if not sys.stderr.isatty():
        raise NoPassword(f"there is no password for {account.bare}, and no terminal to ask for it")
    if password := getpass.getpass(f"Password of {account.bare}: "):
        return password
    raise NoPassword(f"no password was given for {account.bare}")


def _from_keyring(bare: str) -> str | None:
    """What the operating system's keyring holds for us, if the package ``keyring`` is installed and there is one."""
    if importlib.util.find_spec("keyring") is None:
        return None
    keyring = importlib.import_module("keyring")
    errors = importlib.import_module("keyring.errors")
    try:
        password: str | None = keyring.get_password(KEYRING_SERVICE, bare)
    except errors.KeyringError:  # none, or it stays locked
        return None
    return password

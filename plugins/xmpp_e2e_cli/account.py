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

from slixmpp_e2e.store import SQLStore, StoredIdentity, path_for
from xmpp_e2e.identity import Fingerprint
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e_cli.codes import UsageProblem

JID_VARIABLE = "XMPP_E2E_JID"
PASSWORD_VARIABLE = "XMPP_E2E_PASSWORD"
KEYRING_SERVICE = "xmpp-e2e"
"""``keyring set xmpp-e2e alice@example.org`` puts a password where we look."""
PASSWORD_BYTES = 4096
"""The longest password file that is read: longer ones are some other file."""


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


def open_store(account: JID) -> SQLStore:
    """The store of an account that has one. NotInitialised, StoreError."""
    if not path_for(account.bare).exists():
        raise NotInitialised(f"{account.bare} has no key on this machine; make one with: xmpp-e2e init {account.bare}")
    return SQLStore.for_jid(account.bare)


def make_store(account: JID) -> tuple[SQLStore, Fingerprint, bool]:
    """The store with an identity in it, its fingerprint, and whether it was there before. StoreError."""
    existed = path_for(account.bare).exists()
    store = SQLStore.for_jid(account.bare)
    return store, own_fingerprint(store), existed


def own_fingerprint(store: SQLStore) -> Fingerprint:
    """Of the key that the store holds; it is made if a store was begun and left without one."""
    stored = store.identity(_create)
    return Identity(stored.certificate, stored.private_key).fingerprint


def _create() -> StoredIdentity:
    created = Identity.create(datetime.now(UTC))
    return StoredIdentity(created.certificate, created.private_key)


def password_for(account: JID, file: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """The password: from the file, the environment, the keyring, or the person at the terminal. NoPassword."""
    environment = os.environ if environment is None else environment
    if file is not None:
        return _from_file(file)
    if password := environment.get(PASSWORD_VARIABLE) or _from_keyring(account.bare):
        return password
    if not sys.stderr.isatty():
        raise NoPassword(f"there is no password for {account.bare}, and no terminal to ask for it")
    if password := getpass.getpass(f"Password of {account.bare}: "):
        return password
    raise NoPassword(f"no password was given for {account.bare}")


def _from_file(file: Path) -> str:
    """The first line."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(PASSWORD_BYTES + 1)
        lines = raw.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        # From None: a decoding error carries the bytes.
        raise NoPassword(f"the password file {file} cannot be read ({reason})") from None
    if len(raw) > PASSWORD_BYTES or not lines or not lines[0]:
        raise NoPassword(f"the password file {file} holds no password in its first line")
    return lines[0]


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

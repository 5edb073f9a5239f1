"""Find the account, its store and its password. Passwords never come from argv.

Only ``init`` creates a store: a misspelt JID must not leave one behind.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from slixmpp import JID, InvalidJID

from slixmpp_e2e.store import KeyProtection, SQLStore, path_for
from slixmpp_e2e.trust.own_key import load_own_key
from xmpp_e2e.types import Fingerprint
from xmpp_e2e_cli import cmd_protection
from xmpp_e2e_cli.cmd_protection import Protection
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.secret_input import ask, read_first_line

JID_VARIABLE = "XMPP_E2E_JID"
PASSWORD_VARIABLE = "XMPP_E2E_PASSWORD"
KEYRING_SERVICE = "xmpp-e2e"
"""The service name in the keyring: ``keyring set xmpp-e2e alice@example.org`` stores a password."""


def parse_jid(text: str) -> JID:
    """Parse the bare or full JID of an account. Raises UsageError."""
    try:
        jid = JID(text)
    except InvalidJID as error:
        raise UsageError(f"{text!r} is not a JID ({error}): expected name@domain or name@domain/resource") from None
    if not jid.local or not jid.domain:
        raise UsageError(f"{text!r} is not the JID of an account: expected name@domain or name@domain/resource")
    return jid


def initialized_accounts() -> list[str]:
    """Return the bare JIDs with a store in the default folder, sorted. Those too long for a file name are not found."""
    found = path_for("nobody").parent.glob("*.db")
    return sorted(unquote(path.stem) for path in found if not path.name.startswith("~"))


def choose(named: str | None, environment: Mapping[str, str] | None = None) -> JID:
    """Return the account: ``named``, else from the environment, else the only one here. Raises UsageError."""
    environment = os.environ if environment is None else environment
    if text := named or environment.get(JID_VARIABLE):
        return JID(text) if text in initialized_accounts() else parse_jid(text)  # a component's has no name
    accounts = initialized_accounts()
    if len(accounts) == 1:
        return JID(accounts[0])
    if accounts:
        raise UsageError(
            f"there are several accounts ({', '.join(accounts)}); choose one with --account JID", UsageReason.ACCOUNT_UNCLEAR
        )
    raise UsageError("there is no account yet; create a key for one with: xmpp-e2e init JID", UsageReason.ACCOUNT_UNCLEAR)


def key_protection_of(account: JID, passphrase_file: Path | None = None) -> KeyProtection:
    """Return the protection of the account's secrets. Raises UsageError, StoreError."""
    kind = cmd_protection.protection_of(account)
    if kind is None:
        raise UsageError(
            f"{account.bare} has no key on this machine; create one with: xmpp-e2e init {account.bare}",
            UsageReason.NOT_INITIALIZED,
        )
    passphrase = cmd_protection.current_passphrase(account, passphrase_file)
    return cmd_protection.key_protection(kind, path_for(account.bare), passphrase)


def open_store(account: JID, passphrase_file: Path | None = None) -> SQLStore:
    """Open the account's store, or that of the component of which it is an address. Raises UsageError, StoreError."""
    of_component = not path_for(account.bare).exists() and path_for(account.domain).exists()
    owner = JID(account.domain) if of_component else account
    store = SQLStore.for_jid(owner.bare, protection=key_protection_of(owner, passphrase_file))
    store.component = owner.domain if not owner.local else None
    return store


def open_address(account: JID, passphrase_file: Path | None = None) -> SQLStore:
    """Open the store for what is of one address. Raises UsageError if it is a component's and none is named, StoreError."""
    store = open_store(account, passphrase_file)
    if store.component is not None and not account.local:
        store.close()
        raise UsageError(
            f"each address of the component {account.bare} has keys and secrets of its own; "
            f"name the one that is meant: --account bot@{account.bare}",
            UsageReason.ACCOUNT_UNCLEAR,
        )
    return store


def unlock(account: JID, passphrase_file: Path | None = None) -> KeyProtection:
    """Return the plugin's setting ``key_protection`` after a test, so that a wrong passphrase is noticed now.

    Raises UsageError, StoreError.
    """
    protection = key_protection_of(account, passphrase_file)
    with SQLStore.for_jid(account.bare, protection=protection) as store:
        store.load_key()
    return protection


def make_store(
    account: JID, kind: Protection | None = None, passphrase_file: Path | None = None
) -> tuple[SQLStore, Fingerprint, bool]:
    """Return the store with a key in it, the fingerprint, and whether the key existed before.

    ``kind`` None keeps the protection, or takes a key file for a new store. Raises StoreError, UsageError.
    """
    path, existing = path_for(account.bare), cmd_protection.protection_of(account)
    if existing is None:
        kind = kind or Protection.KEY_FILE
        passphrase = cmd_protection.new_passphrase(account, passphrase_file, cmd_protection.PASSPHRASE_VARIABLE)
        protection = cmd_protection.key_protection(kind, path, passphrase)
        protection.bind(path, None)
        protection.load_key()  # before the store exists: a failure leaves nothing behind
    elif kind in (None, existing):
        protection = key_protection_of(account, passphrase_file)
    else:
        raise UsageError(
            f"the store of {account.bare} is protected by a {existing.value}; "
            f"change that with: xmpp-e2e protection {kind.value}"
        )
    store = SQLStore.open(path, protection)
    try:
        existed = store.own_certificate() is not None
        return store, load_own_key(store, anew=True).fingerprint, existed
    except BaseException:
        store.close()
        raise


def password_for(account: JID, file: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the password from the file, the environment, the keyring or a prompt. Raises UsageError."""
    environment = os.environ if environment is None else environment
    if file is not None:
        return read_first_line(file, "password", UsageReason.PASSWORD_NEEDED)
    if password := environment.get(PASSWORD_VARIABLE) or _from_keyring(account.bare):
        return password
    return ask(f"Password of {account.bare}", f"password of {account.bare}", UsageReason.PASSWORD_NEEDED)


def _from_keyring(bare: str) -> str | None:
    """Return the password from the operating system's keyring; None without one or without the package ``keyring``."""
    if importlib.util.find_spec("keyring") is None:
        return None
    keyring = importlib.import_module("keyring")
    errors = importlib.import_module("keyring.errors")
    try:
        password: str | None = keyring.get_password(KEYRING_SERVICE, bare)
    except errors.KeyringError:  # no keyring, or it stays locked
        return None
    return password

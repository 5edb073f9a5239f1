"""``xmpp-e2e protection``, and the protection of a store for all commands.

A passphrase comes from a file, the environment or the terminal, in this order, and never from argv. The terminal asks only
when a protected secret is needed.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import KeyFile, KeyProtection, Keyring, Passphrase, SQLStore, key_file_beside, path_for
from xmpp_e2e_cli.errors import UsageReason
from xmpp_e2e_cli.output import Output
from xmpp_e2e_cli.password_strength import describe_weakness
from xmpp_e2e_cli.secret_input import ask, read_first_line

PASSPHRASE_VARIABLE = "XMPP_E2E_PASSPHRASE"
NEW_PASSPHRASE_VARIABLE = "XMPP_E2E_NEW_PASSPHRASE"


class Protection(enum.Enum):
    """The kinds of protection for the secrets in a store."""

    KEY_FILE = KeyFile.kind
    KEYRING = Keyring.kind
    PASSPHRASE = Passphrase.kind


SETTINGS = {Protection.KEY_FILE: "'key-file'", Protection.KEYRING: "'keyring'", Protection.PASSPHRASE: "Passphrase(…)"}
"""The values of the plugin's setting ``key_protection``."""


def current_passphrase(account: JID, file: Path | None) -> Callable[[], str]:
    """Return a function that gets the passphrase of an existing store."""
    question = f"Passphrase of the store of {account.bare}"
    return lambda: _from(file, PASSPHRASE_VARIABLE) or ask(question, "passphrase", UsageReason.PASSPHRASE_NEEDED)


def new_passphrase(account: JID, file: Path | None, variable: str) -> Callable[[], str]:
    """Return a function that gets a new passphrase."""

    def get() -> str:
        if not (passphrase := _from(file, variable)):
            question = f"New passphrase for the store of {account.bare}"
            passphrase = ask(question, "passphrase", UsageReason.PASSPHRASE_NEEDED, twice=True)
        if weak := describe_weakness(passphrase, (account.bare,)):
            Output().info(f"This is a weak passphrase: {weak} Anybody with a copy of the store has unlimited guesses.")
        return passphrase

    return get


def key_protection(kind: Protection, store: Path, passphrase: Callable[[], str]) -> KeyProtection:
    """Return the protection of this kind for the store at ``store``."""
    if kind is Protection.PASSPHRASE:
        return Passphrase(passphrase)
    return Keyring() if kind is Protection.KEYRING else key_file_beside(store)


def protection_of(account: JID) -> Protection | None:
    """Return the protection of the account's store; None without a store or with an empty one. Raises StoreError."""
    path = path_for(account.bare)
    if not path.exists():
        return None
    with SQLStore.open(path) as store:
        kind = store.protection_kind()
    # The store itself reports a kind that we do not know, when it is opened.
    return next((known for known in Protection if known.value == kind), Protection.KEY_FILE) if kind else None


def show(mine: JID, out: Output, kind: Protection) -> None:
    """Print the protection of the store."""
    out.result({"account": mine.bare, "protection": kind.value}, kind.value)


def change(store: SQLStore, mine: JID, out: Output, old: Protection, new: Protection, file: Path | None) -> None:
    """Protect the store in another way, or with another passphrase. StoreError leaves everything as it was."""
    notice = None
    if old is new is Protection.KEY_FILE:
        out.info(f"The store of {mine.bare} is protected by a key-file already; nothing has changed.")
    else:
        notice = store.change_protection(key_protection(new, store.path, new_passphrase(mine, file, NEW_PASSPHRASE_VARIABLE)))
        out.info(f"The store of {mine.bare} is now protected by a {new.value}. {notice or ''}".rstrip())
    if old is not new:
        out.info(f"Programs that use this account need the setting 'key_protection': {SETTINGS[new]} at their next start.")
    data = {"account": mine.bare, "protection": new.value, "changed": not old is new is Protection.KEY_FILE, "notice": notice}
    out.result(data, new.value)


def _from(file: Path | None, variable: str) -> str | None:
    """Return the passphrase from the file, else from the environment. Raises UsageError if the file has none."""
    return read_first_line(file, "passphrase", UsageReason.PASSPHRASE_NEEDED) if file is not None else os.environ.get(variable)

"""``xmpp-e2e seal``, and for the other commands: what seals a store, and where its passphrase is from. Never from argv.

The order is file, environment, terminal. A passphrase is asked for only if a sealed secret is needed.
"""

from __future__ import annotations

import enum
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import KeyFile, Keyring, Passphrase, Sealer, SQLStore, key_beside, path_for
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.show import Output
from xmpp_e2e_cli.words import first_line, weakness

PASSPHRASE_VARIABLE = "XMPP_E2E_PASSPHRASE"
NEW_PASSPHRASE_VARIABLE = "XMPP_E2E_NEW_PASSPHRASE"


class Seal(enum.Enum):
    """What a store can be sealed with."""

    KEY_FILE = KeyFile.kind
    KEYRING = Keyring.kind
    PASSPHRASE = Passphrase.kind


SETTINGS = {Seal.KEY_FILE: "'key-file'", Seal.KEYRING: "'keyring'", Seal.PASSPHRASE: "Passphrase(…)"}
"""What the plugin's setting ``seal`` has to be."""


class NoPassphrase(UsageProblem):
    """There is nowhere to take the passphrase from."""

    remedy = (
        f"Use --passphrase-file FILE, the environment variable {PASSPHRASE_VARIABLE}, or a terminal, where you are asked."
        f" A new one, if there is one already: --new-passphrase-file FILE, {NEW_PASSPHRASE_VARIABLE}."
    )


def present(account: JID, file: Path | None) -> Callable[[], str]:
    """Who says the passphrase that a store has."""
    return lambda: _from(file, PASSPHRASE_VARIABLE) or _typed(f"Passphrase of the store of {account.bare}: ")


def chosen(account: JID, file: Path | None, variable: str) -> Callable[[], str]:
    """Who says the passphrase that a store is to have; at the terminal twice, as nobody sees what he types."""

    def ask() -> str:
        if not (said := _from(file, variable)):
            said = _typed(f"New passphrase for the store of {account.bare}: ")
            if _typed("The same again: ") != said:
                raise NoPassphrase("the two are not the same")
        if weak := weakness(said, (account.bare,)):
            Output().tell(f"This is a weak passphrase: {weak} Whoever gets hold of the store can try as long as he likes.")
        return said

    return ask


def sealer(kind: Seal, store: Path, passphrase: Callable[[], str]) -> Sealer:
    """A sealer of this kind for the store at a path."""
    if kind is Seal.PASSPHRASE:
        return Passphrase(passphrase)
    return Keyring() if kind is Seal.KEYRING else key_beside(store)


def kind_of(account: JID) -> Seal | None:
    """What the account's store is sealed with; None if there is none, or nothing in it. StoreError."""
    path = path_for(account.bare)
    if not path.exists():
        return None
    with SQLStore.open(path) as store:
        kind = store.sealed_with()
    # One that we do not know: the store itself says so when it is opened.
    return next((seal for seal in Seal if seal.value == kind), Seal.KEY_FILE) if kind else None


def tell(mine: JID, out: Output, seal: Seal) -> None:
    """What it is."""
    out.result({"account": mine.bare, "seal": seal.value}, seal.value)


def change(store: SQLStore, mine: JID, out: Output, old: Seal, new: Seal, file: Path | None) -> None:
    """Seal the store with something else, or with another passphrase. StoreError, and nothing is changed."""
    notice = None
    if old is new is Seal.KEY_FILE:
        out.tell(f"The store of {mine.bare} is sealed with a key-file already; nothing was changed.")
    else:
        notice = store.reseal(sealer(new, store.path, chosen(mine, file, NEW_PASSPHRASE_VARIABLE)))
        out.tell(f"The store of {mine.bare} is sealed with a {new.value} now. {notice or ''}".rstrip())
    if old is not new:
        out.tell(f"Programs that use this account need the setting 'seal': {SETTINGS[new]} when they start the next time.")
    data = {"account": mine.bare, "seal": new.value, "changed": not old is new is Seal.KEY_FILE, "notice": notice}
    out.result(data, new.value)


def _from(file: Path | None, variable: str) -> str | None:
    """From the file, or else the environment. NoPassphrase if the file has none."""
    return first_line(file, "passphrase", NoPassphrase) if file is not None else os.environ.get(variable)


def has_terminal() -> bool:
    """Is there a person to ask?"""
    return sys.stderr.isatty()


def _typed(prompt: str) -> str:
    if not has_terminal():
        raise NoPassphrase("the store is sealed with a passphrase, and there is no terminal to ask for it")
    if said := getpass.getpass(prompt):
        return said
    raise NoPassphrase("no passphrase was given")

"""``xmpp-e2e backup`` and ``restore``: a copy of an account's store in one file, sealed by a passphrase of its own."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import Passphrase, SQLStore, path_for, read_backup, restore, write_backup
from slixmpp_e2e.trust.own_key import load_own_key
from xmpp_e2e_cli import account
from xmpp_e2e_cli.errors import UsageReason
from xmpp_e2e_cli.output import Output
from xmpp_e2e_cli.password_strength import describe_weakness
from xmpp_e2e_cli.secret_input import ask, read_first_line

BACKUP_PASSPHRASE_VARIABLE = "XMPP_E2E_BACKUP_PASSPHRASE"


def back_up(mine: JID, out: Output, file: Path, own_file: Path | None, backup_file: Path | None, *, overwrite: bool) -> None:
    """Write the account's store to ``file``. Raises UsageError, StoreError."""
    with closing(account.open_store(mine, own_file)) as store:
        fingerprint = load_own_key(store).fingerprint
        write_backup(store, file, Passphrase(lambda: _passphrase(file, backup_file, new=True)), overwrite=overwrite)
    data = {"account": mine.bare, "fingerprint": str(fingerprint), "file": str(file)}
    out.result(data, str(file))
    out.info("It opens with its passphrase alone. What is decided from now on, a blocked key for instance, is not in it.")


def put_back(out: Output, file: Path, backup_file: Path | None, *, overwrite: bool) -> None:
    """Make the store of the account from ``file``. Raises UsageError, StoreError."""
    backup = read_backup(file, Passphrase(lambda: _passphrase(file, backup_file, new=False)))
    path = path_for("nobody").with_name(Path(backup.name).name)
    moved = restore(backup, path, overwrite=overwrite)
    with SQLStore.open(path) as store:
        fingerprint = load_own_key(store).fingerprint
    data = {"store": str(path), "fingerprint": str(fingerprint), "moved": [str(old) for old in moved]}
    out.result(data, str(fingerprint))
    for old in moved:
        out.info(f"The earlier file was kept: {old}")
    out.info(f"The store is {path}, protected by a key-file beside it; xmpp-e2e protection changes that.")
    out.info("Use the identity in one place only: end the programs that use the original.")


def _passphrase(file: Path, given: Path | None, *, new: bool) -> str:
    """Return the passphrase from the file, the environment or the terminal. Raises UsageError."""
    if given is not None:
        found: str | None = read_first_line(given, "passphrase", UsageReason.BACKUP_PASSPHRASE_NEEDED)
    else:
        found = os.environ.get(BACKUP_PASSPHRASE_VARIABLE)
    if not found:
        question = f"{'New passphrase' if new else 'Passphrase'} of the backup {file}"
        found = ask(question, "passphrase", UsageReason.BACKUP_PASSPHRASE_NEEDED, twice=new)
    if new and (weak := describe_weakness(found, ())):
        Output().info(f"This is a weak passphrase: {weak} Anybody with the backup has unlimited guesses.")
    return found

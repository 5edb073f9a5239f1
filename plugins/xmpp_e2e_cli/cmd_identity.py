"""``xmpp-e2e identity``: give up the account's own key, for a new one or for good."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import delete_identity, path_for
from slixmpp_e2e.trust.own_key import load_own_key, rotate_own_key
from xmpp_e2e_cli import account, prompts
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.output import Output


def rotate(mine: JID, out: Output, passphrase_file: Path | None) -> None:
    """Replace the account's key by a new one. Raises UsageError, StoreError."""
    with closing(account.open_store(mine, passphrase_file)) as store:
        old = load_own_key(store).fingerprint
        new = rotate_own_key(store, store.component or mine.bare).fingerprint
    out.result({"account": mine.bare, "fingerprint": str(new), "old": str(old)}, str(new))
    out.info(
        f"This is the fingerprint of {mine.bare} on this device from now on; it was {old}.\n"
        "Programs that are running take it up within about a second, and announce it in the sessions that are open. Peers who\n"
        "have verified the old key take the new one for verified, now or in the next session; all others see a new key, and\n"
        "compare it. The old key is deleted here. Earlier backups still hold it, and peers refuse it: make a new backup."
    )


def delete(mine: JID, out: Output, *, everything: bool, confirmed: bool) -> None:
    """Delete the account's key, after a confirmation. Raises UsageError, StoreError."""
    protection = account.key_protection_of(mine)
    what = "everything in the store: the key, what you know of peers, shared secrets" if everything else "the key"
    if not confirmed:
        _confirm(out, f"Delete {what} of {mine.bare}? Without a backup it cannot be brought back. [y/N] ")
    delete_identity(path_for(mine.bare), protection, everything=everything)
    out.result({"account": mine.bare, "deleted": "everything" if everything else "identity"}, f"Deleted {what}.")
    out.info(
        "Peers still remember the old key. A new one will be a stranger's to them: who has verified the old one holds the new\n"
        "one until they have compared it. Backups, and older stores beside this one, still hold the old key.\n"
        f"No program makes a new one by itself. To make one: xmpp-e2e init {mine.bare}"
    )


def _confirm(out: Output, question: str) -> None:
    """Return if the user says yes. Raises UsageError."""
    if not prompts.has_terminal():
        raise UsageError("there is no terminal to ask at; if you are sure: --yes", UsageReason.NO_TERMINAL)
    out.ask(question)
    if sys.stdin.readline().strip().casefold() not in prompts.YES:
        raise UsageError("nothing was deleted")

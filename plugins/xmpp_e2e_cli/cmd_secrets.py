"""``xmpp-e2e psk``, ``password`` and ``trust unlock``: manage the secrets that the account shares with a peer.

A secret comes from a file, else a key from standard input and a password from the terminal. Never from argv.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from contextlib import closing, suppress
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.secrets import PeerSecrets
from slixmpp_e2e.trust.trust_file.secret_file import SECRET_FILE_BYTES, decode_psk, encode_psk
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e_cli import account
from xmpp_e2e_cli.cmd_keys import SECRET_NAMES
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.output import Output
from xmpp_e2e_cli.password_strength import describe_weakness
from xmpp_e2e_cli.secret_input import ask, read_first_line


def generate_key() -> bytes:
    """Return a new pre-shared key."""
    return os.urandom(KEY_BYTES)


class SecretCommands:
    """The commands for the secrets that one account shares with one peer."""

    def __init__(self, mine: JID, peer: JID, out: Output, passphrase_file: Path | None = None) -> None:
        self._mine, self._peer, self._out = mine.bare, peer.bare, out
        self._passphrase_file = passphrase_file

    def create_key(self) -> None:
        """Create, store and print a key."""
        key = generate_key()
        replaced = self._put("psk", key)
        print_key(self._out, key, {"account": self._mine, "peer": self._peer, "replaced": replaced})
        self._stored("psk", replaced)
        self._out.info(f"Give it to the peer over a channel that nobody else can read. They run: xmpp-e2e psk add {self._mine}")

    def add_key(self, file: Path | None) -> None:
        """Store a key that the peer has created. Raises UsageError."""
        try:
            key = decode_psk(read_key(file))
        except ValueError as error:
            raise UsageError(
                f"{error}: for a password, use xmpp-e2e password {self._peer}", UsageReason.INVALID_SECRET
            ) from None
        self._done("psk", self._put("psk", key))

    def set_password(self, file: Path | None) -> None:
        """Store a password that both have agreed on. Raises UsageError."""
        with self._store():  # fail before the user types anything if there is no store
            pass
        password = read_shared_password(self._peer, file, twice=True)
        value = derive_srp_secret(password, self._mine, self._peer)
        if weak := describe_weakness(password, (self._mine, self._peer)):
            self._out.info(f"This is a weak password: {weak} An impostor of the peer gets one guess per session.")
        self._done("srp", self._put("srp", value))
        with self._store() as store:
            if store.failed_attempts(self._peer, "srp", self._mine) >= MAX_PASSWORD_ATTEMPTS:
                locked = f"It is locked after {MAX_PASSWORD_ATTEMPTS} wrong guesses."
                self._out.info(f"{locked} To unlock it: xmpp-e2e trust unlock {self._peer}")

    def forget(self, kind: str) -> None:
        """Delete the shared secret of this kind. Raises UsageError."""
        with self._store() as store:
            if not self._secrets(store).forget(self._peer, kind, self._mine):
                raise UsageError(f"no {SECRET_NAMES[kind]} is shared with {self._peer}", UsageReason.SECRET_NOT_FOUND)
        data = {"account": self._mine, "peer": self._peer, "done": "forgotten", "method": kind}
        self._out.result(data, f"Forgot the {SECRET_NAMES[kind]} that {self._mine} shared with {self._peer}.")
        self._out.info("Keys that it has verified stay verified. xmpp-e2e trust forget forgets them.")

    def unlock(self) -> None:
        """Reset the count of wrong guesses, so that the password can be tried again; of a component at one address or all."""
        mine = JID(self._mine)
        with closing(account.open_store(mine, self._passphrase_file)) as store:
            count = self._secrets(store).unlock_password(self._peer, self._mine if mine.local else None)
        text = f"Forgot {count} wrong guesses. The password of {self._peer} can be tried again."
        if count < MAX_PASSWORD_ATTEMPTS:
            text = f"The password of {self._peer} was not locked. Forgot {count} wrong guesses."
        data = {"account": self._mine, "peer": self._peer, "done": "unlocked", "failures": count}
        self._out.result(data | {"changed": count > 0}, text)
        if count >= MAX_PASSWORD_ATTEMPTS:
            self._out.info("If neither of you mistyped it, somebody has guessed. Agree on a new password over another channel.")

    def _store(self) -> closing[SQLStore]:
        return closing(account.open_address(JID(self._mine), self._passphrase_file))

    def _secrets(self, store: SQLStore) -> PeerSecrets:
        return PeerSecrets(store, store.component or self._mine)

    def _put(self, kind: str, value: bytes) -> bool:
        """Store a secret; return whether it replaced another."""
        with self._store() as store:
            return self._secrets(store).put(self._peer, kind, value, self._mine)

    def _done(self, kind: str, replaced: bool) -> None:
        data = {"account": self._mine, "peer": self._peer, "done": "stored", "method": kind, "replaced": replaced}
        self._out.result(data)
        self._stored(kind, replaced)

    def _stored(self, kind: str, replaced: bool) -> None:
        again = ", which replaces the earlier one" if replaced else ""
        self._out.info(
            f"{self._mine} shares a {SECRET_NAMES[kind]} with {self._peer}{again}. It must verify each unverified key of the "
            "peer before anything is sent or delivered."
        )


def read_shared_password(peer: str, file: Path | None, *, twice: bool) -> str:
    """Return the password that the user shares with a peer, from the file or the terminal. Raises UsageError."""
    if file is not None:
        return read_first_line(file, "password", UsageReason.INVALID_SECRET)
    question, otherwise = f"Password that you share with {peer}", "; --file names a file with it in its first line"
    return ask(question, "password", UsageReason.INVALID_SECRET, otherwise=otherwise, twice=twice)


def print_key(out: Output, key: bytes, data: dict[str, object]) -> None:
    """Print a new key, for the user to give to the peer. No other output ever shows a key."""
    if _restrict_output():
        out.info("Other users could have read the file with the key. Now you alone can (mode 600), as a trust file demands.")
    out.result({**data, "psk": encode_psk(key)}, encode_psk(key))


def _restrict_output() -> bool:
    """Take the permissions of other users from the file to which our output goes, if it does; return whether there were any."""
    with suppress(OSError, ValueError):  # no file, or none of ours
        status = os.fstat(sys.stdout.fileno())
        if hasattr(os, "fchmod") and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            os.fchmod(sys.stdout.fileno(), status.st_mode & 0o700)
            return True
    return False


def read_key(file: Path | None) -> str:
    """Read a key from the file, the terminal or standard input. Raises UsageError."""
    if file is not None:
        return read_first_line(file, "key", UsageReason.INVALID_SECRET)
    if sys.stdin.isatty():
        return getpass.getpass("The key (psk:…): ").strip()
    try:
        text = sys.stdin.buffer.read(SECRET_FILE_BYTES + 1).decode()
    except UnicodeDecodeError:
        text = ""  # rejected below, as any other text that is not a key
    return text.strip() if len(text) <= SECRET_FILE_BYTES else ""

"""``xmpp-e2e psk``, ``password`` and ``trust unlock``: the secrets that two people share, in the store. Never from argv.

The order is file, then standard input for a key, or the terminal for a password.
"""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import closing
from pathlib import Path

from slixmpp import JID

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.secrets import Shared
from slixmpp_e2e.trust.trust_file.secret_file import psk_in, psk_text
from slixmpp_e2e.verification.verifier import GUESSES
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e_cli import account, sealing
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.show import Output
from xmpp_e2e_cli.trusting import SHARED
from xmpp_e2e_cli.words import WORD_BYTES, first_line, weakness


class NoSecret(UsageProblem):
    """What was given is no key, or no password."""


class NothingShared(UsageProblem):
    """There is no such secret."""


def new_key() -> bytes:
    """A pre-shared key."""
    return os.urandom(KEY_BYTES)


class Sharing:
    """What one account shares with one peer."""

    def __init__(self, mine: JID, peer: JID, out: Output, passphrase_file: Path | None = None) -> None:
        self._mine, self._peer, self._out = mine.bare, peer.bare, out
        self._passphrase_file = passphrase_file

    def make_key(self) -> None:
        """A key is made, stored and printed."""
        key = new_key()
        replaced = self._put("psk", key)
        tell_key(self._out, key, {"account": self._mine, "peer": self._peer, "replaced": replaced})
        self._stored("psk", replaced)
        self._out.tell(f"Bring it to the peer by a way that nobody can read; there: xmpp-e2e psk add {self._mine}")

    def add_key(self, file: Path | None) -> None:
        """A key that the peer has made. NoSecret."""
        try:
            key = psk_in(key_from(file))
        except ValueError as error:
            raise NoSecret(f"{error}: for a password there is xmpp-e2e password {self._peer}") from None
        self._done("psk", self._put("psk", key))

    def set_password(self, file: Path | None) -> None:
        """A password on which the two have agreed. NoSecret."""
        with self._store():  # is there one? Nobody types for nothing
            pass
        password = first_line(file, "password", NoSecret) if file is not None else self._typed()
        value = stretched(password, self._mine, self._peer)
        if weak := weakness(password, (self._mine, self._peer)):
            self._out.tell(f"This is a weak password: {weak} Whoever poses as the peer gets a guess with each session.")
        self._done("srp", self._put("srp", value))
        with self._store() as store:
            if store.failures(self._peer, "srp") >= GUESSES:
                self._out.tell(f"It is locked after {GUESSES} wrong guesses: xmpp-e2e trust unlock {self._peer}")

    def forget(self, kind: str) -> None:
        """Nothing of this kind is shared any more. NothingShared."""
        with self._store() as store:
            if not Shared(store, self._mine).forget(self._peer, kind):
                raise NothingShared(f"no {SHARED[kind]} is shared with {self._peer}")
        data = {"account": self._mine, "peer": self._peer, "done": "forgotten", "kind": kind}
        self._out.result(data, f"Forgot the {SHARED[kind]} that {self._mine} shared with {self._peer}.")
        self._out.tell("Keys of his that it has verified stay verified; xmpp-e2e trust forget forgets them.")

    def unlock(self) -> None:
        """Wrong guesses are forgotten; it can be tried again."""
        with self._store() as store:
            count = Shared(store, self._mine).unlock(self._peer)
        text = f"{count} wrong guesses are forgotten: the password of {self._peer} can be tried again."
        if count < GUESSES:
            text = f"The password of {self._peer} was not locked ({count} wrong guesses, which are forgotten)."
        data = {"account": self._mine, "peer": self._peer, "done": "unlocked", "failures": count}
        self._out.result(data | {"changed": count > 0}, text)
        if count >= GUESSES:
            self._out.tell("If you did not mistype it yourselves, somebody has guessed: agree on a new one by another way.")

    def _store(self) -> closing[SQLStore]:
        return closing(account.open_store(JID(self._mine), self._passphrase_file))

    def _put(self, kind: str, value: bytes) -> bool:
        """In the place of what there was, if there was anything."""
        with self._store() as store:
            return Shared(store, self._mine).put(self._peer, kind, value)

    def _done(self, kind: str, replaced: bool) -> None:
        data = {"account": self._mine, "peer": self._peer, "done": "stored", "kind": kind, "replaced": replaced}
        self._out.result(data)
        self._stored(kind, replaced)

    def _stored(self, kind: str, replaced: bool) -> None:
        again = ", in the place of the one that was there" if replaced else ""
        self._out.tell(
            f"{self._mine} shares a {SHARED[kind]} with {self._peer}{again}. It has to prove each key of his that is not "
            "verified, before anything is sent or delivered."
        )

    def _typed(self) -> str:
        """Twice, as nobody sees what he types."""
        if not sealing.has_terminal():
            raise NoSecret("there is no terminal to ask for the password; --file names a file that has it in its first line")
        typed = getpass.getpass(f"Password that you share with {self._peer}: ")
        if not typed:
            raise NoSecret("no password was given")
        if getpass.getpass("The same again: ") != typed:
            raise NoSecret("the two are not the same")
        return typed


def tell_key(out: Output, key: bytes, data: dict[str, object]) -> None:
    """The one place where a key is shown: it has just been made, and somebody has to take it to the peer."""
    out.result({**data, "psk": psk_text(key)}, psk_text(key))


def key_from(file: Path | None) -> str:
    """What is to be a key, from the file, the terminal, or standard input. NoSecret."""
    if file is not None:
        return first_line(file, "key", NoSecret)
    if sys.stdin.isatty():
        return getpass.getpass("The key (psk:…): ").strip()
    try:
        text = sys.stdin.buffer.read(WORD_BYTES + 1).decode()
    except UnicodeDecodeError:
        text = ""  # no key, as what follows will say
    return text.strip() if len(text) <= WORD_BYTES else ""

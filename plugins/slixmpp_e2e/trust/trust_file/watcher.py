"""Hold the rules of the trust file, and read the file again when it or a file that it names changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.errors import TrustFileError
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.trust.trust_file.parse import FileVersion, TrustFileRules, file_version, read_trust_file
from xmpp_e2e.types import Assurance, KnownKey, TrustModel

log = logging.getLogger("slixmpp_e2e")

POLL_SECONDS = 1.0
"""Between two looks at the trust file and the files that it names. A user who edits it waits for the effect; a look takes a few
microseconds for each file."""
DERIVED_PASSWORDS = 4096
"""Derived passwords that are kept, some hundred bytes each. The oldest is dropped first, and derived again in 140 ms."""


class PasswordKey(NamedTuple):
    """Names a derived password. asyncio logs the arguments of a callback that raises, so the password is not shown."""

    password: str
    our_jid: str
    """Bare, as the peer's."""
    peer: str

    def __repr__(self) -> str:
        return f"PasswordKey({self.our_jid}, {self.peer})"


class TrustFile:
    """The rules of a trust file. TrustFileError if the file is bad from the beginning; without a path there are no rules."""

    def __init__(self, path: Path | None, trust_model: TrustModel | None = None) -> None:
        """``trust_model`` holds where the file says nothing."""
        self._path, self._trust_model = path and path.expanduser(), trust_model
        self._versions: dict[Path, FileVersion] = {}
        self.rules = TrustFileRules() if self._path is None else read_trust_file(self._path, self._versions, trust_model)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._our_jid: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._derived: dict[PasswordKey, bytes] = {}
        self._reading: asyncio.Future[TrustFileRules] | None = None
        self._deriving: asyncio.Future[bytes] | None = None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        our_jid: str | None,
        *,
        on_change: Callable[[TrustFileRules, TrustFileRules], None],
        on_error: Callable[[TrustFileError], None],
    ) -> None:
        """Watch the file, from now on by this ``loop``.

        ``on_change`` gets the old and the new rules; after ``on_error`` the old rules stay in effect.

        ``our_jid`` is the account for which passwords are derived ahead, or None for a component, which has many accounts.
        """
        self.stop()
        if self._path is not None:
            self._loop, self._our_jid, self._on_change, self._on_error = loop, our_jid, on_change, on_error
            self._timer = loop.call_later(POLL_SECONDS, self._poll)
            self._derive_next()

    def stop(self) -> None:
        """Stop watching the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = self._reading = self._deriving = None

    # --- the content ------------------------------------------------------------------------------------------------

    def pinned_keys(self, bare: str) -> tuple[KnownKey, ...]:
        """Return the keys that the file pins for an account. Their date is that of the file."""
        version = self._versions.get(self._path) if self._path is not None else None
        since = version[0] / 1e9 if version else 0.0
        return tuple(KnownKey(pin, Assurance.VERIFIED, "pin", since) for pin in self.rules.of(bare)[0].pin)

    def secrets(self, bare: str, our_jid: str) -> dict[str, bytes]:
        """Return the secrets that the file shares with an account, by method. Empty: a password that was not derived yet."""
        rule = self.rules.of(bare)[0]
        found = {} if rule.psk is None else {"psk": rule.psk}
        if rule.password is not None:
            found["srp"] = self._derived.get(PasswordKey(rule.password, our_jid, bare), b"")
        return found

    def password(self, bare: str, our_jid: str) -> PasswordKey | None:
        """Return what ``derive()`` takes, if the file shares a password with an account."""
        password = self.rules.of(bare)[0].password
        return None if password is None else PasswordKey(password, our_jid, bare)

    def derive(self, key: PasswordKey) -> bytes:
        """Return the derived password, which takes 140 ms: call it in a thread. LocalError if it cannot be derived."""
        return self._derived.get(key) or derive_srp_secret(*key)

    def keep(self, key: PasswordKey, derived: bytes) -> None:
        """Keep what ``derive()`` returned, so that the next session does not wait for it."""
        keep_newest(self._derived, key, derived, DERIVED_PASSWORDS)

    # --- changes ----------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        loop, path = self._loop, self._path
        assert loop is not None
        assert path is not None
        if all(file_version(file) == version for file, version in self._versions.items()):
            self._timer = loop.call_later(POLL_SECONDS, self._poll)
            return
        versions: dict[Path, FileVersion] = {}
        self._reading = loop.run_in_executor(None, read_trust_file, path, versions, self._trust_model)
        self._reading.add_done_callback(partial(self._on_read, versions))

    def _on_read(self, versions: dict[Path, FileVersion], reading: asyncio.Future[TrustFileRules]) -> None:
        if self._loop is None or reading is not self._reading:
            return  # it was stopped, or started on another loop
        self._versions = versions  # also of a bad file: it is reported once, and read again after the next change
        self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        try:
            new = reading.result()
        except TrustFileError as error:
            self._on_error(error)
            return
        old, self.rules = self.rules, new
        log.info("the trust file was read again: %s accounts, %s domains", len(new.accounts), len(new.domains))
        for key in [key for key in self._derived if not self._is_needed(key)]:
            del self._derived[key]
        self._derive_next()
        self._on_change(old, new)

    def _derive_next(self) -> None:
        """Derive the next password in a thread, so that nobody has to wait for it later."""
        loop, our_jid = self._loop, self._our_jid
        if loop is None or our_jid is None or self._deriving is not None or len(self._derived) >= DERIVED_PASSWORDS:
            return
        rules = self.rules.accounts.items()
        keys = (PasswordKey(rule.password, our_jid, bare) for bare, rule in rules if rule.password is not None)
        if (key := next((key for key in keys if key not in self._derived), None)) is not None:
            with suppress(RuntimeError):  # asyncio.run() is ending: no thread takes more work
                self._deriving = loop.run_in_executor(None, derive_srp_secret, *key)
                self._deriving.add_done_callback(partial(self._on_derived, key))

    def _on_derived(self, key: PasswordKey, deriving: asyncio.Future[bytes]) -> None:
        if deriving is not self._deriving:
            return
        self._deriving = None
        if deriving.exception() is not None:
            return  # derive() raises the error where the password is needed
        if self._is_needed(key):
            self.keep(key, deriving.result())
        self._derive_next()

    def _is_needed(self, key: PasswordKey) -> bool:
        """Return whether the rules still have this password for the peer."""
        return self.rules.of(key.peer)[0].password == key.password

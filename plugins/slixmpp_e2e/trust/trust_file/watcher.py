"""What the trust file says now, asked beside the store; it is looked at every second, and read again when it has changed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.trust_file.parse import Rules, Stamp, TrustFileWrong, read, stamp
from xmpp_e2e.config import Each
from xmpp_e2e.identity import Assurance, KnownKey, Remembered, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e.trust.store import PeerPolicy

log = logging.getLogger("slixmpp_e2e")

LOOK_SECONDS = 1.0
"""Between two looks at the file and those that it names. Somebody has edited it and waits for the effect; a look costs a few
microseconds a file."""
STRETCHED = 4096
"""Stretched passwords that are kept, at some hundred bytes; the oldest goes first, and is made again in 140 ms."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Terms:
    """What holds for a peer, all said."""

    policy: Policy
    trust_model: TrustModel
    on_key_change: OnKeyChange
    require: Assurance = Assurance.NONE
    each: Each = Each.FIRST


class Host(Protocol):
    """What this needs of the plugin."""

    loop: asyncio.AbstractEventLoop

    def rules_changed(self, old: Rules, new: Rules) -> None:
        """The file says something else now."""

    def trust_file_failed(self, error: TrustFileWrong) -> None:
        """The file has become bad: the old rules hold."""


class Declared:
    """The rules of a trust file, or none. TrustFileWrong if they are bad from the beginning."""

    def __init__(self, path: Path | None, defaults: Terms) -> None:
        self._path, self._defaults = path and path.expanduser(), defaults
        self._stamps: dict[Path, Stamp] = {}
        self.rules = Rules() if self._path is None else read(self._path, self._stamps)
        self._host: Host | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stretched: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._ours: str | None = None
        self._preparing: asyncio.Future[bytes] | None = None

    def start(self, host: Host, ours: str | None) -> None:
        """Look from now on. ``ours``: the account whose passwords can be made ready, or None if there are many."""
        if self._path is not None:
            self._host, self._ours = host, ours
            self._timer = host.loop.call_later(LOOK_SECONDS, self._look)
            self._prepare()

    def stop(self) -> None:
        """The plugin ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._host = None

    # --- what it says ----------------------------------------------------------------------------------------------

    def terms(self, bare: str, stored: PeerPolicy) -> Terms:
        """What holds for an account: the file's word for it, what a program has stored for it, the file's word for its
        domain, and the settings, in this order."""
        account, domain = self.rules.of(bare)
        default = self._defaults
        return Terms(
            policy=_first(account.policy, stored.policy, domain.policy, default.policy),
            trust_model=_first(account.trust_model, stored.trust_model, domain.trust_model, default.trust_model),
            on_key_change=_first(account.on_key_change, stored.on_key_change, domain.on_key_change, default.on_key_change),
            require=_first(account.require, domain.require, default.require, default.require),
            each=_first(account.each, domain.each, default.each, default.each),
        )

    def names(self, bare: str) -> bool:
        """Does the file name this very account?"""
        return bare in self.rules.accounts

    def remembered(self, bare: str, stored: Remembered) -> Remembered:
        """The keys of the store, and those that are pinned in the file; a key that the user has blocked stays blocked."""
        pins = self.rules.of(bare)[0].pin
        if not pins:
            return stored
        changed = self._stamps.get(self._path) if self._path is not None else None
        since = changed[0] / 1e9 if changed else 0.0
        known = {key.fingerprint: key for key in stored.keys}
        for pin in pins:
            key = known.get(pin, KnownKey(pin, Assurance.VERIFIED, "pin", since))
            if key.assurance < Assurance.VERIFIED and not key.blocked:
                key = replace(key, assurance=Assurance.VERIFIED, method="pin")
            known[pin] = key
        return Remembered(tuple(known.values()))

    def secrets(self, bare: str, ours: str) -> dict[str, bytes]:
        """What the file lets us share with an account, by method. LocalError if a password cannot be stretched.

        The first time with a password it takes 140 ms here, if it was not made ready.
        """
        rule = self.rules.of(bare)[0]
        found = {} if rule.psk is None else {"psk": rule.psk}
        if rule.password is not None:
            key = (rule.password, ours, bare)
            found["srp"] = self._stretched[key] if key in self._stretched else self._keep(key, stretched(*key))
        return found

    def _keep(self, key: tuple[str, str, str], value: bytes) -> bytes:
        self._stretched[key] = value
        if len(self._stretched) > STRETCHED:
            self._stretched.popitem(last=False)
        return value

    # --- what changes ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        host, path = self._host, self._path
        assert host is not None
        assert path is not None
        if all(stamp(file) == was for file, was in self._stamps.items()):
            self._timer = host.loop.call_later(LOOK_SECONDS, self._look)
            return
        stamps: dict[Path, Stamp] = {}
        reading = host.loop.run_in_executor(None, read, path, stamps)
        reading.add_done_callback(partial(self._was_read, stamps))

    def _was_read(self, stamps: dict[Path, Stamp], done: asyncio.Future[Rules]) -> None:
        host = self._host
        if host is None or done.cancelled():
            return
        self._stamps = stamps  # of a bad file too: it is told once, and read again when somebody has worked on it
        self._timer = host.loop.call_later(LOOK_SECONDS, self._look)
        try:
            new = done.result()
        except TrustFileWrong as error:
            host.trust_file_failed(error)
            return
        old, self.rules = self.rules, new
        log.info("the trust file was read again: %s accounts, %s domains", len(new.accounts), len(new.domains))
        for key in [key for key in self._stretched if _password(new, key[2]) != key[0]]:
            del self._stretched[key]
        self._prepare()
        host.rules_changed(old, new)

    def _prepare(self) -> None:
        """Stretch the next password that is not ready, in a thread: nobody is to wait for it later."""
        host, ours = self._host, self._ours
        if host is None or ours is None or self._preparing is not None or len(self._stretched) >= STRETCHED:
            return
        wanted = ((rule.password, ours, bare) for bare, rule in self.rules.accounts.items() if rule.password is not None)
        if (key := next((key for key in wanted if key not in self._stretched), None)) is not None:
            self._preparing = host.loop.run_in_executor(None, stretched, *key)
            self._preparing.add_done_callback(partial(self._prepared, key))

    def _prepared(self, key: tuple[str, str, str], done: asyncio.Future[bytes]) -> None:
        self._preparing = None
        if done.cancelled() or done.exception() is not None:
            return  # whoever needs it hears why it cannot be
        if _password(self.rules, key[2]) == key[0]:
            self._keep(key, done.result())
        self._prepare()


def _password(rules: Rules, bare: str) -> str | None:
    return rules.of(bare)[0].password


def _first(one: _T | None, two: _T | None, three: _T | None, default: _T) -> _T:
    return next((said for said in (one, two, three) if said is not None), default)

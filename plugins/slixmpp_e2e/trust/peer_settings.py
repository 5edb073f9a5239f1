"""Find the settings that are in effect for one account, and the keys that are known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from slixmpp_e2e.bounded import keep_newest
from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.policy import Outgoing, Policy, check_combination, outgoing
from slixmpp_e2e.store import PeerPolicy, SQLStore
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, KnownKeys, TrustModel

CACHED_PEERS = 32_768
"""Accounts whose settings are kept in memory: as a large component has, some 400 bytes each: 13 MB. The oldest goes first."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class PeerSettings:
    """The settings for one account at one moment: everything that a decision about a stanza or session needs."""

    policy: Policy
    """``off`` if the trust model trusts servers completely, ``require`` if it trusts them with nothing."""
    trust_model: TrustModel
    on_key_change: OnKeyChange
    verify_when: VerifyWhen = VerifyWhen.FIRST
    """When shared keys and passwords must prove the peer's key."""
    min_assurance: Assurance = Assurance.NONE
    """The least assurance of the peer's key, beyond what the trust model demands."""
    plaintext_allowed: bool = False
    """The user has called ``allow_plaintext(peer)``."""
    has_used_e2e: bool = False
    """We have met the peer: an offer was accepted, or a session was open. What they only advertise does not count."""
    has_policy: bool = False
    """The user has set a policy for this very account, in the store."""

    @property
    def allows_plaintext(self) -> bool:
        """True if plaintext may leave to the peer while they seem to have no encryption."""
        verdict = outgoing(
            self.policy, advertised=None, seen_before=self.has_used_e2e, plaintext_allowed=self.plaintext_allowed
        )
        return verdict is Outgoing.PLAINTEXT


class PeerSettingsLookup:
    """Combines the trust file, the store and the plugin's settings. All methods raise StoreError."""

    def __init__(
        self, store: SQLStore, trust_file: TrustFile, defaults: PeerSettings, on_change: Callable[[str], None]
    ) -> None:
        """``defaults`` are the plugin's settings, for accounts without their own.

        ``on_change`` hears of accounts whose settings this program has changed.
        """
        self._store, self._trust_file, self._defaults, self._on_change = store, trust_file, defaults, on_change
        self._cache: dict[str, PeerSettings] = {}
        self._cached_rules = trust_file.rules
        self._changed = store.watch_settings()

    def of(self, bare: str, max_age: float = 0.0) -> PeerSettings:
        """Return the settings for an account, as they are now, or in another process were ``max_age`` seconds ago.

        Cheap, as it is asked for every stanza: it takes 5 µs to see that nobody has written, and nothing within ``max_age``.
        """
        for changed in self._changed(max_age):  # a write about one account costs the others nothing
            self._cache.pop(changed, None)
        if (rules := self._trust_file.rules) is not self._cached_rules:
            self._cache.clear()
            self._cached_rules = rules
        settings = self._cache.get(bare)
        if settings is None:
            settings = self._look_up(bare)
            keep_newest(self._cache, bare, settings, CACHED_PEERS)
        return settings

    def _look_up(self, bare: str) -> PeerSettings:
        """Return the settings for an account.

        For each setting the first answer counts: the trust file's rule for the account, the store, the trust file's rule for
        the account's domain, the defaults.
        """
        account, domain = self._trust_file.rules.of(bare)
        stored, default = self._store.policy(bare), self._defaults
        trust_model = _first(account.trust_model, stored.trust_model, domain.trust_model, default.trust_model)
        return PeerSettings(
            policy=_first(account.policy, stored.policy, domain.policy, default.policy).effective_with(trust_model),
            trust_model=trust_model,
            on_key_change=_first(account.on_key_change, stored.on_key_change, domain.on_key_change, default.on_key_change),
            verify_when=_first(account.verify_when, None, domain.verify_when, default.verify_when),
            min_assurance=_first(account.min_assurance, None, domain.min_assurance, default.min_assurance),
            plaintext_allowed=stored.plaintext_allowed,
            has_used_e2e=self._store.has_used_e2e(bare),
            has_policy=stored.policy is not None,
        )

    def set_defaults(self, defaults: PeerSettings) -> None:
        """Replace what holds for everybody about whom nothing else is said."""
        self._defaults = defaults
        self._cache.clear()

    def set_policy(self, bare: str, policy: Policy | None = None, trust_model: TrustModel | None = None) -> None:
        """Store a policy and a trust model for an account; None leaves what is there. ConfigError if they contradict."""

        def change(stored: PeerPolicy) -> PeerPolicy:
            changed = replace(stored, policy=policy or stored.policy, trust_model=trust_model or stored.trust_model)
            account, domain = self._trust_file.rules.of(bare)
            model = _first(account.trust_model, changed.trust_model, domain.trust_model, self._defaults.trust_model)
            try:
                check_combination(changed.policy, model)
            except ValueError as error:
                raise ConfigError(f"for {bare}: {error}") from None
            return changed

        self._change(bare, change)

    def allow_plaintext(self, bare: str, allowed: bool) -> None:
        """Store whether plaintext may leave to an account while it is without encryption."""
        self._change(bare, lambda stored: replace(stored, plaintext_allowed=allowed))

    def _change(self, bare: str, change: Callable[[PeerPolicy], PeerPolicy]) -> None:
        with self._store.at_once():
            self._store.change_policy(bare, change)
        self._on_change(bare)

    def is_known_account(self, bare: str) -> bool:
        """Return whether this account, and not a room with its address, is one that we have dealt with.

        It is if the trust file names it, it has used E2E encryption, the user has set a policy for it, or a key of it is known.
        """
        if bare in self._trust_file.rules.accounts:
            return True
        settings = self.of(bare)
        return settings.has_used_e2e or settings.has_policy or self._store.remembers(bare)

    def is_pinned(self, bare: str, key: Fingerprint) -> bool:
        """Return whether the trust file pins this key."""
        return any(pin.fingerprint == key for pin in self._trust_file.pinned_keys(bare))

    def known_keys(self, bare: str, own: str) -> KnownKeys:
        """Return the keys of an account that an account of ours (``own``) knows, and those that the trust file pins for all.

        A blocked key stays blocked.
        """
        stored = self._store.known_keys(bare, own)
        pins = self._trust_file.pinned_keys(bare)
        if not pins:
            return stored
        keys = {key.fingerprint: key for key in stored.keys}
        for pin in pins:
            key = keys.get(pin.fingerprint, pin)
            if key.assurance < Assurance.VERIFIED and not key.blocked:
                key = replace(key, assurance=Assurance.VERIFIED, verified_by="pin")
            keys[pin.fingerprint] = key
        return KnownKeys(tuple(keys.values()), stored.forgotten)


def _first(account: _T | None, stored: _T | None, domain: _T | None, default: _T) -> _T:
    return next((value for value in (account, stored, domain) if value is not None), default)

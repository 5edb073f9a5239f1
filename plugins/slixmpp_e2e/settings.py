"""The plugin's configuration, checked once when it is registered."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from slixmpp import JID, InvalidJID

from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.messages.queue_limits import QUEUE_BYTES
from slixmpp_e2e.policy import Policy, check_combination
from slixmpp_e2e.prompts import Prompts
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from slixmpp_e2e.sessions.factory import SessionTerms
from slixmpp_e2e.sessions.stall import STALL_SECONDS
from slixmpp_e2e.store import KeyFile, KeyProtection, Keyring
from slixmpp_e2e.trust.peer_settings import PeerSettings
from xmpp_e2e.config import Timeouts, VerifyWhen
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import TrustModel

T = TypeVar("T")

DEFAULT_POLICY = Policy.PREFER
"""Of everybody about whom nothing is said, unless the trust model implies another."""
DEFAULTS: dict[str, Any] = {
    "policy": None,
    "trust_model": "server-authenticates",
    "on_key_change": "by-trust-model",
    "verify_when": "first",
    "accept_from": None,
    "require_post_quantum": False,
    "fast_open": True,
    "trust_file": None,
    "store_path": None,
    "key_protection": "key-file",
    "ask_password": None,
    "ask_sas": None,
    "hide_in_logs": True,
    "queue_seconds": 300.0,
    "queue_bytes": QUEUE_BYTES,
    "queue_on_new_stream": "reopen",
    "offline_seconds": 60.0,
    "disconnect_seconds": 30.0,
    "disco_seconds": 5.0,
    "step_seconds": Timeouts().step,
    "user_seconds": Timeouts().user,
    "session_seconds": Timeouts().session,
    "stall_seconds": STALL_SECONDS,
    **{name: astuple(limit) if isinstance(limit, Rate) else limit for name, limit in vars(AdmissionLimits()).items()},
}
"""``accept_from`` None means ``"roster"`` for a client, and nobody for a component until a list is given. ``store_path`` is a
path, or None for the default one of the account; ``key_protection`` says what protects the secrets in it: ``"key-file"``,
``"keyring"``, or an object such as ``Passphrase(…)``.

``queue_seconds`` bounds how long a stanza waits for its session (five minutes: a person may have to act), and for the next one
when its own has ended before the peer had acknowledged it. ``queue_on_new_stream`` is ``"fail"`` or ``"reopen"``, for stanzas
that wait, or were not acknowledged, when the client's stream is lost. ``offline_seconds`` bounds how long a stanza waits for a
peer who is offline and must not get it in plaintext: their client may be connecting again. ``disconnect_seconds`` bounds how
long ``disconnect()`` waits for what was sent before: as long as a server with a low limit needs for some messages.
``disco_seconds`` bounds how long a stanza waits for a device to say whether it has encryption: most do within a fraction of a
second, and some never. The rest are timeouts and limits (docs/bounds.md)."""

CHANGEABLE = frozenset(
    {
        "policy",
        "trust_model",
        "on_key_change",
        "verify_when",
        "accept_from",
        "ask_password",
        "ask_sas",
        "disconnect_seconds",
    }
)
"""Settings that a running program can change (``e2e.configure()``)."""

RENAMED = {
    "each": "verify_when",
    "require_pq": "require_post_quantum",
    "store": "store_path",
    "seal": "key_protection",
    "password": "ask_password",
    "sas": "ask_sas",
    "hold_seconds": "queue_seconds",
    "hold_bytes": "queue_bytes",
    "held_on_new_stream": "queue_on_new_stream",
    "handshake_seconds": "step_seconds",
    "human_seconds": "user_seconds",
    "unasked": "request_rate",
    "unasked_per_domain": "request_rate_per_domain",
    "unasked_per_peer": "request_rate_per_peer",
    "unasked_by_contacts": "request_rate_of_contacts",
}
"""Former names of settings."""


_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")
"""A letter and a colon alone are a drive. (Path() takes one of two slashes away.)"""


@dataclass(frozen=True)
class Settings:
    """The configuration, as typed values."""

    defaults: PeerSettings
    """What holds for everybody about whom nothing else is said."""
    accept_from: str | frozenset[str]
    """``roster``, ``anyone``, or the JIDs and domains that may open sessions."""
    trust_file: Path | None
    store_path: Path | None
    key_protection: KeyProtection | None
    """None: the key file beside the store."""
    queue_seconds: float
    queue_bytes: int
    reopen: bool
    """True if what waits when the client's stream is lost waits for the next stream."""
    offline_seconds: float
    """How long a stanza waits for a peer who cannot be reached."""
    disco_seconds: float
    """How long a stanza waits for a device to say whether it has encryption."""
    disconnect_seconds: float
    """How long to wait for what was sent before the client disconnects."""
    prompts: Prompts
    hide_in_logs: bool
    """Whether slixmpp's log hides the content of stanzas."""
    terms: SessionTerms
    stall_seconds: float
    """After how long a path that does not move is dead."""
    limits: AdmissionLimits

    @property
    def accepts_sessions(self) -> bool:
        """True if those may open sessions about whom nothing else is said."""
        return self.defaults.policy.effective_with(self.defaults.trust_model).accepts_sessions

    @classmethod
    def parse(cls, config: Mapping[str, Any], *, component: bool) -> Settings:
        """Return the settings; ConfigError names the key and the values that it may have."""
        _check_keys(config)
        return cls(
            defaults=PeerSettings(
                policy=_policy(config),
                trust_model=_word(config, "trust_model", TrustModel),
                on_key_change=_word(config, "on_key_change", OnKeyChange),
                verify_when=_word(config, "verify_when", VerifyWhen),
            ),
            accept_from=accept_from(config.get("accept_from"), component),
            trust_file=_path(config, "trust_file", "None for none"),
            store_path=_path(config, "store_path", "None for the one of the account"),
            key_protection=_key_protection(config.get("key_protection")),
            queue_seconds=_seconds(config, "queue_seconds"),
            queue_bytes=_count(config, "queue_bytes"),
            reopen=_choice(config, "queue_on_new_stream", ("fail", "reopen")) == "reopen",
            offline_seconds=_seconds(config, "offline_seconds"),
            disco_seconds=_seconds(config, "disco_seconds"),
            disconnect_seconds=_seconds(config, "disconnect_seconds"),
            prompts=Prompts(_prompt(config, "ask_password"), _prompt(config, "ask_sas")),
            hide_in_logs=_choice(config, "hide_in_logs", (False, True)) is True,
            terms=SessionTerms(
                require_post_quantum=_choice(config, "require_post_quantum", (False, True)) is True,
                fast_open=_choice(config, "fast_open", (False, True)) is True,
                timeouts=Timeouts(
                    step=_seconds(config, "step_seconds"),
                    user=_seconds(config, "user_seconds"),
                    session=_seconds(config, "session_seconds", at_most=Timeouts().session),
                ),
            ),
            stall_seconds=_seconds(config, "stall_seconds"),
            limits=_limits(config),
        )


def _check_keys(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if a key is not a setting: a misspelt ``polciy`` must not mean the default."""
    for old, new in RENAMED.items():
        if old in config:
            raise ConfigError(f"the setting {old} is called {new} now")
    if unknown := set(config) - set(DEFAULTS):
        raise ConfigError(f"unknown setting {', '.join(sorted(unknown))}; the settings are {', '.join(sorted(DEFAULTS))}")


def _prompt(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    if value is not None and not callable(value):
        # The value is not repeated: it may be a password.
        raise ConfigError(f"{key} is an async function that asks the user, or None")
    return value


def _word(config: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    try:
        return kind(config.get(key))
    except ValueError:
        allowed = ", ".join(member.value for member in kind)
        raise ConfigError(f"{key} is {config.get(key)!r}; it can be {allowed}") from None


def _policy(config: Mapping[str, Any]) -> Policy:
    if config.get("policy") is None:
        return DEFAULT_POLICY
    policy = Policy(_word(config, "policy", Policy))
    try:
        check_combination(policy, _word(config, "trust_model", TrustModel))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return policy


def _choice(config: Mapping[str, Any], key: str, allowed: tuple[T, ...]) -> T:
    value = config.get(key)
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return choice
    raise ConfigError(f"{key} is {value!r}; it can be {', '.join(map(str, allowed))}")


def _path(config: Mapping[str, Any], key: str, otherwise: str) -> Path | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, str | Path) or not str(value):
        raise ConfigError(f"{key} is {value!r}; it is the path of a file, or {otherwise}")
    if _URL.match(str(value)):
        raise ConfigError(f"{key} is {value!r}, a URL; it is the path of a file, or {otherwise}: no database server is used")
    return Path(value)


def _key_protection(value: object) -> KeyProtection | None:
    if value == KeyFile.kind:
        return None
    if value == Keyring.kind:
        return Keyring()
    if isinstance(value, KeyProtection) and not isinstance(value, type):
        return value
    # The value is not repeated: it may be a passphrase.
    kinds = f"{KeyFile.kind!r}, {Keyring.kind!r}, or an object of slixmpp_e2e.store such as Passphrase(…)"
    raise ConfigError(f"key_protection can be {kinds}")


def _seconds(config: Mapping[str, Any], key: str, at_most: float = math.inf) -> float:
    value = config.get(key)
    if not _is_positive(value) or value > at_most:
        bound = "" if at_most == math.inf else f", at most {at_most:g}"
        raise ConfigError(f"{key} is {value!r}; it is a number of seconds above 0{bound}")
    return float(value)


def _is_positive(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _limits(config: Mapping[str, Any]) -> AdmissionLimits:
    def limit(key: str, default: object) -> Any:
        return _rate(config, key) if isinstance(default, Rate) else _count(config, key)

    return AdmissionLimits(**{field.name: limit(field.name, field.default) for field in fields(AdmissionLimits)})


def _rate(config: Mapping[str, Any], key: str) -> Rate:
    value = config.get(key)
    match value:
        case [per_second, int(burst)] if _is_positive(per_second) and burst >= 1 and burst is not True:
            return Rate(per_second, burst)
    raise ConfigError(f"{key} is {value!r}; it is a pair: a rate per second, above 0, and a burst, a whole number, 1 or more")


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise ConfigError(f"{key} is {value!r}; it is a whole number, 1 or more")
    return value


def accept_from(value: object, component: bool) -> str | frozenset[str]:
    """Return who may open sessions: ``roster``, ``anyone``, or bare JIDs and domains. ConfigError."""
    if value is None:
        return frozenset[str]() if component else "roster"
    if value == "roster" and component:
        raise ConfigError("accept_from is 'roster', and a component has none: it can be 'anyone' or a list of JIDs and domains")
    if isinstance(value, str) and value in ("roster", "anyone"):
        return value
    try:
        if isinstance(value, list | tuple | set | frozenset):
            jids = frozenset(JID(str(entry)).bare for entry in value)
            if "" not in jids:
                return jids
    except InvalidJID:
        pass
    raise ConfigError(f"accept_from is {value!r}; it can be 'roster', 'anyone' or a list of JIDs and domains")

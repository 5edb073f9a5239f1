"""The plugin's configuration, checked once at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from slixmpp import JID, InvalidJID

from slixmpp_e2e.messages.queue import HOLD_BYTES
from slixmpp_e2e.prompts import Prompts
from slixmpp_e2e.sessions.admission.limits import Limits
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from slixmpp_e2e.store import KeyFile, Keyring, Sealer
from xmpp_e2e.config import Deadlines, Each
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy

T = TypeVar("T")

DEFAULTS: dict[str, Any] = {
    "policy": "prefer",
    "trust_model": "server-authenticates",
    "on_key_change": "by-trust-model",
    "accept_from": None,
    "require_pq": False,
    "fast_open": True,
    "trust_file": None,
    "store": None,
    "seal": "key-file",
    "hold_seconds": 300.0,
    "hold_bytes": HOLD_BYTES,
    "held_on_new_stream": "fail",
    "password": None,
    "sas": None,
    "each": "first",
    **{f"{name}_seconds": seconds for name, seconds in asdict(Deadlines()).items()},
    **{name: astuple(limit) if isinstance(limit, Rate) else limit for name, limit in vars(Limits()).items()},
}
"""``accept_from`` None means ``"roster"`` for a client, and nobody for a component until a list is given. ``store`` is a
path, or None for the default one of the account; ``seal`` says what keeps the secrets in it: ``"key-file"``, ``"keyring"``,
or a sealer, ``Passphrase(…)`` for one. ``hold_seconds`` bounds how long a stanza waits for its session (five minutes: a
person may have to act). ``held_on_new_stream``: ``"fail"`` or ``"reopen"``, for stanzas that wait when the client's stream is
lost. The rest are deadlines and bounds (docs/bounds.md)."""


class ConfigError(LocalError):
    """The plugin's configuration is wrong."""

    remedy = "Correct the value that the message names in register_plugin('e2e', {…})."


@dataclass(frozen=True)
class Settings:
    """The configuration, as typed values."""

    policy: Policy
    trust_model: TrustModel
    on_key_change: OnKeyChange
    accept_from: str | frozenset[str]
    """``roster``, ``anyone``, or the JIDs and domains that may open sessions."""
    require_pq: bool
    fast_open: bool
    trust_file: Path | None
    """What is wanted of whom, written down."""
    store: Path | None
    seal: Sealer | None
    """None: the key file beside the store."""
    hold_seconds: float
    hold_bytes: int
    each: Each
    reopen: bool
    prompts: Prompts
    deadlines: Deadlines
    limits: Limits

    @classmethod
    def parse(cls, config: Mapping[str, Any], *, component: bool) -> Settings:
        """ConfigError names the key and what is allowed."""
        return cls(
            policy=_word(config, "policy", Policy),
            trust_model=_word(config, "trust_model", TrustModel),
            on_key_change=_word(config, "on_key_change", OnKeyChange),
            accept_from=accept_from(config.get("accept_from"), component),
            require_pq=_choice(config, "require_pq", (False, True)) is True,
            fast_open=_choice(config, "fast_open", (False, True)) is True,
            trust_file=_path(config, "trust_file", "None for none"),
            store=_path(config, "store", "None for the one of the account"),
            seal=_seal(config.get("seal")),
            hold_seconds=_seconds(config, "hold_seconds"),
            hold_bytes=_count(config, "hold_bytes"),
            prompts=Prompts(_prompt(config, "password"), _prompt(config, "sas")),
            each=_word(config, "each", Each),
            reopen=_choice(config, "held_on_new_stream", ("fail", "reopen")) == "reopen",
            deadlines=Deadlines(
                handshake=_seconds(config, "handshake_seconds"),
                human=_seconds(config, "human_seconds"),
                session=_seconds(config, "session_seconds", at_most=Deadlines().session),
            ),
            limits=_limits(config),
        )


def _prompt(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    if value is not None and not callable(value):
        raise ConfigError(f"{key} is {value!r}; it is an async function that asks the user, or None")
    return value


def unknown_keys(config: Mapping[str, Any]) -> None:
    """ConfigError if a key is none of ours: a misspelt ``polciy`` must not mean the default."""
    if strange := set(config) - set(DEFAULTS):
        raise ConfigError(f"unknown setting {', '.join(sorted(strange))}; the settings are {', '.join(sorted(DEFAULTS))}")


def _word(config: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    try:
        return kind(config.get(key))
    except ValueError:
        allowed = ", ".join(member.value for member in kind)
        raise ConfigError(f"{key} is {config.get(key)!r}; it can be {allowed}") from None


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
    return Path(value)


def _seal(value: object) -> Sealer | None:
    if value == KeyFile.kind:
        return None
    if value == Keyring.kind:
        return Keyring()
    if isinstance(value, Sealer) and not isinstance(value, type):
        return value
    # What it is instead is not said: somebody may have put his passphrase here.
    raise ConfigError(f"seal can be {KeyFile.kind!r}, {Keyring.kind!r}, or a sealer of slixmpp_e2e.store: Passphrase(…)")


def _seconds(config: Mapping[str, Any], key: str, at_most: float = math.inf) -> float:
    value = config.get(key)
    if not _is_positive(value) or value > at_most:
        bound = "" if at_most == math.inf else f", at most {at_most:g}"
        raise ConfigError(f"{key} is {value!r}; it is a number of seconds above 0{bound}")
    return float(value)


def _is_positive(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _limits(config: Mapping[str, Any]) -> Limits:
    def limit(key: str, default: object) -> Any:
        return _rate(config, key) if isinstance(default, Rate) else _count(config, key)

    return Limits(**{field.name: limit(field.name, field.default) for field in fields(Limits)})


def _rate(config: Mapping[str, Any], key: str) -> Rate:
    value = config.get(key)
    match value:
        case [per_second, int(burst)] if _is_positive(per_second) and burst >= 1 and burst is not True:
            return Rate(per_second, burst)
    raise ConfigError(f"{key} is {value!r}; it is a pair: so many a second, above 0, and at once, a whole number, 1 or more")


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise ConfigError(f"{key} is {value!r}; it is a whole number, 1 or more")
    return value


def accept_from(value: object, component: bool) -> str | frozenset[str]:
    """Who may open sessions: ``roster``, ``anyone``, or bare JIDs and domains. ConfigError."""
    if value is None:
        return frozenset[str]() if component else "roster"
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

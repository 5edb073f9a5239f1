"""The plugin's configuration, checked once at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slixmpp import JID

from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy

DEFAULTS: dict[str, Any] = {
    "policy": "prefer",
    "trust_model": "server-authenticates",
    "on_key_change": "by-trust-model",
    "accept_from": None,
    "require_pq": False,
    "store": None,
    "hold_seconds": 300.0,
    "held_on_new_stream": "fail",
}
"""``accept_from`` None means ``"roster"`` for a client, and nobody for a component until a list is given. ``store`` is a
path, or None for the default one of the account. ``hold_seconds`` bounds how long a stanza waits for its session (five
minutes: a person may have to act). ``held_on_new_stream``: ``"fail"`` or ``"reopen"``, for stanzas that wait when the
client's stream is lost."""


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
    store: Path | None
    hold_seconds: float
    reopen: bool

    @classmethod
    def parse(cls, config: Mapping[str, Any], *, component: bool) -> Settings:
        """ConfigError names the key and what is allowed."""
        return cls(
            policy=_word(config, "policy", Policy),
            trust_model=_word(config, "trust_model", TrustModel),
            on_key_change=_word(config, "on_key_change", OnKeyChange),
            accept_from=_accept_from(config.get("accept_from"), component),
            require_pq=bool(config.get("require_pq")),
            store=Path(config["store"]) if config.get("store") else None,
            hold_seconds=_seconds(config.get("hold_seconds")),
            reopen=_choice(config, "held_on_new_stream", ("fail", "reopen")) == "reopen",
        )


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


def _choice(config: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = config.get(key)
    if value not in allowed:
        raise ConfigError(f"{key} is {value!r}; it can be {', '.join(allowed)}")
    return str(value)


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or value <= 0:
        raise ConfigError(f"hold_seconds is {value!r}; it is a number of seconds above 0")
    return float(value)


def _accept_from(value: object, component: bool) -> str | frozenset[str]:
    if value is None:
        return frozenset[str]() if component else "roster"
    if value in ("roster", "anyone"):
        return str(value)
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError(f"accept_from is {value!r}; it can be 'roster', 'anyone' or a list of JIDs and domains")
    return frozenset(JID(entry).bare for entry in value)

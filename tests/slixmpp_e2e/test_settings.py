"""The configuration is checked at the door: what is wrong is named, with what it can be."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.sessions.admission.limits import Limits
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from slixmpp_e2e.settings import DEFAULTS, ConfigError, Settings, unknown_keys
from slixmpp_e2e.store import Keyring, Passphrase
from xmpp_e2e.config import Deadlines

SECONDS = ("hold_seconds", "handshake_seconds", "human_seconds", "session_seconds")
RATES = ("unasked", "unasked_per_domain", "unasked_per_peer", "unasked_by_contacts")


def parse(component: bool = False, **config: Any) -> Settings:
    return Settings.parse({**DEFAULTS, **config}, component=component)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("policy", "prefered", "off, prefer, require"),
        ("policy", None, "off, prefer, require"),
        ("trust_model", "none", "server-trusted, server-authenticates, server-untrusted"),
        ("on_key_change", "accept", "by-trust-model, hold, reject"),
        ("accept_from", "nobody", "'roster', 'anyone' or a list"),
        ("accept_from", 7, "'roster', 'anyone' or a list"),
        ("accept_from", [""], "'roster', 'anyone' or a list"),
        ("accept_from", ["@"], "'roster', 'anyone' or a list"),
        ("require_pq", "no", "False, True"),
        ("require_pq", 1, "False, True"),
        ("fast_open", 0, "False, True"),
        ("store", "", "path"),
        ("store", 7, "path"),
        ("held_on_new_stream", "keep", "fail, reopen"),
        *((name, value, "above 0") for name in SECONDS for value in (0, -1, True, "5", None, float("nan"), float("inf"))),
        ("session_seconds", 86401, "at most 86400"),
        *(
            (name, value, r"a pair: so many a second, above 0, and at once, a whole number, 1 or more")
            for name in RATES
            for value in (5, (1,), (1, 2, 3), (0, 5), (-1, 5), (True, 5), ("1", 5), (1, 0), (1, 2.0), (1, True), "15", None)
        ),
        *((name, (float(value), 5), "above 0") for name in RATES for value in ("nan", "inf")),
        *(
            (name, value, "whole number, 1 or more")
            for name in ("hold_bytes", *(field.name for field in fields(Limits) if field.name not in RATES))
            for value in (0, True, 2.0, "9", None)
        ),
    ],
)
def test_a_wrong_value_is_named(key: str, value: Any, words: str) -> None:
    """The message has the key, the value, and what is allowed; `explain()` says where to correct it."""
    with pytest.raises(ConfigError, match=words) as caught:
        parse(**{key: value})
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "register_plugin" in caught.value.explain()


@pytest.mark.parametrize("value", ["hunter2", b"hunter2", None, lambda: "hunter2", Passphrase])
def test_a_passphrase_in_the_wrong_place_is_not_repeated(value: object) -> None:
    """Errors are logged. What a seal can be is said, with where to get it."""
    with pytest.raises(ConfigError, match=r"seal can be 'key-file', 'keyring', or .* Passphrase") as caught:
        parse(seal=value)
    assert "hunter2" not in caught.value.explain()


def test_a_seal_is_a_word_or_a_sealer() -> None:
    """The key file is the store's own; a keyring is one for this plugin."""
    passphrase = Passphrase("hunter2")
    assert parse(seal="key-file").seal is parse().seal is None
    assert isinstance(parse(seal="keyring").seal, Keyring)
    assert parse(seal="keyring").seal is not parse(seal="keyring").seal
    assert parse(seal=passphrase).seal is passphrase


def test_a_misspelt_key_is_named() -> None:
    """`polciy` must not mean the default policy."""
    with pytest.raises(ConfigError, match=r"polciy.*policy"):
        unknown_keys({**DEFAULTS, "polciy": "require"})
    unknown_keys(DEFAULTS)


@pytest.mark.parametrize(
    ("config", "component", "expected"),
    [
        ({}, False, "roster"),
        ({}, True, frozenset()),
        ({"accept_from": "anyone"}, True, "anyone"),
        ({"accept_from": ("Bob@Example.org/phone", "example.net")}, False, {"bob@example.org", "example.net"}),
    ],
)
def test_who_may_open_sessions_by_default(config: dict[str, Any], component: bool, expected: object) -> None:
    """The roster of a client; nobody for a component, which has none; a list is of accounts and domains."""
    assert parse(component, **config).accept_from == expected


def test_values_have_types() -> None:
    """Words become what they mean."""
    terms = {"policy": "require", "hold_seconds": 3, "held_on_new_stream": "reopen", "store": "x.db"}
    settings = parse(**terms, require_pq=True, fast_open=False)
    assert (settings.policy.value, settings.hold_seconds, settings.reopen) == ("require", 3.0, True)
    assert (settings.store, settings.require_pq, settings.fast_open) == (Path("x.db"), True, False)
    assert (parse().store, parse().reopen) == (None, False)
    assert parse().limits == Limits()
    assert parse(half_open=7, sessions=100).limits == Limits(half_open=7, sessions=100)
    rates = {name: (0.5, number) for number, name in enumerate(RATES, 1)}
    assert parse(**rates).limits == Limits(**{name: Rate(*rate) for name, rate in rates.items()})
    assert parse(unasked=[3, 4]).limits.unasked == Rate(3, 4)
    assert parse().deadlines == Deadlines()
    seconds = {"handshake_seconds": 120, "human_seconds": 600.5, "session_seconds": 86400}
    assert parse(**seconds).deadlines == Deadlines(handshake=120.0, human=600.5, session=86400.0)

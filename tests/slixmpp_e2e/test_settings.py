"""The configuration is checked when the plugin is registered, and each error names the setting and its possible values."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.sessions.admission.limits import AdmissionLimits
from slixmpp_e2e.sessions.admission.rate_limit import Rate
from slixmpp_e2e.sessions.stall import STALL_SECONDS
from slixmpp_e2e.settings import DEFAULTS, RENAMED, Settings
from slixmpp_e2e.store import Keyring, Passphrase
from xmpp_e2e.config import Timeouts

SECONDS = ("queue_seconds", "step_seconds", "user_seconds", "session_seconds", "stall_seconds")
RATES = ("request_rate", "request_rate_per_domain", "request_rate_per_peer", "request_rate_of_contacts")


def parse(component: bool = False, **config: Any) -> Settings:
    return Settings.parse({**DEFAULTS, **config}, component=component)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("policy", "prefered", "off, opportunistic, prefer, require"),
        ("policy", "", "off, opportunistic, prefer, require"),
        ("trust_model", "none", "server-trusted, server-authenticates, server-untrusted"),
        ("on_key_change", "accept", "by-trust-model, hold, reject"),
        ("accept_from", "nobody", "'roster', 'anyone' or a list"),
        ("accept_from", 7, "'roster', 'anyone' or a list"),
        ("accept_from", [""], "'roster', 'anyone' or a list"),
        ("accept_from", ["@"], "'roster', 'anyone' or a list"),
        ("require_post_quantum", "no", "False, True"),
        ("require_post_quantum", 1, "False, True"),
        ("fast_open", 0, "False, True"),
        ("store_path", "", "path"),
        ("store_path", 7, "path"),
        ("queue_on_new_stream", "keep", "fail, reopen"),
        *((name, value, "above 0") for name in SECONDS for value in (0, -1, True, "5", None, float("nan"), float("inf"))),
        ("session_seconds", 86401, "at most 86400"),
        *(
            (name, value, "a pair: a rate per second, above 0, and a burst")
            for name in RATES
            for value in (5, (1,), (1, 2, 3), (0, 5), (-1, 5), (True, 5), ("1", 5), (1, 0), (1, 2.0), (1, True), "15", None)
        ),
        *((name, (float(value), 5), "above 0") for name in RATES for value in ("nan", "inf")),
        *(
            (name, value, "whole number, 1 or more")
            for name in ("queue_bytes", *(field.name for field in fields(AdmissionLimits) if field.name not in RATES))
            for value in (0, True, 2.0, "9", None)
        ),
    ],
)
def test_a_wrong_value_is_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse(**{key: value})
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "register_plugin" in explain(caught.value)


@pytest.mark.parametrize("value", ["hunter2", b"hunter2", None, lambda: "hunter2", Passphrase])
def test_a_passphrase_in_the_wrong_place_is_not_repeated(value: object) -> None:
    """An error does not repeat the value, since errors are logged; it says what the setting can be."""
    with pytest.raises(ConfigError, match=r"key_protection can be 'key-file', 'keyring', or .* Passphrase") as caught:
        parse(key_protection=value)
    assert "hunter2" not in explain(caught.value)


@pytest.mark.parametrize("key", ["ask_password", "ask_sas"])
def test_a_password_in_the_place_of_a_prompt_is_not_repeated(key: str) -> None:
    """Nor is this value: ``ask_password`` was called ``password``."""
    with pytest.raises(ConfigError, match=f"{key} is an async function") as caught:
        parse(**{key: "hunter2"})
    assert "hunter2" not in explain(caught.value)


def test_key_protection_is_a_word_or_an_object() -> None:
    """None stands for the store's own key file; each plugin has a keyring object of its own."""
    passphrase = Passphrase("hunter2")
    assert parse(key_protection="key-file").key_protection is parse().key_protection is None
    assert isinstance(parse(key_protection="keyring").key_protection, Keyring)
    assert parse(key_protection="keyring").key_protection is not parse(key_protection="keyring").key_protection
    assert parse(key_protection=passphrase).key_protection is passphrase


def test_a_misspelt_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"polciy.*policy"):
        parse(polciy="require")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_former_key_names_the_new_one(old: str, new: str) -> None:
    assert new in DEFAULTS
    with pytest.raises(ConfigError, match=f"{old} is called {new} now"):
        parse(**{old: DEFAULTS[new]})


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
    assert parse(component, **config).accept_from == expected


def test_values_have_types() -> None:
    given = {"policy": "require", "queue_seconds": 3, "queue_on_new_stream": "reopen", "store_path": "x.db"}
    settings = parse(**given, require_post_quantum=True, fast_open=False)
    assert (settings.defaults.policy, settings.queue_seconds, settings.reopen) == (Policy.REQUIRE, 3.0, True)
    assert (settings.store_path, settings.terms.require_post_quantum, settings.terms.fast_open) == (Path("x.db"), True, False)
    assert (parse().store_path, parse().reopen) == (None, True)
    assert parse().limits == AdmissionLimits()
    assert parse(half_open=7, sessions=100).limits == AdmissionLimits(half_open=7, sessions=100)
    rates = {name: (0.5, number) for number, name in enumerate(RATES, 1)}
    assert parse(**rates).limits == AdmissionLimits(**{name: Rate(*rate) for name, rate in rates.items()})
    assert parse(request_rate=[3, 4]).limits.request_rate == Rate(3, 4)
    assert parse().terms.timeouts == Timeouts()
    seconds = {"step_seconds": 120, "user_seconds": 600.5, "session_seconds": 86400}
    assert (parse().stall_seconds, parse(stall_seconds=600).stall_seconds) == (STALL_SECONDS, 600.0)
    assert parse(**seconds).terms.timeouts == Timeouts(step=120.0, user=600.5, session=86400.0)


def test_a_policy_goes_with_its_trust_model() -> None:
    """Where it is left out, the trust model says what holds."""
    for model, policy in (("server-authenticates", "prefer"), ("server-untrusted", "require"), ("server-trusted", "off")):
        found = parse(trust_model=model).defaults
        assert found.policy.effective_with(found.trust_model).value == policy
    for policy in ("off", "prefer"):
        with pytest.raises(ConfigError, match="trusts the server with nothing"):
            parse(policy=policy, trust_model="server-untrusted")
    with pytest.raises(ConfigError, match="plain XMPP"):
        parse(policy="require", trust_model="server-trusted")


@pytest.mark.parametrize("url", ["postgresql://bot@db/trust", "sqlite:///bob.db", "mysql+pymysql://db/x"])
@pytest.mark.parametrize("kind", [str, Path])
def test_no_store_is_called_by_the_url_of_a_database(url: str, kind: type[Any]) -> None:
    """A file of that name would be made in silence."""
    with pytest.raises(ConfigError, match=r"store_path is .*, a URL; it is the path of a file"):
        parse(store_path=kind(url))
    assert parse(store_path="C:/bots/bob.db").store_path == Path("C:/bots/bob.db")

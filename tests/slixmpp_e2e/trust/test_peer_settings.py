"""The settings in effect for an account come from the trust file, the store and the defaults, in a fixed order."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import PeerPolicy, SQLStore
from slixmpp_e2e.trust import peer_settings
from slixmpp_e2e.trust.peer_settings import PeerSettings, PeerSettingsLookup
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from tests.slixmpp_e2e.trust.trust_file.test_parse import trust
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, KnownKey, KnownKeys, TrustModel

ALICE, BOB, EVE = "alice@localhost", "bob@localhost", "eve@localhost"
KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
DEFAULTS = PeerSettings(Policy.PREFER, TrustModel.SERVER_AUTHENTICATES, OnKeyChange.BY_TRUST_MODEL)


def lookup(store: SQLStore, folder: Path, text: str | None = None) -> PeerSettingsLookup:
    return PeerSettingsLookup(store, TrustFile(None if text is None else trust(folder, text)), DEFAULTS, lambda account: None)


def test_without_a_trust_file_the_store_and_the_defaults_decide(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path)
    assert settings.of(BOB) == DEFAULTS
    assert settings.known_keys(BOB, ALICE) == KnownKeys()
    assert not settings.is_known_account(BOB)
    store.set_policy(BOB, PeerPolicy(Policy.OFF))
    assert settings.of(BOB).policy is Policy.OFF
    assert settings.of(EVE) == DEFAULTS


def test_what_another_process_changes_holds_for_stanzas_a_moment_later(
    store: SQLStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stanza does not ask the database each time; whatever this program changes itself holds at once, also for stanzas."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    settings, asked = lookup(store, tmp_path), list[None]()
    data_version = store._database.data_version
    monkeypatch.setattr(store._database, "data_version", lambda: asked.append(None) or data_version())  # type: ignore[func-returns-value]
    with closing(SQLStore.open(store.path)) as other:
        assert settings.of(BOB, 0.05) == DEFAULTS
        other.set_policy(BOB, PeerPolicy(Policy.REQUIRE))
        asked.clear()
        assert settings.of(BOB, 0.05) == DEFAULTS
        assert asked == []
        now[0] += 0.06
        assert settings.of(BOB, 0.05).policy is Policy.REQUIRE
        other.set_policy(BOB, PeerPolicy(Policy.OFF))
        assert settings.of(BOB).policy is Policy.OFF, "whoever decides about a session asks again"
        store.set_policy(BOB, PeerPolicy(Policy.REQUIRE))
        assert settings.of(BOB, 0.05).policy is Policy.REQUIRE


def test_the_most_specific_source_wins(store: SQLStore, tmp_path: Path) -> None:
    """For each setting: the rule for the account, the store, the rule for the domain, the defaults."""
    rules = f"""
        ["localhost"]
        policy = "require"
        min_assurance = "known"
        on_key_change = "hold"
        verify_when = "always"
        ["{BOB}"]
        min_assurance = "none"
        verify_when = "first"
    """
    settings = lookup(store, tmp_path, rules)
    bob = settings.of(BOB)
    assert (bob.policy, bob.on_key_change, bob.min_assurance) == (Policy.REQUIRE, OnKeyChange.HOLD, Assurance.NONE)
    assert bob.verify_when is VerifyWhen.FIRST
    assert bob.trust_model is TrustModel.SERVER_AUTHENTICATES
    eve = settings.of(EVE)
    assert (eve.min_assurance, eve.verify_when) == (Assurance.KNOWN, VerifyWhen.ALWAYS)
    store.set_policy(BOB, PeerPolicy(Policy.OFF, on_key_change=OnKeyChange.REJECT))
    bob = settings.of(BOB)
    assert (bob.policy, bob.on_key_change) == (Policy.OFF, OnKeyChange.REJECT)
    account_rule = lookup(store, tmp_path, f'["{BOB}"]\npolicy = "require"\n')
    assert account_rule.of(BOB).policy is Policy.REQUIRE


def test_a_server_that_is_trusted_completely_turns_encryption_off(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path, f'["{BOB}"]\ntrust_model = "server-trusted"\n')
    assert settings.of(BOB).policy is Policy.OFF


def test_a_server_that_is_trusted_with_nothing_gets_nothing_in_plaintext(store: SQLStore, tmp_path: Path) -> None:
    """Whatever was said elsewhere; and what contradicts it where it is said is refused."""
    settings = lookup(store, tmp_path, f'["{BOB}"]\ntrust_model = "server-untrusted"\n')
    store.set_policy(BOB, PeerPolicy(Policy.OFF))
    assert settings.of(BOB).policy is Policy.REQUIRE
    for bare, policy, model in (
        (BOB, Policy.PREFER, None),
        (BOB, Policy.OFF, None),
        (EVE, Policy.PREFER, TrustModel.SERVER_UNTRUSTED),
        (EVE, Policy.REQUIRE, TrustModel.SERVER_TRUSTED),
    ):
        before = store.policy(bare)
        with pytest.raises(ConfigError, match=f"for {bare}: "):
            settings.set_policy(bare, policy, model)
        assert store.policy(bare) == before
    settings.set_policy(EVE, Policy.PREFER)
    with pytest.raises(ConfigError, match="make it `require`"):
        settings.set_policy(EVE, trust_model=TrustModel.SERVER_UNTRUSTED)
    settings.set_policy(EVE, Policy.REQUIRE, TrustModel.SERVER_UNTRUSTED)


def test_facts_of_the_store(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path)
    store.record_e2e_use(BOB, 1.0)
    assert settings.of(BOB).has_used_e2e
    store.set_policy(BOB, PeerPolicy(plaintext_allowed=True))
    assert settings.of(BOB).plaintext_allowed
    assert settings.of(EVE) == DEFAULTS


@pytest.mark.parametrize("change", ["policy", "default", "use"])
def test_a_write_about_one_account_costs_the_others_nothing(store: SQLStore, tmp_path: Path, change: str) -> None:
    """Whoever writes: only the settings of the account that has changed are read again."""
    accounts = [f"{number}@localhost" for number in range(200)]
    store.set_policy(BOB, PeerPolicy(Policy.REQUIRE))
    settings = lookup(store, tmp_path)
    before = {account: settings.of(account) for account in (*accounts, BOB)}
    statements: list[str] = []
    store._database._reading_driver.set_trace_callback(statements.append)
    assert all(settings.of(account) is before[account] for account in accounts)
    assert statements == ["PRAGMA data_version"] * len(accounts)
    with SQLStore.open(store.path) as other:
        for writer in (other, store):
            match change:
                case "policy":
                    writer.set_policy(BOB, PeerPolicy(Policy.OFF if writer is other else Policy.PREFER))
                case "default":
                    writer.set_policy(BOB, PeerPolicy())
                case "use":
                    writer.record_e2e_use(BOB if writer is other else EVE, 1.0)
            statements.clear()
            assert all(settings.of(account) is before[account] for account in accounts)
            assert len(statements) <= len(accounts) + 4  # BEGIN, the last change, those since, COMMIT
            if change == "policy":
                assert settings.of(BOB).policy is store.policy(BOB).policy
            assert settings.of(BOB).has_policy is (change != "default")
            assert settings.of(BOB).has_used_e2e is (change == "use")


def test_what_does_not_concern_settings_costs_one_look(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path)
    before = settings.of(BOB)
    with SQLStore.open(store.path) as other:
        other.pin(BOB, KEY, 1.0)
        other.count_failed_attempt(BOB, "srp")
        other.record_e2e_use(EVE, 1.0)
    assert settings.of(BOB) is before
    assert settings.of(EVE).has_used_e2e


def test_strangers_do_not_fill_the_cache(store: SQLStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time goes: those who are here are not asked for anew because somebody else came."""
    monkeypatch.setattr(peer_settings, "CACHED_PEERS", 5)
    settings = lookup(store, tmp_path)
    for number in range(20):
        settings.of(f"{number}@example.org")
        assert len(settings._cache) <= 5
    assert list(settings._cache) == [f"{number}@example.org" for number in range(15, 20)]


def test_known_accounts(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path, f'["{BOB}"]\npolicy = "prefer"\n["localhost"]\npolicy = "require"\n')
    store.record_e2e_use("used@localhost", 1.0)
    store.set_policy("policy@localhost", PeerPolicy(Policy.OFF))
    store.set_policy("plaintext@localhost", PeerPolicy(plaintext_allowed=True))
    store.block("key@localhost", KEY, 1.0)
    names = (BOB, EVE, "used@localhost", "policy@localhost", "plaintext@localhost", "key@localhost")
    assert [name for name in names if settings.is_known_account(name)] == [
        BOB,
        "used@localhost",
        "policy@localhost",
        "key@localhost",
    ]


def test_pins_of_the_trust_file_are_known_keys(store: SQLStore, tmp_path: Path) -> None:
    settings = lookup(store, tmp_path, f'["{BOB}"]\npin = ["{KEY}", "{OTHER}"]\n')
    store.remember_key(BOB, KEY, Assurance.VOUCHED, "route", 5.0)
    assert [(key.fingerprint, key.assurance, key.verified_by, key.blocked) for key in settings.known_keys(BOB, ALICE).keys] == [
        (KEY, Assurance.VERIFIED, "pin", False),
        (OTHER, Assurance.VERIFIED, "pin", False),
    ]
    store.forget(BOB, None, 6.0)
    store.block(BOB, KEY, 7.0)
    assert settings.known_keys(BOB, ALICE).find(KEY) == KnownKey(KEY, Assurance.NONE, "block", 7.0, blocked=True)
    assert settings.known_keys(EVE, ALICE) == KnownKeys()

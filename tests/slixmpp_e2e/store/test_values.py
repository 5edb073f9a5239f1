"""The values that a store deals in."""

from __future__ import annotations

from slixmpp_e2e.store.values import PeerPolicy, StoredOwnKey


def test_an_identity_hides_its_key() -> None:
    assert repr(StoredOwnKey(b"certificate", b"private")) == "StoredOwnKey()"


def test_no_policy_is_as_for_everybody() -> None:
    """The default leaves everything to the account's settings, and allows no plaintext."""
    assert PeerPolicy() == PeerPolicy(None, None, False, None)

"""The values that a store deals in."""

from __future__ import annotations

from xmpp_e2e.trust.store import PeerPolicy, StoredIdentity


def test_an_identity_hides_its_key() -> None:
    """Neither the private key nor the certificate shows in a repr."""
    assert repr(StoredIdentity(b"certificate", b"private")) == "StoredIdentity()"


def test_no_policy_is_as_for_everybody() -> None:
    """The default leaves everything to the account's settings, and allows no plaintext."""
    assert PeerPolicy() == PeerPolicy(None, None, False, None)

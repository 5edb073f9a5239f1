"""A core session is made on the terms of the moment. Nobody is connected here."""

from __future__ import annotations

import pytest

from slixmpp_e2e.sessions.factory import SessionFactory
from slixmpp_e2e.store import PeerPolicy, StoreError
from tests.slixmpp_e2e.env import ALICE, BOB, Env, e2e
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Role, TrustModel

ACCOUNT = "bob@localhost"


@pytest.mark.parametrize("role", list(Role))
async def test_a_store_that_fails_is_no_refusal(env: Env, monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    """If secrets cannot be read, StoreError says so, whoever wants the session."""
    plugin = e2e(env.make(ALICE))

    def fails(*_: object) -> None:
        raise StoreError(plugin._store.path, "unreadable")

    monkeypatch.setattr(plugin._store, "secret_kinds", fails)
    with pytest.raises(StoreError):
        plugin._client._factory.create(role, ALICE, BOB)


async def test_a_session_has_the_settings_of_its_peer(env: Env) -> None:
    """Settings of the peer go before those of the plugin, and the higher of two minimum assurances counts."""
    plugin = e2e(env.make(ALICE, trust_model="server-authenticates", on_key_change="hold"))
    create = plugin._client._factory.create
    config = create(Role.INITIATOR, ALICE, BOB).config
    assert (config.trust_model, config.on_key_change) == (TrustModel.SERVER_AUTHENTICATES, OnKeyChange.HOLD)
    theirs = PeerPolicy(trust_model=TrustModel.SERVER_UNTRUSTED, on_key_change=OnKeyChange.REJECT)
    plugin._store.set_policy(ACCOUNT, theirs)
    config = create(Role.INITIATOR, ALICE, BOB, Assurance.VERIFIED).config
    assert (config.trust_model, config.on_key_change) == (theirs.trust_model, theirs.on_key_change)
    assert config.min_assurance is Assurance.VERIFIED


async def test_only_our_own_offers_let_a_peer_in(env: Env) -> None:
    """A peer to whom we offer a session may offer one in turn; an offer of theirs alone allows nothing."""
    client = e2e(env.make(ALICE, accept_from=[]))._client
    factory: SessionFactory = client._factory
    factory.create(Role.RESPONDER, ALICE, BOB)
    assert not client.allow_list.is_allowed(BOB, ALICE)
    factory.create(Role.INITIATOR, ALICE, BOB)
    assert client.allow_list.is_allowed(BOB, ALICE)

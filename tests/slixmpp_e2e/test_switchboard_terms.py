"""On what terms: who is a person, and which policy is in force. Nobody is connected."""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.client import Switchboard
from slixmpp_e2e.store import StoreError
from tests.slixmpp_e2e.world import ALICE, BOB, World, e2e
from xmpp_e2e.identity import Assurance, Fingerprint, Role, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e.trust.store import PeerPolicy

BARE = "bob@localhost"
KEY = Fingerprint(bytes(32))


def board(world: World, **config: Any) -> Switchboard:
    return e2e(world.make(ALICE, **config)).switchboard


@pytest.mark.parametrize("role", list(Role))
async def test_a_store_that_fails_is_no_refusal(world: World, monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    """That secrets cannot be read is told as what it is, whoever wants the session."""
    known = board(world)
    error = StoreError(e2e(world._clients[0]).memory.path, "unreadable")

    def secrets(bare: str, ours: str) -> dict[str, bytes]:
        raise error

    monkeypatch.setattr(known.proofs, "secrets", secrets)
    with pytest.raises(StoreError):
        known.new_session(role, ALICE, BOB, Assurance.NONE)


async def test_what_else_a_session_needs(world: World) -> None:
    """No room may have one, nor anybody with whom the policy is `off`."""
    alice = world.make(ALICE)
    known = e2e(alice).switchboard
    entrance = alice.make_presence(pto="room@localhost/alice")
    entrance.xml.append(entrance.xml.makeelement("{http://jabber.org/protocol/muc}x", {}))
    known.rooms.notice(entrance)
    e2e(alice).set_policy("carol@localhost", "off")
    assert [known.admits(f"{name}@localhost/x") for name in ("bob", "room", "carol")] == [True, False, False]


@pytest.mark.parametrize(
    ("stored", "in_force"),
    [
        (PeerPolicy(), Policy.PREFER),
        (PeerPolicy(policy=Policy.REQUIRE), Policy.REQUIRE),
        (PeerPolicy(trust_model=TrustModel.SERVER_TRUSTED), Policy.OFF),
    ],
)
async def test_the_policy_of_a_peer_goes_first(world: World, stored: PeerPolicy, in_force: Policy) -> None:
    """And where there is none, the general one."""
    alice = world.make(ALICE, policy="prefer")
    e2e(alice).memory.set_policy(BARE, stored)
    assert e2e(alice).switchboard.policy_with(BARE) is in_force


async def test_under_a_trusted_server_all_is_off(world: World) -> None:
    """Except with peers for whom the server is not trusted."""
    alice = world.make(ALICE, policy="require", trust_model="server-trusted")
    e2e(alice).memory.set_policy("carol@localhost", PeerPolicy(trust_model=TrustModel.SERVER_UNTRUSTED))
    known = e2e(alice).switchboard
    assert (known.policy_with(BARE), known.policy_with("carol@localhost")) == (Policy.OFF, Policy.REQUIRE)


async def test_a_session_has_the_terms_of_the_day(world: World) -> None:
    """Those of the peer, or else ours."""
    alice = world.make(ALICE, trust_model="server-authenticates", on_key_change="hold")
    known = e2e(alice).switchboard
    config = known.new_session(Role.INITIATOR, ALICE, BOB, Assurance.NONE).config
    assert (config.trust_model, config.on_key_change) == (TrustModel.SERVER_AUTHENTICATES, OnKeyChange.HOLD)
    theirs = PeerPolicy(trust_model=TrustModel.SERVER_UNTRUSTED, on_key_change=OnKeyChange.REJECT)
    e2e(alice).memory.set_policy(BARE, theirs)
    config = known.new_session(Role.INITIATOR, ALICE, BOB, Assurance.NONE).config
    assert (config.trust_model, config.on_key_change) == (theirs.trust_model, theirs.on_key_change)


async def test_who_is_a_person(world: World) -> None:
    """With whom we have had a session, whose key was pinned, or for whom a policy was set."""
    alice = world.make(ALICE)
    memory, known = e2e(alice).memory, e2e(alice).switchboard
    memory.mark_seen("a@localhost", 1.0)
    memory.pin("b@localhost", KEY, 1.0)
    e2e(alice).set_policy("c@localhost", "prefer")
    assert [known.rooms.is_person(f"{name}@localhost") for name in "abcd"] == [True, True, True, False]

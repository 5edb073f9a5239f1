"""Who may open sessions with us. Nobody is connected."""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.client import Switchboard
from slixmpp_e2e.sessions.admission import allow_list as callers
from slixmpp_e2e.trust.own_key import Own
from tests.slixmpp_e2e.world import ALICE, BOB, World, e2e
from xmpp_e2e.identity import Assurance, Role

BARE = "bob@localhost"


def board(world: World, **config: Any) -> Switchboard:
    return e2e(world.make(ALICE, **config)).switchboard


@pytest.mark.parametrize(
    ("allowed", "peer", "listed"),
    [
        ("anyone", BOB, True),
        ("anyone", "BOB@localhost/b", False),
        ("anyone", BARE, False),
        ("anyone", "localhost/x", False),
        ([], BOB, False),
        ([], "alice@localhost/other", True),
        ([BARE], BOB, True),
        (["localhost"], BOB, True),
        (["other.test"], BOB, False),
        ("roster", BOB, False),
    ],
)
async def test_who_may_open_a_session(world: World, allowed: Any, peer: str, listed: bool) -> None:
    """Full JIDs of people, spelt as their stanzas will be, by the list; and our own devices."""
    assert board(world, accept_from=allowed).callers.is_listed(peer) is listed


@pytest.mark.parametrize("subscription", ["none", "to", "from", "both"])
async def test_contacts_who_see_our_presence_may(world: World, subscription: str) -> None:
    """No others; and asking puts nobody on the roster."""
    alice = world.make(ALICE, accept_from="roster")
    known = e2e(alice).switchboard.callers
    assert not known.is_listed(BOB)
    assert not alice.client_roster.has_jid(BARE)
    entry: Any = alice.client_roster[BARE]
    entry["from"], entry["to"] = subscription in ("from", "both"), subscription in ("to", "both")
    assert entry["subscription"] == subscription
    assert known.is_listed(BOB) is known.is_contact(BOB) is (subscription in ("from", "both"))
    known.allow(frozenset({"carol@localhost"}))
    assert known.is_contact(BOB) is (subscription in ("from", "both"))
    assert not known.is_listed(BOB)


async def test_without_a_key_we_are_not_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks."""
    known = board(world, accept_from="anyone").callers
    monkeypatch.setattr(Own, "is_open", False)
    assert not known.is_listed(BOB)


async def test_who_is_a_contact(world: World) -> None:
    """Our own account, and whom a list names; a word for all names nobody."""
    known = board(world, accept_from=[BARE, "localhost"]).callers
    assert [known.is_contact(peer) for peer in (BOB, "carol@localhost/c", "alice@localhost/x")] == [True, False, True]
    known.allow("anyone")
    assert [known.is_contact(peer) for peer in (BOB, "any/x")] == [False, False]


async def test_who_is_acquainted(world: World) -> None:
    """Contacts, and with whom we have had a session."""
    known = board(world, accept_from=["carol@localhost"]).callers
    e2e(world._clients[0]).memory.mark_seen(BARE, 1.0)
    assert [known.is_acquainted(f"{name}@localhost/x") for name in ("bob", "carol", "dave")] == [True, True, False]


async def test_whom_we_approach_may_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest ones, until somebody else is asked who may."""
    monkeypatch.setattr(callers, "APPROACHED", 2)
    it = board(world, accept_from=[])
    known = it.callers
    peers = [f"{number}@localhost/x" for number in range(3)]
    it.new_session(Role.RESPONDER, ALICE, peers[0], Assurance.NONE)
    assert not known.is_listed(peers[0])
    for number in (0, 1, 0, 2):
        it.new_session(Role.INITIATOR, ALICE, peers[number], Assurance.NONE)
    assert [known.is_listed(peer) for peer in peers] == [True, False, True]
    known.allow(frozenset())
    assert not any(map(known.is_listed, peers))

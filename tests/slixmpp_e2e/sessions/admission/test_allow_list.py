"""The allow list says who may open sessions with us. Nobody is connected here."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.sessions.admission import allow_list as allow_list_module
from slixmpp_e2e.sessions.admission.allow_list import AllowList
from tests.slixmpp_e2e.env import ALICE, BOB
from xmpp_loopback import no_tls

BARE = "bob@localhost"


@pytest.fixture
async def alice() -> ClientXMPP:
    return ClientXMPP(ALICE, "", ssl_context=no_tls())


def allow_list(alice: ClientXMPP, allowed: str | list[str], *, used_e2e: tuple[str, ...] = (), ready: bool = True) -> AllowList:
    who = allowed if isinstance(allowed, str) else frozenset(allowed)
    return AllowList(alice, who, used_e2e.__contains__, lambda: ready)


@pytest.mark.parametrize(
    ("allowed", "peer", "is_allowed"),
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
async def test_who_may_open_a_session(alice: ClientXMPP, allowed: Any, peer: str, is_allowed: bool) -> None:
    """Full JIDs of accounts, spelt as their stanzas will be, may if the setting allows them; and so may our own devices."""
    assert allow_list(alice, allowed).is_allowed(peer, ALICE) is is_allowed


@pytest.mark.parametrize("subscription", ["none", "to", "from", "both"])
async def test_contacts_who_see_our_presence_may(alice: ClientXMPP, subscription: str) -> None:
    known = allow_list(alice, "roster")
    assert not known.is_allowed(BOB, ALICE)
    assert not alice.client_roster.has_jid(BARE)
    entry: Any = alice.client_roster[BARE]
    entry["from"], entry["to"] = subscription in ("from", "both"), subscription in ("to", "both")
    assert entry["subscription"] == subscription
    assert known.is_allowed(BOB, ALICE) is known.is_contact(BOB) is (subscription in ("from", "both"))
    known.allow_sessions_from(frozenset({"carol@localhost"}))
    assert known.is_contact(BOB) is (subscription in ("from", "both"))
    assert not known.is_allowed(BOB, ALICE)


async def test_nobody_may_before_our_key_is_loaded(alice: ClientXMPP) -> None:
    assert not allow_list(alice, "anyone", ready=False).is_allowed(BOB, ALICE)


async def test_who_is_a_contact(alice: ClientXMPP) -> None:
    """Our own account is one, and whoever a list names; a domain and a word for everybody name nobody."""
    known = allow_list(alice, [BARE, "localhost"])
    assert [known.is_contact(peer) for peer in (BOB, "carol@localhost/c", "alice@localhost/x")] == [True, False, True]
    known.allow_sessions_from("anyone")
    assert [known.is_contact(peer) for peer in (BOB, "any/x")] == [False, False]


async def test_who_is_known(alice: ClientXMPP) -> None:
    known = allow_list(alice, ["carol@localhost"], used_e2e=(BARE,))
    assert [known.is_known(f"{name}@localhost/x") for name in ("bob", "carol", "dave")] == [True, True, False]


async def test_an_account_that_we_made_an_offer_may_answer(alice: ClientXMPP, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest of them are kept, until the setting is replaced."""
    monkeypatch.setattr(allow_list_module, "OFFERED", 2)
    known = allow_list(alice, [])
    for number in (0, 1, 0, 2):
        known.note_offer(f"{number}@localhost", "alice@localhost")
    peers = [f"{number}@localhost/x" for number in range(3)]
    assert [known.is_allowed(peer, ALICE) for peer in peers] == [True, False, True]
    known.allow_sessions_from(frozenset())
    assert not any(known.is_allowed(peer, ALICE) for peer in peers)

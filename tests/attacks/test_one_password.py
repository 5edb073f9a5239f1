"""Alice has one password with Bob and with Carol: what each of them can make of it towards the other.

What a client keeps of a password is stretched for two accounts. Whoever has that poses as nobody else; whoever has the
password does.
"""

from __future__ import annotations

import pytest

from slixmpp_e2e.trust import passwords
from slixmpp_e2e.trust.passwords import stretched
from tests.slixmpp_e2e.world import ALICE, Heard, World, e2e
from xmpp_e2e.authenticate.dialogue import Failed
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.identity import Assurance
from xmpp_loopback import Relay

SECRET = "the treasure is under the oak"
PASSWORD = "correct horse"
ALICES, BOBS, CAROLS = "alice@localhost", "bob@localhost", "carol@localhost"
CAROL = f"{CAROLS}/c"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stretching costs is not the point here."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)


async def written_to_carol(world: World, held: bytes) -> tuple[Relay, Heard, Heard]:
    """Alice writes to Carol, and a server in between holds this for a proof."""
    alice, carol = await world.client(ALICE), await world.client(CAROL)
    for client, peer in ((alice, CAROLS), (carol, ALICES)):
        e2e(client).switchboard._store.put_secret(peer, "srp", "1", stretched(PASSWORD, ALICES, CAROLS))
    relay = Relay(world.server.inject, ALICE, CAROL, secrets={"srp": held})
    world.server.interfere.append(relay)
    failed, heard = Heard(alice, "e2e_send_failed"), Heard(carol, "message")
    alice.send_message(mto=CAROL, mbody=SECRET, mtype="chat")
    return relay, failed, heard


async def test_what_bobs_store_holds_makes_nobody_carol(world: World) -> None:
    """Somebody has it, Bob himself or a thief, and Carol's server does as he says: to Alice he is not Carol, nor Alice to
    Carol."""
    relay, failed, heard = await written_to_carol(world, stretched(PASSWORD, ALICES, BOBS))
    assert isinstance((await failed.take()).error, Failed)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert world.in_clear(SECRET) == []


async def test_whoever_knows_the_password_can_be_carol(world: World) -> None:
    """The limit: Bob, who has typed it once, with a server that does as he says, is Carol to Alice, and Alice to Carol."""
    relay, _, heard = await written_to_carol(world, stretched(PASSWORD, CAROLS, ALICES))
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]


async def test_control_one_salt_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were passwords stretched without the accounts, what Bob's store holds would do."""
    monkeypatch.setattr(passwords, "labelled_hash", lambda label, *_: labelled_hash(label))
    relay, _, heard = await written_to_carol(world, stretched(PASSWORD, ALICES, BOBS))
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]

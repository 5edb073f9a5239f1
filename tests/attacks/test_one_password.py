"""Alice has one password with Bob and with Carol: what each of them can make of it towards the other.

What a client keeps of a password is derived for two accounts. Whoever has that poses as nobody else; whoever has the
password does.
"""

from __future__ import annotations

import pytest

from slixmpp_e2e.trust import passwords
from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.pair import has_code
from tests.slixmpp_e2e.env import ALICE, Env, Events, e2e
from xmpp_e2e.encoding import labelled_hash
from xmpp_e2e.errors import Code
from xmpp_e2e.types import Assurance
from xmpp_loopback import Mitm

SECRET = "the treasure is under the oak"
PASSWORD = "correct horse"
ALICES, BOBS, CAROLS = "alice@localhost", "bob@localhost", "carol@localhost"
CAROL = f"{CAROLS}/c"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stretching costs is not the point here."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)


async def written_to_carol(env: Env, held: bytes) -> tuple[Mitm, Events, Events]:
    """Alice writes to Carol, and a server in between holds this for a proof."""
    alice, carol = await env.client(ALICE), await env.client(CAROL)
    for client, peer in ((alice, CAROLS), (carol, ALICES)):
        e2e(client)._client._store.put_secret(peer, "srp", "1", derive_srp_secret(PASSWORD, ALICES, CAROLS))
    relay = Mitm(env.server.inject, ALICE, CAROL, shared_secrets={"srp": held})
    env.server.hooks.append(relay)
    failed, heard = Events(alice, "e2e_send_failed"), Events(carol, "message")
    alice.send_message(mto=CAROL, mbody=SECRET, mtype="chat")
    return relay, failed, heard


async def test_what_bobs_store_holds_makes_nobody_carol(env: Env) -> None:
    """Somebody has it, Bob or a thief, and Carol's server obeys them: to Alice they are not Carol, nor Alice to
    Carol."""
    relay, failed, heard = await written_to_carol(env, derive_srp_secret(PASSWORD, ALICES, BOBS))
    assert has_code(Code.PROOF_FAILED)((await failed.take()).error)
    assert relay.near.heard == []
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_whoever_knows_the_password_can_be_carol(env: Env) -> None:
    """The limit: Bob, who has typed it once, with a server that obeys, is Carol to Alice, and Alice to Carol."""
    relay, _, heard = await written_to_carol(env, derive_srp_secret(PASSWORD, CAROLS, ALICES))
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]


async def test_control_one_salt_for_all(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were passwords derived without the accounts, what Bob's store holds would do."""
    monkeypatch.setattr(passwords, "labelled_hash", lambda label, *_: labelled_hash(label))
    relay, _, heard = await written_to_carol(env, derive_srp_secret(PASSWORD, ALICES, BOBS))
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert relay.near.heard == [SECRET]

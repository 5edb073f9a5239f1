"""Attack 11: a server delays crossed offers so that the one ends as initiator whom it prefers; nothing depends on it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from slixmpp import ClientXMPP

from tests.pair import NOBODY, Pair, config, message, remembers
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, jingle, until
from xmpp_e2e import events
from xmpp_e2e.identity import Assurance, Remembered, Role, TrustModel
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.channel import HYBRID_GROUPS
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_loopback import hostile

# --- the core: what comes out for each person does not depend on the role ----------------------------------------------

PINNED = remembers("bob", Assurance.VERIFIED, "pin")
OTHER_PINNED = remembers("mallory", Assurance.VERIFIED, "pin")
CASES: dict[str, tuple[dict[str, Any], Remembered]] = {
    "first": ({}, NOBODY),
    "known": ({}, remembers("bob")),
    "pinned": ({}, PINNED),
    "new": ({}, remembers("mallory")),
    "new, refused": ({"on_key_change": OnKeyChange.REJECT}, remembers("mallory")),
    "changed": ({}, OTHER_PINNED),
    "changed, refused": ({"on_key_change": OnKeyChange.REJECT}, OTHER_PINNED),
    "untrusted": ({"trust_model": TrustModel.SERVER_UNTRUSTED}, NOBODY),
    "untrusted, pinned": ({"trust_model": TrustModel.SERVER_UNTRUSTED}, PINNED),
    "quantum-safe": ({"require_pq": True}, NOBODY),
}


def as_role(role: Role, terms: dict[str, Any], memory: Remembered) -> dict[str, object]:
    """What comes out when Alice, with these terms and this memory, has this role and Bob the other."""
    alice, bob = config("alice", **terms), config("bob")
    first = role is Role.INITIATOR
    pair = Pair(alice, bob, alice_remembers=memory) if first else Pair(bob, alice, bob_remembers=memory)
    pair.open()
    side, other = pair.side(role), pair.side(role.other)
    if other.session.stage is Stage.OPEN:
        other.session.send_stanza(message("from bob"))
        pair.run()
    established = side.session.established
    return {
        "assurance": side.session.assurance,
        "told": [(told.kind, told.decision, told.fingerprint) for told in side.of(events.KeyChanged)],
        "starts": [start.fingerprint for start in side.of(events.SessionStart)],
        "fails": [type(failed.error) for failed in side.of(events.SessionFailed)],
        "delivered": side.stanzas,
        "tls": (established.protocol, established.cipher, established.group) if established else None,
    }


@pytest.mark.parametrize(("terms", "memory"), CASES.values(), ids=CASES.keys())
def test_the_role_makes_no_difference(terms: dict[str, Any], memory: Remembered) -> None:
    """Key, assurance, what is told, whether it opens, and the TLS are the same in both roles."""
    assert as_role(Role.INITIATOR, terms, memory) == as_role(Role.RESPONDER, terms, memory)


# --- real clients ----------------------------------------------------------------------------------------------------


def loaded(client: ClientXMPP, sid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This client's next offer has a sid that begins so: crossed offers are decided by it."""
    switchboard = e2e(client).switchboard
    genuine = switchboard.new_session

    def new_session(*terms: Any) -> Session:
        session = genuine(*terms)
        session._negotiation._random = lambda count: bytes.fromhex(sid) + os.urandom(count - 1)
        return session

    monkeypatch.setattr(switchboard, "new_session", new_session)


@pytest.mark.parametrize("first", ["winner", "loser"])
@pytest.mark.parametrize("winner", [ALICE, BOB], ids=["alice initiates", "bob initiates"])
async def test_whoever_wins_the_security_is_the_same(
    world: World, winner: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server delivers the two offers in the order that it likes, the second only when the first has been answered.

    One session opens, by the offer with the lower sid, each side under its own terms, and both messages arrive. If the other
    offer came first, it was answered by a conflict with one that is still held back: who made it waits for that."""
    alice, bob = await world.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    for client, jid in ((alice, ALICE), (bob, BOB)):
        loaded(client, "00" if jid == winner else "ff", monkeypatch)
    hold = hostile.Hold(world.server, jingle("session-initiate"))
    world.server.interfere.append(hold)
    heard = {client: Heard(client, "message") for client in (alice, bob)}
    failed = {client: Heard(client, "e2e_send_failed") for client in (alice, bob)}
    started = {client: Heard(client, "e2e_session_start") for client in (alice, bob)}
    alice.send_message(mto=BOB, mbody="from alice", mtype="chat")
    bob.send_message(mto=ALICE, mbody="from bob", mtype="chat")
    await until(hold.caught(2))
    if (hold._held[0][1] == winner) is (first == "loser"):
        hold._held.reverse()
    hold.release(1)
    await world.settle(alice, bob)
    hold.release()
    ours, theirs = (alice, bob) if winner == ALICE else (bob, alice)
    words = {alice: "from alice", bob: "from bob"}
    levels = {alice: "verified", bob: "vouched"}
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        got = await heard[receiver].take()
        assert (got["body"], str(got["e2e"]["assurance"])) == (words[sender], levels[receiver])
    links = {client: (await started[client].take()).session for client in (alice, bob)}
    assert links[ours].sid == links[theirs].sid
    assert links[ours].role is Role.INITIATOR
    for client, peer in ((alice, bob), (bob, alice)):
        assert links[client].fingerprint == e2e(peer).fingerprint
        assert str(links[client].assurance) == levels[client]
        assert (links[client].protocol, links[client].group in HYBRID_GROUPS) == ("TLSv1.3", True)
    await world.settle(alice, bob)
    assert not any(map(len, (*heard.values(), *started.values(), *failed.values())))
    assert world.in_clear("from alice", "from bob") == []

"""Attack 11: a server delays crossed offers so that the one ends as initiator whom it prefers; nothing depends on it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from slixmpp import ClientXMPP

from tests.pair import NOBODY, Pair, config, message, remembers
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle, until
from xmpp_e2e import events
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.connection import HYBRID_GROUPS
from xmpp_e2e.types import (
    Assurance,
    KnownKeys,
    Role,
    TrustModel,
)
from xmpp_loopback import hostile

# --- the core: what comes out for each person does not depend on the role ----------------------------------------------

PINNED = remembers("bob", Assurance.VERIFIED, "pin")
OTHER_PINNED = remembers("mallory", Assurance.VERIFIED, "pin")
CASES: dict[str, tuple[dict[str, Any], KnownKeys]] = {
    "first": ({}, NOBODY),
    "known": ({}, remembers("bob")),
    "pinned": ({}, PINNED),
    "new": ({}, remembers("mallory")),
    "new, refused": ({"on_key_change": OnKeyChange.REJECT}, remembers("mallory")),
    "changed": ({}, OTHER_PINNED),
    "changed, refused": ({"on_key_change": OnKeyChange.REJECT}, OTHER_PINNED),
    "untrusted": ({"trust_model": TrustModel.SERVER_UNTRUSTED}, NOBODY),
    "untrusted, pinned": ({"trust_model": TrustModel.SERVER_UNTRUSTED}, PINNED),
    "quantum-safe": ({"require_post_quantum": True}, NOBODY),
}


def as_role(role: Role, terms: dict[str, Any], memory: KnownKeys) -> dict[str, object]:
    """What comes out when Alice, with these terms and this memory, has this role and Bob the other."""
    alice, bob = config("alice", **terms), config("bob")
    first = role is Role.INITIATOR
    pair = Pair(alice, bob, alice_remembers=memory) if first else Pair(bob, alice, bob_remembers=memory)
    pair.open()
    side, other = pair.side(role), pair.side(role.other)
    if other.session.state is State.OPEN:
        other.session.send_stanza(message("from bob"))
        pair.run()
    established = side.session.handshake_result
    return {
        "assurance": side.session.assurance,
        "told": [(told.status, told.decision, told.fingerprint) for told in side.of(events.KeyChanged)],
        "starts": [start.fingerprint for start in side.of(events.SessionOpened)],
        "fails": [type(failed.error) for failed in side.of(events.SessionFailed)],
        "delivered": side.stanzas,
        "tls": (established.protocol, established.cipher, established.group) if established else None,
    }


@pytest.mark.parametrize(("terms", "memory"), CASES.values(), ids=CASES.keys())
def test_the_role_makes_no_difference(terms: dict[str, Any], memory: KnownKeys) -> None:
    """Key, assurance, what is told, whether it opens, and the TLS are the same in both roles."""
    assert as_role(Role.INITIATOR, terms, memory) == as_role(Role.RESPONDER, terms, memory)


# --- real clients ----------------------------------------------------------------------------------------------------


def loaded(client: ClientXMPP, sid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This client's next offer has a sid that begins so: crossed offers are decided by it."""
    factory = e2e(client)._client._factory
    genuine = factory.create

    def create(*terms: Any) -> Session:
        session = genuine(*terms)
        session._negotiation._random = lambda count: bytes.fromhex(sid) + os.urandom(count - 1)
        return session

    monkeypatch.setattr(factory, "create", create)


@pytest.mark.parametrize("first", ["winner", "loser"])
@pytest.mark.parametrize("winner", [ALICE, BOB], ids=["alice initiates", "bob initiates"])
async def test_whoever_wins_the_security_is_the_same(
    env: Env, winner: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server delivers the two offers in the order that it likes, the second only when the first has been answered.

    One session opens, by the offer with the lower sid, each side under its own terms, and both messages arrive. If the other
    offer came first, it was answered by a conflict with one that is still held back: who made it waits for that."""
    alice, bob = await env.pair()
    await e2e(alice).trust.pin(BOB, e2e(bob).fingerprint)
    for client, jid in ((alice, ALICE), (bob, BOB)):
        loaded(client, "00" if jid == winner else "ff", monkeypatch)
    hold = hostile.Hold(env.server, jingle("session-initiate"))
    env.server.hooks.append(hold)
    heard = {client: Events(client, "message") for client in (alice, bob)}
    failed = {client: Events(client, "e2e_send_failed") for client in (alice, bob)}
    started = {client: Events(client, "e2e_session_opened") for client in (alice, bob)}
    alice.send_message(mto=BOB, mbody="from alice", mtype="chat")
    bob.send_message(mto=ALICE, mbody="from bob", mtype="chat")
    await until(hold.caught(2))
    if (hold._held[0][1] == winner) is (first == "loser"):
        hold._held.reverse()
    hold.release(1)
    await env.settle(alice, bob)
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
    await env.settle(alice, bob)
    assert not any(map(len, (*heard.values(), *started.values(), *failed.values())))
    assert env.in_clear("from alice", "from bob") == []

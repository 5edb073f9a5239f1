"""Attack 27 end to end: what two real clients say when a proof fails does not tell a wrong secret from another connection.

Compared are every byte inside TLS, every stanza at the server, and every word that the users are told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import explain
from tests.attacks.proof_mitm import KEYED, SECRETS
from tests.attacks.test_27_alike import SPOILING, wrong_context, wrong_exporter, wrong_log, wrong_secret
from tests.slixmpp_e2e.env import BOB, Env, Events, e2e
from xmpp_e2e.errors import E2EError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.session import Session
from xmpp_e2e.tls.connection import TLSConnection
from xmpp_e2e.types import Role

SECRET = "the treasure is under the oak"
ALICES, BOBS = "alice@localhost", "bob@localhost"
RANDOM = re.compile(r"(?<=[>'\"])(?:[A-Za-z0-9+/=-]{20,}|[0-9a-f]{16})(?=[<'\"])")
"""Ids, digests, ciphertext: random in each session, the same for no two runs."""


@dataclass(frozen=True)
class Seen:
    """All that can be seen of one run, random values apart."""

    inside: dict[Role, str]
    """What each said in TLS, to the byte; random values by their length. Who spoke first is a matter of the event loop."""
    outside: list[tuple[str, str]]
    """What the server carried, and for whom; random values left out, since signatures differ in length by a byte or two."""
    told: list[str]
    """What Alice and Bob were told."""


def share(client: ClientXMPP, peer: str, method: str, secret: bytes) -> None:
    store = e2e(client)._client._store
    store.put_secret(peer, method, "1", secret)
    store.clear_failed_attempts(peer, "srp")


async def played(env: Env, alice: ClientXMPP, bob: ClientXMPP, method: str, cause: SPOILING) -> Seen:
    """Alice writes; the proof fails for ``cause``, and is told."""
    inside = dict.fromkeys(Role, "")
    failed, at_bobs = Events(alice, "e2e_send_failed"), Events(bob, "e2e_session_failed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        held = cause(monkeypatch)
        share(alice, BOBS, method, SECRETS[method])
        share(bob, ALICES, method, held[method])
        genuine = TLSConnection.send

        def send(self: TLSConnection, plaintext: bytes) -> None:
            inside[self.role] += RANDOM.sub(lambda value: "~" * len(value[0]), plaintext.decode())
            genuine(self, plaintext)

        monkeypatch.setattr(TLSConnection, "send", send)
        begun = len(env.server.handled)
        alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
        told = [(await failed.take()).error, (await at_bobs.take()).error]
        await env.settle(alice, bob)
    outside = [(handled.client, RANDOM.sub("~", handled.text)) for handled in env.server.handled[begun:]]
    return Seen(inside, outside, [f"{type(error).__name__}\n{explain(error)}" for error in told])


def spoken(outside: list[tuple[str, str]]) -> dict[str, tuple[list[str], set[str]]]:
    """By client: the signalling in order, and how the blocks look; how TLS is cut into them is a matter of the event loop, and
    what is in them is compared inside."""
    said = {}
    for client in (f"{ALICES}/a", BOB):
        texts = [re.sub("seq=.[0-9]+.", "", text) for whose, text in outside if whose == client]
        said[client] = [text for text in texts if "<jingle" in text], {text for text in texts if "<jingle" not in text}
    return said


@KEYED
async def test_every_cause_looks_the_same(env: Env, method: str) -> None:
    """Inside to the byte, outside by stanza, and to both users."""
    alice, bob = await env.pair()
    first = await played(env, alice, bob, method, wrong_secret)
    for cause in (wrong_exporter, wrong_context, wrong_log):
        other = await played(env, alice, bob, method, cause)
        assert other.inside == first.inside
        assert spoken(other.outside) == spoken(first.outside)
        assert other.told == first.told
    assert any("session-terminate" in text for _, text in first.outside)
    assert all(said.endswith("</stream:stream>") for said in first.inside.values())
    assert env.in_clear(SECRET) == []


@KEYED
async def test_control_a_cause_that_is_said_is_seen(env: Env, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Control: were clients to say what was wrong, inside or in the signalling, the comparison would see it."""
    alice, bob = await env.pair()
    seen = []
    terminate = Session._terminate
    for cause, condition, reason in (
        (wrong_secret, "reset", Reason.GENERAL_ERROR),
        (wrong_exporter, "policy-violation", Reason.SECURITY_ERROR),
    ):

        def tell(self: Conversation, error: E2EError, condition: str = condition) -> None:
            self.out.error(condition)
            self.out.close_stream()

        def signal(self: Session, _: Reason, reason: Reason = reason) -> None:
            terminate(self, reason)

        monkeypatch.setattr(Conversation, "send_abort", tell)
        monkeypatch.setattr(Session, "_terminate", signal)
        seen.append(await played(env, alice, bob, method, cause))
    one, other = seen
    assert one.inside != other.inside
    assert spoken(one.outside) != spoken(other.outside)

"""Attack 23 end to end: a server between two real clients guesses the password that they share, at both, one run after another.

Five wrong guesses lock it, whether the clients were restarted meanwhile or another process of the same account was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import PasswordLocked
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from tests.attacks.proof_mitm import SECRETS
from tests.pair import has_code
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, jingle, turns
from tests.slixmpp_e2e.store.processes import Running
from xmpp_e2e.errors import Code, PeerRefused
from xmpp_e2e.types import Assurance
from xmpp_loopback import Mitm, offline

SECRET = "the treasure is under the oak"
ALICES, BOBS = "alice@localhost", "bob@localhost"
RIGHT = SECRETS["srp"]

ANOTHER = """
import asyncio, sys
from slixmpp import ClientXMPP
import slixmpp_e2e
from xmpp_loopback import connect, no_tls

class Server:
    port = int(sys.argv[1])

async def main():
    xmpp = ClientXMPP("alice@localhost/b", "alice's", ssl_context=no_tls())
    xmpp.register_plugin("e2e", {"store_path": sys.argv[2]}, module=slixmpp_e2e)
    failed, started = asyncio.Queue(), asyncio.Event()
    xmpp.add_event_handler("e2e_send_failed", failed.put_nowait)
    xmpp.add_event_handler("session_start", lambda _: started.set())
    connect(xmpp, Server)
    await started.wait()
    xmpp.send_presence()
    await xmpp.get_roster()
    for _ in range(int(sys.argv[4])):
        xmpp.send_message(mto="bob@localhost/b", mbody=sys.argv[3], mtype="chat")
        print(type((await failed.get()).error).__name__, flush=True)
    await xmpp.disconnect()

asyncio.run(main())
"""
"""Alice's other program: it writes so many times, and prints how each of them failed."""


class Guesser:
    """A hook: between Bob and each of Alice's devices, in every session that is offered; says ``guess`` to both sides."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.relays: list[Mitm] = []
        self.guess = b""
        env.server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | None:
        if jingle("session-initiate")(stanza, sender) and sender.startswith(ALICES):
            guess = self.guess or hashlib.sha256(b"%d" % len(self.relays)).digest()
            self.relays.append(Mitm(self._env.server.inject, sender, BOB, shared_secrets={"srp": guess}))
        for relay in self.relays:
            if relay(stanza, sender) is None:
                return None
        return stanza

    @property
    def heard(self) -> list[str]:
        """What anybody has said there."""
        return [text for relay in self.relays for end in (relay.near, relay.far) for text in end.heard]


def share(client: ClientXMPP, peer: str) -> None:
    e2e(client)._client._store.put_secret(peer, "srp", "1", RIGHT)


def count(alice: ClientXMPP, bob: ClientXMPP, *, guesses: int) -> None:
    """So many were made before."""
    for _ in range(guesses):
        for client, peer in ((alice, BOBS), (bob, ALICES)):
            e2e(client)._client._store.count_failed_attempt(peer, "srp")


def counted(client: ClientXMPP, peer: str) -> int:
    return e2e(client)._client._store.failed_attempts(peer, "srp")


async def restarted(env: Env, client: ClientXMPP) -> ClientXMPP:
    """The same account and store, in a client that knows nothing else."""
    jid = client.boundjid.full
    env.unload(client)
    await turns()
    await offline(client)
    return await env.client(jid)


async def tries(client: ClientXMPP) -> Exception:
    """Write to Bob; why it failed."""
    failed = Events(client, "e2e_send_failed")
    client.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    error: Exception = (await failed.take()).error
    return error


async def test_the_sixth_guess_is_none_after_a_restart(env: Env) -> None:
    """Both clients are restarted after each guess; the sixth session is refused on both sides before anything is said in it,
    though it would be right this time. When the users have unlocked it the genuine peers find each other."""
    alice, bob = await env.pair()
    share(alice, BOBS)
    share(bob, ALICES)
    guesser, heard = Guesser(env), []
    count(alice, bob, guesses=2)
    for guesses in range(3, MAX_PASSWORD_ATTEMPTS + 1):
        heard.append(Events(bob, "message"))
        at_bobs = Events(bob, "e2e_session_failed")
        assert has_code(Code.PROOF_FAILED)(await tries(alice))
        assert has_code(Code.PROOF_FAILED)((await at_bobs.take()).error)
        assert (counted(alice, BOBS), counted(bob, ALICES)) == (guesses, guesses)
        alice, bob = await restarted(env, alice), await restarted(env, bob)
    guesser.guess = RIGHT
    locked = await tries(alice)
    assert isinstance(locked, PasswordLocked)
    assert "is locked after 5 wrong attempts" in str(locked)
    assert "xmpp-e2e trust unlock bob@localhost" in explain(locked)
    assert len(guesser.relays) == MAX_PASSWORD_ATTEMPTS - 2  # nothing was offered
    assert isinstance(await offered_to_bob(env, bob, guesser), PeerRefused)
    assert guesser.heard == []
    assert not any(map(len, heard))
    assert env.in_clear(SECRET) == []
    env.server.hooks.clear()
    for client, peer in ((alice, BOBS), (bob, ALICES)):
        e2e(client)._client._store.clear_failed_attempts(peer, "srp")
    link, _ = await env.session(alice, bob)
    assert link.assurance is Assurance.VERIFIED


async def offered_to_bob(env: Env, bob: ClientXMPP, guesser: Guesser) -> Exception | None:
    """He offers Bob a session in Alice's name; what comes of it."""
    refused = Events(bob, "e2e_session_refused")
    relay = Mitm(env.server.inject, ALICE, BOB, shared_secrets={"srp": guesser.guess})
    guesser.relays.append(relay)
    relay.far.session.offer(0.0)
    relay.far.pump()
    assert isinstance((await refused.take()).error, PasswordLocked)
    await env.settle(bob)
    return relay.far.failure


async def test_guesses_of_all_processes_count(env: Env) -> None:
    """Three were counted in one process of Alice's, two are in another, and then there is no sixth in either."""
    alice, bob = await env.pair()
    share(alice, BOBS)
    share(bob, ALICES)
    store = e2e(alice)._store.path
    guesser, heard = Guesser(env), Events(bob, "message")
    count(alice, bob, guesses=2)
    assert has_code(Code.PROOF_FAILED)(await tries(alice))
    with Running(ANOTHER, env.server.port, store, SECRET, 3) as another:
        told = await asyncio.to_thread(another.rest)  # within a minute
    assert told.split() == ["AuthenticationFailed", "AuthenticationFailed", "PasswordLocked"]
    guesser.guess = RIGHT
    assert isinstance(await tries(alice), PasswordLocked)
    assert counted(alice, BOBS) == MAX_PASSWORD_ATTEMPTS
    assert len(guesser.relays) == MAX_PASSWORD_ATTEMPTS - 2
    assert guesser.heard == []
    assert len(heard) == 0
    assert env.in_clear(SECRET) == []


async def test_control_what_is_not_counted_is_guessed(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a store that forgets, the sixth guess is made, and if it is right it is believed."""
    monkeypatch.setattr(SQLStore, "count_failed_attempt", lambda *_: 0)
    alice, bob = await env.pair()
    share(alice, BOBS)
    share(bob, ALICES)
    guesser, heard = Guesser(env), Events(bob, "message")
    count(alice, bob, guesses=MAX_PASSWORD_ATTEMPTS)
    guesser.guess = RIGHT
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED
    assert guesser.heard == [SECRET]

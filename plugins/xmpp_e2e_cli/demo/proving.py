"""Is it really Bob? Four ways to find out, each from the beginning."""

from __future__ import annotations

import asyncio
import os

from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.verification.verifier import GUESSES
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli.demo.people import Actor, Play

GREETING = "Are you really the Bob from the lighthouse?"
PASSWORD, MISTYPED = "walrus under the lighthouse", "walrus under a lighthouse"


async def verified(play: Play, method: str) -> None:
    """That a message goes there and back under keys that ``method`` has verified."""
    alice, bob = play.alice, play.bob
    there, back = await play.round_trip(GREETING)
    proofs = {alice.proof(bob), bob.proof(alice)}
    levels = {alice.session.assurance, bob.session.assurance, there.assurance, back.assurance}
    proved = levels == {Assurance.VERIFIED} and proofs == {method}
    play.story.row("assurance", f"{back.assurance} by {method}, for both", proved)


async def share_password(play: Play, hers: str, his: str) -> None:
    """What each of them has typed, stretched and stored. The same is stretched once: for both it takes the same time."""
    alice, bob = play.alice, play.bob
    made = {typed: await asyncio.to_thread(stretched, typed, alice.account, bob.account) for typed in {hers, his}}
    alice.shares(bob, "srp", made[hers])
    bob.shares(alice, "srp", made[his])


def share_key(play: Play) -> None:
    """Random bytes, stored on both sides."""
    key = os.urandom(KEY_BYTES)
    play.alice.shares(play.bob, "psk", key)
    play.bob.shares(play.alice, "psk", key)


def wrong_guesses(actor: Actor, other: Actor) -> int:
    """Those that count."""
    return actor.e2e.memory.failures(other.account, "srp")


async def a_fingerprint(play: Play) -> None:
    """Both pin."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    await play.round_trip(GREETING)
    session = alice.session
    same = session.fingerprint == bob.e2e.fingerprint and bob.session.fingerprint == alice.e2e.fingerprint
    story.fact("On the telephone they read their fingerprints to each other. Each is the one that the other sees.", same)
    for actor, other in ((alice, bob), (bob, alice)):
        await actor.e2e.trust.pin(other.account, other.e2e.fingerprint)
    story.fact(f"Both pin it: xmpp-e2e trust pin {bob.account} SHA256:…", alice.session is session)
    await verified(play, "pin")


async def a_short_string(play: Play) -> None:
    """SAS, in a session that is open."""
    story, alice = play.story, play.alice
    await play.strangers()
    await play.round_trip(GREETING)
    session = alice.session
    vouched = session.assurance is Assurance.VOUCHED
    story.fact("Nothing is arranged. In the open session Alice asks for a string, which is new each time.", vouched)
    error = await play.compare(same=True)
    story.fact("The session goes on, with the keys that it had.", error is None and alice.session is session)
    await verified(play, "sas")


async def a_password(play: Play) -> None:
    """SRP: a wrong one, then the right one."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    await share_password(play, PASSWORD, MISTYPED)
    alice.write(bob, GREETING)
    error = await story.until("Alice is told that her message was not sent", alice.fails())
    his = await story.until("Bob's side of the attempt ends", bob.refused.get())
    refused = isinstance(error, AuthenticationFailed) and isinstance(his, AuthenticationFailed)
    story.fact("They have agreed on one (xmpp-e2e password). Bob mistypes it. Alice reads:", refused and bob.inbox.empty())
    story.quote(error.explain(), "red")
    guesses = [wrong_guesses(alice, bob), wrong_guesses(bob, alice)]
    story.fact(f"That was one guess, here and there; after {GUESSES} nothing is tried any more.", guesses == [1, 1])
    await share_password(play, PASSWORD, PASSWORD)
    story.fact("Bob corrects it. It is proved before the first word goes out.", not alice.e2e.sessions())
    await verified(play, "srp")


async def a_key(play: Play) -> None:
    """PSK."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    share_key(play)
    stored = [actor.e2e.memory.secret_ids(other.account, "psk") for actor, other in ((alice, bob), (bob, alice))]
    story.fact(f"Alice makes {KEY_BYTES} random bytes (xmpp-e2e psk new), and Bob adds them (xmpp-e2e psk add).", all(stored))
    await verified(play, "psk")

"""The server attacks: it gets in between the two, with keys of its own. Who notices?"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e.authenticate.srp import STRETCHED_BYTES
from xmpp_e2e.errors import AuthenticationFailed, E2EError, FingerprintMismatch, GivenUp
from xmpp_e2e.events import KeyChanged
from xmpp_e2e.identity import Assurance
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e_cli.demo.meeting import AGAIN
from xmpp_e2e_cli.demo.people import Play
from xmpp_e2e_cli.demo.proving import PASSWORD, share_key, share_password, wrong_guesses
from xmpp_loopback.hostile import swap_fingerprint
from xmpp_loopback.relay import Relay

FOOLED = "The treasure is buried under the old oak."
NEVER = "This sentence must never arrive anywhere."


def relay(play: Play, **terms: Any) -> Relay:
    """The server as Bob to Alice, and as Alice to Bob."""
    return Relay(play.theatre.inject, play.alice.jid, play.bob.jid, **terms)


def unheard(play: Play, middle: Relay | None = None) -> bool:
    """Has nobody got a word, neither Bob nor the server, and is nothing open?"""
    read = middle is not None and middle.near.heard + middle.far.heard
    sessions = play.alice.e2e.sessions() + play.bob.e2e.sessions()
    return play.bob.inbox.empty() and not sessions and not read


async def a_swap(play: Play) -> None:
    """The server puts a fingerprint of its own in the place of Bob's."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    forged = ":".join(f"{byte:02X}" for byte in Identity.create(datetime.now(UTC)).certificate_digest)
    before = len(play.theatre.handled())
    async with play.theatre.between(swap_fingerprint(forged, actions=("session-accept",))):
        alice.write(bob, NEVER)
        error = await story.until("Alice is told that her message was not sent", alice.fails())
        await story.until("Bob's side of the attempt ends", bob.refused.get())
    swapped = [seen.client for seen in play.theatre.handled()[before:] if forged in seen.text]
    story.fact("Alice writes. The server has changed the fingerprint that announces Bob's key:", swapped == [alice.jid])
    story.quote(f"{forged[:47]}…", "yellow")
    mismatch = isinstance(error, FingerprintMismatch)
    story.fact("Her client sees another key than the one announced, and refuses. She reads:", mismatch and unheard(play))
    story.quote(error.explain(), "red")


async def at_first_contact(play: Play) -> None:
    """With nothing but the server's word to go by, both are fooled."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    middle = relay(play)
    async with play.theatre.between(middle):
        there, back = await play.round_trip(FOOLED)
        answered = (there.body, back.body) == (FOOLED, f"You said: {FOOLED}")
        story.fact("To each it poses as the other, under a key of its own. Alice writes, Bob answers.", answered)
        story.fact("It has read both:", (middle.near.heard, middle.far.heard) == ([there.body], [back.body]))
        story.quote(f"{there.body}\n{back.body}", "yellow")
        story.row("Bob's key", f"{bob.e2e.fingerprint}", bob.e2e.fingerprint != middle.fingerprint)
        story.row("  Alice sees", f"{alice.session.fingerprint}", alice.session.fingerprint == middle.fingerprint)
        levels = {alice.session.assurance, bob.session.assurance, there.assurance, back.assurance}
        story.row("assurance", f"{back.assurance}, for both", levels == {Assurance.VOUCHED})
        story.say("Nothing tells them, for they have nothing to go by. Their sessions say so: `vouched`, and no more.")
        await play.part()


async def when_strings_are_compared(play: Play) -> None:
    """Fooled again, they compare."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    middle = relay(play, asks=frozenset({"sas"}))
    async with play.theatre.between(middle):
        await play.round_trip(FOOLED)
        his = bob.session
        story.fact("It reads along as before. Then Alice asks for a string:", middle.near.heard == [FOOLED])
        error = await play.compare(same=False)
        ended = await story.until("Bob's session ends, too", his.ended())
        differ = isinstance(error, AuthenticationFailed) and isinstance(ended, AuthenticationFailed)
        story.fact("Both sessions end. Alice reads:", differ and not alice.e2e.sessions() and not bob.e2e.sessions())
        story.quote(error.explain() if error else "", "red")


async def when_a_secret_is_shared(play: Play) -> None:
    """A key, a password: the server has neither."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    share_key(play)
    error, refused = await _guessed(play)
    story.fact("They share a key, which the server has to guess. Both refuse. Alice reads:", refused)
    story.quote(error.explain(), "red")
    await play.strangers()
    await share_password(play, PASSWORD, PASSWORD)
    other, refused = await _guessed(play)
    alike = other.explain() == error.explain().replace("psk", "srp")
    story.fact("They share a password. Both refuse, in the same words.", refused and alike)
    guesses = [wrong_guesses(alice, bob), wrong_guesses(bob, alice)]
    story.fact("That was the one guess that a session gives; it is counted on both sides.", guesses == [1, 1])


async def _guessed(play: Play) -> tuple[E2EError, bool]:
    """Alice writes, and the server has secrets of its own: what she is told, and whether both have refused it."""
    story, alice, bob = play.story, play.alice, play.bob
    middle = relay(play, secrets={"psk": os.urandom(KEY_BYTES), "srp": os.urandom(STRETCHED_BYTES)})
    async with play.theatre.between(middle):
        alice.write(bob, NEVER)
        hers = await story.until("Alice is told that her message was not sent", alice.fails())
        his = await story.until("Bob's side of the attempt ends", bob.refused.get())
    refused = isinstance(hers, AuthenticationFailed) and isinstance(his, AuthenticationFailed)
    return hers, refused and unheard(play, middle)


async def when_they_know_each_other(play: Play) -> None:
    """Another key than before: accepted, and told."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.strangers()
    await play.round_trip(AGAIN)
    await play.part()
    middle = relay(play)
    async with play.theatre.between(middle):
        there, back = await play.round_trip(FOOLED)
        hers, his = [await story.until("each is told of the key", actor.warned.get()) for actor in (alice, bob)]
        told = hers.fingerprint == his.fingerprint == middle.fingerprint
        levels = {there.assurance, back.assurance}
        story.fact("The session opens, and each is told of a new key. Alice reads:", told)
        story.quote(hers.text, "red")
        story.row("assurance", f"{back.assurance}, for both, and `known` no more", levels == {Assurance.VOUCHED})
        await play.part()


async def when_a_key_is_verified(play: Play) -> None:
    """Another key than the one that was pinned, or proved: nothing goes out."""
    story, alice, bob = play.story, play.alice, play.bob
    await _verified_before(play)
    await alice.e2e.trust.pin(bob.account, bob.e2e.fingerprint)
    warning, held = await _held(play)
    story.fact("Alice has pinned Bob's key. Her message waits until she gives up, and she reads:", held)
    story.quote(warning.text, "red")
    await _verified_before(play)
    bob.says.put_nowait(True)
    await story.until("the strings are compared", alice.session.verify_sas(lambda shown: True))
    await story.until("Bob has compared, too", bob.screen.get())
    _, held = await _held(play)
    story.fact("The same if they have compared a short string before.", held)


async def _verified_before(play: Play) -> None:
    await play.strangers()
    await play.round_trip(AGAIN)


async def _held(play: Play) -> tuple[KeyChanged, bool]:
    """Alice writes to somebody whose key is verified, and the server shows its own: what she is told, and whether nothing went
    out until she gave up."""
    story, alice, bob = play.story, play.alice, play.bob
    await play.part()
    middle = relay(play)
    async with play.theatre.between(middle):
        alice.write(bob, NEVER)
        warning = await story.until("Alice is told of another key", alice.warned.get())
        await play.part()
        error = await story.until("Alice gives up", alice.fails())
    held = (warning.decision, warning.fingerprint) == ("hold", middle.fingerprint)
    return warning, held and isinstance(error, GivenUp) and unheard(play, middle)

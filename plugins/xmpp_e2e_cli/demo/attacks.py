"""The server attacks: it gets in between the two with its own keys."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from slixmpp_e2e import KeyChanged
from slixmpp_e2e.alarms import explain
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e.authenticate.srp import DERIVED_PASSWORD_BYTES
from xmpp_e2e.errors import (
    AuthenticationFailed,
    Code,
    E2EError,
    SessionCancelled,
)
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli.demo.meeting import AGAIN
from xmpp_e2e_cli.demo.participants import Demo
from xmpp_e2e_cli.demo.verification import PASSWORD, failed_attempts, share_key, share_password
from xmpp_loopback.hostile import swap_fingerprint
from xmpp_loopback.mitm import Mitm

INTERCEPTED = "The treasure is buried under the old oak."
NEVER_SENT = "This sentence must never arrive anywhere."


def create_mitm(demo: Demo, **terms: Any) -> Mitm:
    """Return a man in the middle that is Bob to Alice, and Alice to Bob."""
    return Mitm(demo.server.inject, demo.alice.jid, demo.bob.jid, **terms)


def nothing_delivered(demo: Demo, mitm: Mitm | None = None) -> bool:
    """Return whether neither Bob nor the server got a message, and no session is open."""
    read = mitm is not None and mitm.near.heard + mitm.far.heard
    sessions = demo.alice.e2e.sessions() + demo.bob.e2e.sessions()
    return demo.bob.inbox.empty() and not sessions and not read


async def swapped_fingerprint(demo: Demo) -> None:
    """The server replaces Bob's fingerprint with another one."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    forged = ":".join(f"{byte:02X}" for byte in OwnKey.create(datetime.now(UTC)).certificate_digest)
    before = len(demo.server.handled())
    async with demo.server.between(swap_fingerprint(forged, actions=("session-accept",))):
        alice.send(bob, NEVER_SENT)
        error = await narrator.wait_for("Alice's client reports that the message was not sent", alice.send_error())
        await narrator.wait_for("Bob's side of the attempt ends", bob.failed_sessions.get())
    swapped = [stanza.client for stanza in demo.server.handled()[before:] if forged in stanza.text]
    narrator.claim("Alice writes. The server has changed the fingerprint that announces Bob's key:", swapped == [alice.jid])
    narrator.quote(f"{forged[:47]}…", "yellow")
    refused = error.code is Code.FINGERPRINT_MISMATCH and nothing_delivered(demo)
    narrator.claim("Her client sees another key than the announced one, and refuses it. She reads:", refused)
    narrator.quote(explain(error), "red")


async def first_contact(demo: Demo) -> None:
    """Alice and Bob have only the server's word, and the server deceives both."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    mitm = create_mitm(demo)
    async with demo.server.between(mitm):
        there, back = await demo.round_trip(INTERCEPTED)
        answered = (there.body, back.body) == (INTERCEPTED, f"You said: {INTERCEPTED}")
        narrator.claim("To each, it poses as the other, with its own key. Alice writes, Bob answers.", answered)
        narrator.claim("It has read both messages:", (mitm.near.heard, mitm.far.heard) == ([there.body], [back.body]))
        narrator.quote(f"{there.body}\n{back.body}", "yellow")
        narrator.claim_row("Bob's key", f"{bob.e2e.fingerprint}", bob.e2e.fingerprint != mitm.fingerprint)
        narrator.claim_row("  Alice sees", f"{alice.session.fingerprint}", alice.session.fingerprint == mitm.fingerprint)
        levels = {alice.session.assurance, bob.session.assurance, there.assurance, back.assurance}
        narrator.claim_row("assurance", f"{back.assurance}, for both", levels == {Assurance.VOUCHED})
        narrator.explain("Nothing warns them, because they have nothing to compare. Their sessions say `vouched`, and no more.")
        await demo.close_sessions()


async def compared_strings(demo: Demo) -> None:
    """The server deceives them again, and they compare a short string."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    mitm = create_mitm(demo, promptable_methods=frozenset({"sas"}))
    async with demo.server.between(mitm):
        await demo.round_trip(INTERCEPTED)
        bobs = bob.session
        narrator.claim("It reads along as before. Then Alice asks for a short string:", mitm.near.heard == [INTERCEPTED])
        error = await demo.compare_sas(same=False)
        ended = await narrator.wait_for("Bob's session ends, too", bobs.wait_closed())
        failed = isinstance(error, AuthenticationFailed) and isinstance(ended, AuthenticationFailed)
        narrator.claim("Both sessions end. Alice reads:", failed and not alice.e2e.sessions() and not bob.e2e.sessions())
        narrator.quote(explain(error) if error else "", "red")


async def shared_secret(demo: Demo) -> None:
    """Alice and Bob share a key, then a password. The server has neither."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    share_key(demo)
    error, refused = await _guess_secret(demo)
    narrator.claim("They share a key, and the server has to guess it. Both refuse. Alice reads:", refused)
    narrator.quote(explain(error), "red")
    await demo.start_over()
    await share_password(demo, PASSWORD, PASSWORD)
    other, refused = await _guess_secret(demo)
    alike = explain(other) == explain(error).replace("psk", "srp")
    narrator.claim("They share a password. Both refuse, in the same words.", refused and alike)
    counts = [failed_attempts(alice, bob), failed_attempts(bob, alice)]
    narrator.claim("The server had one guess in this session. Both sides have counted it.", counts == [1, 1])


async def _guess_secret(demo: Demo) -> tuple[E2EError, bool]:
    """Let Alice write while the server guesses the secrets; return the error, and whether both sides refused."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    mitm = create_mitm(demo, shared_secrets={"psk": os.urandom(KEY_BYTES), "srp": os.urandom(DERIVED_PASSWORD_BYTES)})
    async with demo.server.between(mitm):
        alice.send(bob, NEVER_SENT)
        alices = await narrator.wait_for("Alice's client reports that the message was not sent", alice.send_error())
        bobs = await narrator.wait_for("Bob's side of the attempt ends", bob.failed_sessions.get())
    refused = isinstance(alices, AuthenticationFailed) and isinstance(bobs, AuthenticationFailed)
    return alices, refused and nothing_delivered(demo, mitm)


async def known_key(demo: Demo) -> None:
    """Each sees another key than before: it is accepted, with a warning."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    await demo.round_trip(AGAIN)
    await demo.close_sessions()
    mitm = create_mitm(demo)
    async with demo.server.between(mitm):
        there, back = await demo.round_trip(INTERCEPTED)
        alices, bobs = [await narrator.wait_for("each gets a warning", each.key_changes.get()) for each in (alice, bob)]
        warned = alices.fingerprint == bobs.fingerprint == mitm.fingerprint
        levels = {there.assurance, back.assurance}
        narrator.claim("The session opens, and each is warned of a new key. Alice reads:", warned)
        narrator.quote(alices.text, "red")
        narrator.claim_row("assurance", f"{back.assurance}, for both, and no longer `known`", levels == {Assurance.VOUCHED})
        await demo.close_sessions()


async def verified_key(demo: Demo) -> None:
    """Alice sees another key than the pinned or verified one: nothing is sent."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await _meet(demo)
    await alice.e2e.trust.pin(bob.account, bob.e2e.fingerprint)
    warning, withheld = await _try_to_send(demo)
    narrator.claim("Alice has pinned Bob's key. The message waits until Alice gives up, who reads:", withheld)
    narrator.quote(warning.text, "red")
    await _meet(demo)
    bob.answers.put_nowait(True)
    await narrator.wait_for("the strings are compared", alice.session.verify_sas(lambda shown: True))
    await narrator.wait_for("Bob has compared, too", bob.sas_prompts.get())
    _, withheld = await _try_to_send(demo)
    narrator.claim("The same happens if they have compared a short string before.", withheld)


async def _meet(demo: Demo) -> None:
    await demo.start_over()
    await demo.round_trip(AGAIN)


async def _try_to_send(demo: Demo) -> tuple[KeyChanged, bool]:
    """Let Alice write while the server shows its own key; return the warning, and whether nothing was sent."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.close_sessions()
    mitm = create_mitm(demo)
    async with demo.server.between(mitm):
        alice.send(bob, NEVER_SENT)
        warning = await narrator.wait_for("Alice is warned of another key", alice.key_changes.get())
        await demo.close_sessions()
        error = await narrator.wait_for("Alice gives up", alice.send_error())
    waiting = (warning.decision, warning.fingerprint) == ("hold", mitm.fingerprint)
    return warning, waiting and isinstance(error, SessionCancelled) and nothing_delivered(demo, mitm)

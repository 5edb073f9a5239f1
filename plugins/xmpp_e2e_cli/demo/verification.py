"""Four ways to verify that it is really Bob, each from the beginning."""

from __future__ import annotations

import asyncio
import os

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.trust.passwords import derive_srp_secret
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from xmpp_e2e.authenticate.psk import KEY_BYTES
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli.demo.participants import Demo, Participant

GREETING = "Are you really the Bob from the lighthouse?"
PASSWORD, MISTYPED = "walrus under the lighthouse", "walrus under a lighthouse"


async def claim_verified(demo: Demo, method: str) -> None:
    """Claim that a message and its answer pass under keys that ``method`` has verified."""
    alice, bob = demo.alice, demo.bob
    there, back = await demo.round_trip(GREETING)
    methods = {alice.verified_by(bob), bob.verified_by(alice)}
    levels = {alice.session.assurance, bob.session.assurance, there.assurance, back.assurance}
    verified = levels == {Assurance.VERIFIED} and methods == {method}
    demo.narrator.claim_row("assurance", f"{back.assurance} by {method}, for both", verified)


async def share_password(demo: Demo, alices: str, bobs: str) -> None:
    """Store what each of them has typed. The same password is derived only once, because that takes a while."""
    alice, bob = demo.alice, demo.bob

    def derive() -> dict[str, bytes]:
        return {typed: derive_srp_secret(typed, alice.account, bob.account) for typed in {alices, bobs}}

    derived = await asyncio.to_thread(derive)
    alice.store_secret(bob, "srp", derived[alices])
    bob.store_secret(alice, "srp", derived[bobs])


def share_key(demo: Demo) -> None:
    """Store the same random bytes on both sides."""
    shared = os.urandom(KEY_BYTES)
    demo.alice.store_secret(demo.bob, "psk", shared)
    demo.bob.store_secret(demo.alice, "psk", shared)


def failed_attempts(participant: Participant, other: Participant) -> int:
    """Return the number of wrong passwords that count against ``other``."""
    return participant.e2e.secrets.failed_attempts(other.account)


async def fingerprint(demo: Demo) -> None:
    """Both compare fingerprints and pin them."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    await demo.round_trip(GREETING)
    session = alice.session
    same = session.fingerprint == bob.e2e.fingerprint and bob.session.fingerprint == alice.e2e.fingerprint
    narrator.claim("They read their fingerprints to each other by telephone. Each is the one that the other sees.", same)
    for participant, other in ((alice, bob), (bob, alice)):
        await participant.e2e.trust.pin(other.account, other.e2e.fingerprint)
    narrator.claim(f"Both pin it: xmpp-e2e trust pin {bob.account} SHA256:…", alice.session is session)
    await claim_verified(demo, "pin")


async def short_string(demo: Demo) -> None:
    """Both compare a short string (SAS) in an open session."""
    narrator, alice = demo.narrator, demo.alice
    await demo.start_over()
    await demo.round_trip(GREETING)
    session = alice.session
    vouched = session.assurance is Assurance.VOUCHED
    narrator.claim("They have arranged nothing. In the open session Alice asks for a string, new each time.", vouched)
    error = await demo.compare_sas(same=True)
    narrator.claim("The session goes on, with the same keys.", error is None and alice.session is session)
    await claim_verified(demo, "sas")


async def password(demo: Demo) -> None:
    """They share a password (SRP): first a wrong one, then the right one."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    await share_password(demo, PASSWORD, MISTYPED)
    alice.send(bob, GREETING)
    error = await narrator.wait_for("Alice's client reports that the message was not sent", alice.send_error())
    bobs = await narrator.wait_for("Bob's side of the attempt ends", bob.failed_sessions.get())
    refused = isinstance(error, AuthenticationFailed) and isinstance(bobs, AuthenticationFailed)
    narrator.claim("They agree on one (xmpp-e2e password). Bob mistypes it. Alice reads:", refused and bob.inbox.empty())
    narrator.quote(explain(error), "red")
    counts = [failed_attempts(alice, bob), failed_attempts(bob, alice)]
    locked = f"After {MAX_PASSWORD_ATTEMPTS} the password is locked."
    narrator.claim(f"That was one guess, on both sides. {locked}", counts == [1, 1])
    await share_password(demo, PASSWORD, PASSWORD)
    narrator.claim("Bob corrects it. It is verified before the first word is sent.", not alice.e2e.sessions())
    await claim_verified(demo, "srp")


async def key(demo: Demo) -> None:
    """They share a random key (PSK)."""
    narrator, alice, bob = demo.narrator, demo.alice, demo.bob
    await demo.start_over()
    share_key(demo)
    stored = [each.e2e.secrets.has(other.account, "psk") for each, other in ((alice, bob), (bob, alice))]
    narrator.claim(f"Alice creates {KEY_BYTES} random bytes (xmpp-e2e psk new). Bob adds them (xmpp-e2e psk add).", all(stored))
    await claim_verified(demo, "psk")

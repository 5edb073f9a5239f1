"""Attack 49: a key that Bob has refused, or a word that he has heard before, is to pass on what it does not have.

Mallory has stolen a key of Alice's, and signs with it what she likes. What Bob decided about the key stands.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.pair import ALICE, Pair, config, has_code, identity, message, remembers
from xmpp_e2e import events
from xmpp_e2e.errors import Code, StreamError
from xmpp_e2e.inner import elements
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.states import State
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.rotation import Rotation, find_rotation
from xmpp_e2e.types import ACCEPT, ROTATION, Assurance, KnownKey, KnownKeys, Role

ACCOUNT = ALICE.partition("/")[0]
OLD, NEW, THIRD = (identity(name) for name in ("alice", "alice 2", "mallory"))
SAID = Rotation.sign(ACCOUNT, OLD, NEW)
CHAIN = (SAID, Rotation.sign(ACCOUNT, NEW, THIRD))
PINNED = remembers("alice", Assurance.VERIFIED, "pin")


def beside(own: OwnKey, assurance: Assurance, method: str, *, blocked: bool = False) -> KnownKeys:
    """Bob has verified OLD, and this is what he knows of another key."""
    return KnownKeys((*PINNED.keys, KnownKey(own.fingerprint, assurance, method, 1.0, blocked)))


REFUSED = {
    "blocked": beside(NEW, Assurance.NONE, "block", blocked=True),
    "verified, then blocked": beside(NEW, Assurance.VERIFIED, "pin", blocked=True),
    "rotated to, then blocked": beside(NEW, Assurance.VERIFIED, ROTATION, blocked=True),
    "forgotten": replace(PINNED, forgotten=frozenset({NEW.fingerprint})),
    "held": beside(NEW, Assurance.VOUCHED, "route"),
    "accepted": beside(NEW, Assurance.VOUCHED, ACCEPT),
}


# --- a key between ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", REFUSED.values(), ids=REFUSED)
def test_refused_key_passes_nothing_on_by_one_more_rotation(known: KnownKeys) -> None:
    """Its thief adds a link to the chain, and comes with a key that nobody has seen."""
    pair = Pair(alice=config("alice", own_key=THIRD, rotations=CHAIN), bob_remembers=known).open()
    assert pair.bob.session.assurance is not Assurance.VERIFIED
    assert pair.bob.session.state is not State.OPEN
    assert not pair.bob.of(events.KeyRotated)
    assert len(pair.bob.of(events.KeyChanged)) == 1


def test_control_chain_over_a_key_that_was_never_met() -> None:
    """Bob was away for two rotations."""
    pair = Pair(alice=config("alice", own_key=THIRD, rotations=CHAIN), bob_remembers=PINNED).open()
    assert pair.bob.of(events.KeyRotated) == [events.KeyRotated(OLD.fingerprint, THIRD.fingerprint)]
    assert pair.bob.session.assurance is Assurance.VERIFIED


@pytest.mark.parametrize("place", [1, 2, 3])
def test_refused_key_anywhere_in_a_long_chain(place: int) -> None:
    """Each link between counts."""
    keys = (OLD, *(identity(f"alice {number}") for number in range(2, 7)))
    chain = tuple(Rotation.sign(ACCOUNT, *pair) for pair in pairwise(keys))
    shown = keys[-1].fingerprint
    assert find_rotation(chain, PINNED, ACCOUNT, shown) == (OLD.fingerprint, shown)
    forgotten = replace(PINNED, forgotten=frozenset({keys[place].fingerprint}))
    blocked = beside(keys[place], Assurance.NONE, "block", blocked=True)
    for known in (forgotten, blocked):
        assert find_rotation(chain, known, ACCOUNT, shown) is None


def test_chain_that_comes_back_to_the_old_key() -> None:
    """OLD was given up within the chain: it passes nothing on by a second statement, and takes nothing back."""
    back = Rotation.sign(ACCOUNT, NEW, OLD)
    assert find_rotation((SAID, back), PINNED, ACCOUNT, OLD.fingerprint) is None
    after = PINNED.rotated(OLD.fingerprint, NEW.fingerprint)
    assert find_rotation((back,), after, ACCOUNT, OLD.fingerprint) is None
    assert find_rotation((Rotation.sign(ACCOUNT, OLD, THIRD),), after, ACCOUNT, THIRD.fingerprint) is None


# --- a word that was heard before ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["old", "new"])
def test_statement_that_is_repeated_retires_nothing_again(shown: str) -> None:
    """Bob took OLD back after the rotation. In the next session the statement comes once more."""
    known = beside(NEW, Assurance.VERIFIED, ROTATION)
    pair = Pair(alice=config("alice", own_key=OLD if shown == "old" else NEW, rotations=(SAID,)), bob_remembers=known).open()
    assert pair.bob.session.state is State.OPEN
    assert not pair.bob.of(events.KeyRotated)
    assert not pair.bob.of(events.KeyChanged)


def test_control_statement_about_a_key_that_is_verified_by_another_way() -> None:
    """Bob had pinned both; this is the first that he hears of the rotation."""
    known = beside(NEW, Assurance.VERIFIED, "pin")
    pair = Pair(alice=config("alice", own_key=NEW, rotations=(SAID,)), bob_remembers=known).open()
    assert pair.bob.of(events.KeyRotated) == [events.KeyRotated(OLD.fingerprint, NEW.fingerprint)]


# --- stanzas of a key that was given up ------------------------------------------------------------------------------


def deaf() -> Pair:
    """An open session with whoever holds OLD, and heeds no farewell."""
    pair = Pair(bob_remembers=PINNED).open()
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    return pair


@pytest.mark.parametrize("at_once", [True, False])
def test_stanzas_after_the_rotation(at_once: bool) -> None:
    """They end the session, and are not delivered: what came before was."""
    pair = deaf()
    before, after = [message("before"), elements.build_rotation((SAID,))], [message("after"), message("and more")]
    if at_once:
        pair.says(Role.INITIATOR, *before, *after)
    else:
        pair.says(Role.INITIATOR, *before)
        assert pair.bob.session.state is State.CLOSING
        pair.says(Role.INITIATOR, *after)
    assert pair.bob.stanzas == ["before"]
    error = pair.bob.failure
    assert has_code(Code.STREAM_ERROR)(error)
    assert isinstance(error, StreamError)
    assert error.condition == "policy-violation"
    assert pair.bob.of(events.KeyRotated) == [events.KeyRotated(OLD.fingerprint, NEW.fingerprint)]


def test_stanzas_after_a_rotation_that_counts_for_nothing() -> None:
    """Bob has not verified OLD. Whoever sent it has given the key up all the same."""
    pair = Pair().open()
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    pair.says(Role.INITIATOR, elements.build_rotation((SAID,)), message("after"))
    assert pair.bob.stanzas == []
    assert has_code(Code.STREAM_ERROR)(pair.bob.failure)


# --- what we have written for a key ----------------------------------------------------------------------------------

SECRET = "the treasure is under the oak"
BLOCKED = KnownKeys((KnownKey(OLD.fingerprint, Assurance.NONE, "block", 1.0, blocked=True),))


def written_then_blocked() -> Pair:
    """Bob's stanza waits for the bytestream when he blocks the key."""
    pair = Pair(bob_remembers=PINNED).open()
    pair.bob.session.send_stanza(message(SECRET))
    pair.bob.session.update_known_keys(BLOCKED, pair.now)
    return pair.run()


def test_what_waits_is_not_sent_to_a_key_that_was_blocked() -> None:
    """The peer hears that the session is over, and nothing else."""
    pair = written_then_blocked()
    assert has_code(Code.UNTRUSTED_KEY)(pair.bob.failure)
    assert pair.alice.stanzas == []
    assert pair.alice.session.state is State.CLOSED


def test_control_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would arrive."""
    monkeypatch.setattr(SendBuffer, "drop_stanzas", lambda self: None)
    assert written_then_blocked().alice.stanzas == [SECRET]


def test_control_of_stanzas_after_the_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be delivered."""
    note = Conversation._note_rotation

    def forget(self: Conversation, rotations: tuple[Rotation, ...]) -> None:
        self._rotation_received = False
        note(self, rotations)

    monkeypatch.setattr(Conversation, "_note_rotation", forget)
    pair = deaf()
    pair.says(Role.INITIATOR, elements.build_rotation((SAID,)), message("after"))
    assert pair.bob.stanzas == ["after"]

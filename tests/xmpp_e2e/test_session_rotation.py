"""A rotated key is taken for the old one in a new session and in an open one; a peer without rotations goes on unharmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.pair import ALICE, BOB, Pair, config, has_code, identity, message, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.errors import Code, LocalError, UntrustedKey
from xmpp_e2e.inner import elements
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.states import State
from xmpp_e2e.tls.rotation import Rotation
from xmpp_e2e.types import RETIRED, Assurance, KnownKey, KnownKeys, Role

ROLES = (Role.INITIATOR, Role.RESPONDER)
NAMES = {Role.INITIATOR: "alice", Role.RESPONDER: "bob"}
PEER = {"alice": "bob", "bob": "alice"}


def rotation(name: str) -> Rotation:
    """The statement of Alice or Bob that their second key takes the place of the first."""
    account = (ALICE if name == "alice" else BOB).partition("/")[0]
    return Rotation.sign(account, identity(name), identity(f"{name} 2"))


def pair(role: Role, *, said: bool = True, **changes: Any) -> Pair:
    """The side ``role`` has rotated; the other has verified the old key."""
    name = NAMES[role]
    rotated = config(name, own_key=identity(f"{name} 2"), rotations=(rotation(name),) if said else ())
    knows = remembers(name, Assurance.VERIFIED, "pin")
    if role is Role.INITIATOR:
        return Pair(alice=rotated, bob=config("bob", **changes), bob_remembers=knows)
    return Pair(alice=config("alice", **changes), bob=rotated, alice_remembers=knows)


def known_to(made: Pair, role: Role) -> KnownKeys:
    return talk(made.side(role).session)._gate.key.known_keys


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("on_key_change", OnKeyChange)
def test_new_key_in_a_new_session(role: Role, on_key_change: OnKeyChange) -> None:
    """It is verified without an alarm, whatever the rule for changed keys, and the host hears of both keys."""
    made = pair(role, on_key_change=on_key_change).open()
    checker, name = made.side(role.other), NAMES[role]
    assert checker.session.state is State.OPEN
    assert checker.session.assurance is Assurance.VERIFIED
    old, new = identity(name).fingerprint, identity(f"{name} 2").fingerprint
    assert checker.of(events.KeyRotated) == [events.KeyRotated(old, new)]
    assert not checker.of(events.KeyChanged)
    known = known_to(made, role.other)
    assert (known.is_verified(old), known.is_verified(new)) == (False, True)


@pytest.mark.parametrize("role", ROLES)
def test_control_without_the_statement(role: Role) -> None:
    """The same key is held, and the user is told."""
    made = pair(role, said=False).open()
    checker = made.side(role.other)
    assert checker.session.state is not State.OPEN
    assert len(checker.of(events.KeyChanged)) == 1
    assert not checker.of(events.KeyRotated)


@pytest.mark.parametrize("ended", ["cut", "cancelled"])
def test_a_surprise_is_told_though_the_hello_never_comes(ended: str) -> None:
    """The initiator waits for the responder's hello before the alarm; if the session ends before, it comes then."""
    made = pair(Role.RESPONDER, said=False)
    made.on_data = lambda role, data: [data] if role is Role.INITIATOR or made.alice.session.state is State.HANDSHAKING else []
    made.open()
    assert made.alice.session.state is State.SECURED
    assert not made.alice.of(events.KeyChanged)
    if ended == "cut":
        made.alice.session.receive_data(b"", made.now)
    else:
        made.alice.session.close(made.now)
    made.collect_events(Role.INITIATOR)
    kinds = [type(event) for event in made.alice.events]
    assert kinds.index(events.KeyChanged) < kinds.index(events.SessionFailed)


def opened(role: Role) -> Pair:
    """An open session; the other side has verified the key of ``role``."""
    knows = remembers(NAMES[role], Assurance.VERIFIED, "pin")
    made = Pair(bob_remembers=knows) if role is Role.INITIATOR else Pair(alice_remembers=knows)
    made.open()
    assert made.side(role.other).session.assurance is Assurance.VERIFIED
    return made


@pytest.mark.parametrize("role", ROLES)
def test_in_an_open_session(role: Role) -> None:
    """The peer learns of the new key, nothing that is on its way is lost, and both say farewell."""
    made, name = opened(role), NAMES[role]
    made.side(role).session.send_stanza(message("before"))
    made.side(role.other).session.send_stanza(message("meanwhile"))
    made.side(role).session.announce_rotation((rotation(name),), made.now)
    made.run()
    checker = made.side(role.other)
    assert checker.of(events.KeyRotated) == [events.KeyRotated(identity(name).fingerprint, identity(f"{name} 2").fingerprint)]
    assert checker.stanzas == ["before"]
    assert made.side(role).stanzas == ["meanwhile"]
    for side in (made.alice, made.bob):
        assert [event.clean for event in side.of(events.SessionClosed)] == [True]


@pytest.mark.parametrize("role", ROLES)
def test_peer_without_rotations_is_unharmed(role: Role) -> None:
    """It is told nothing, and the session ends by farewells."""
    knows_none = {tag: act for tag, act in Conversation._ON_ELEMENT.items() if tag != elements.ROTATION}

    def be_old(conversation: Conversation) -> None:
        conversation._hello = replace(conversation._hello, rotations=None)
        vars(conversation)["_ON_ELEMENT"] = knows_none

    made = Pair()
    prepare(made.side(role.other).session, be_old)
    made.open()
    made.side(role).session.announce_rotation((rotation(NAMES[role]),), made.now)
    made.run()
    for side in (made.alice, made.bob):
        assert [event.clean for event in side.of(events.SessionClosed)] == [True]


@pytest.mark.parametrize("role", ROLES)
def test_control_a_peer_without_rotations_would_be_harmed(role: Role) -> None:
    """An element that it does not know ends its session."""
    knows_none = {tag: act for tag, act in Conversation._ON_ELEMENT.items() if tag != elements.ROTATION}
    made = Pair()
    prepare(made.side(role.other).session, lambda it: setattr(it, "_ON_ELEMENT", knows_none))
    made.open()
    made.side(role).session.announce_rotation((rotation(NAMES[role]),), made.now)
    made.run()
    assert has_code(Code.STREAM_ERROR)(made.side(role.other).failure)


@pytest.mark.parametrize("knows", [KnownKeys(), remembers("alice")], ids=["first", "known"])
def test_key_that_is_not_verified_announces_nothing(knows: KnownKeys) -> None:
    """The session still ends: its key is given up."""
    made = Pair(bob_remembers=knows).open()
    made.alice.session.announce_rotation((rotation("alice"),), made.now)
    made.run()
    assert not made.bob.of(events.KeyRotated)
    assert [event.clean for event in made.bob.of(events.SessionClosed)] == [True]


def test_farewell_for_the_other_sessions_of_a_retired_key() -> None:
    """The host has learnt of it in another session."""
    made = opened(Role.INITIATOR)
    key = identity("alice").fingerprint
    known = remembers("alice", Assurance.VERIFIED, "pin").rotated(key, identity("alice 2").fingerprint)
    made.alice.session.send_stanza(message("on its way"))
    made.bob.session.update_known_keys(known, made.now)
    assert made.bob.session.state is State.CLOSING
    made.bob.session.update_known_keys(known, made.now)
    made.run()
    assert made.bob.stanzas == ["on its way"]
    assert [event.clean for event in made.bob.of(events.SessionClosed)] == [True]


def test_retired_key_opens_no_session() -> None:
    """Whoever comes with it is refused, and the user hears why."""
    key = identity("alice").fingerprint
    known = remembers("alice", Assurance.VERIFIED, "pin").rotated(key, identity("alice 2").fingerprint)
    made = Pair(bob_remembers=known).open()
    assert has_code(Code.UNTRUSTED_KEY)(made.bob.failure)
    (changed,) = made.bob.of(events.KeyChanged)
    assert (changed.status, changed.assessment.verified_by) == ("blocked", RETIRED)


def test_announced_once() -> None:
    """A second announcement, or one before the session is open, is no order that a sender keeps."""
    made = opened(Role.INITIATOR)
    made.says(Role.INITIATOR, elements.build_rotation(()), elements.build_rotation(()))
    assert has_code(Code.STREAM_ERROR)(made.bob.failure)
    early = Pair(bob=config("bob", min_assurance=Assurance.VERIFIED)).open()
    assert early.bob.session.state is not State.OPEN
    early.says(Role.INITIATOR, elements.build_rotation(()))
    assert has_code(Code.STREAM_ERROR)(early.bob.failure)


def test_only_an_open_session_announces() -> None:
    """Before and after, there is nobody to tell."""
    made = Pair()
    with pytest.raises(LocalError, match="no rotation can be announced now"):
        made.alice.session.announce_rotation((), made.now)
    made.open()
    made.alice.session.close(made.now)
    with pytest.raises(LocalError, match="the session is closing"):
        made.alice.session.announce_rotation((), made.now)


def test_announcement_while_we_say_farewell_still_counts() -> None:
    """Both ends may begin at once."""
    made = opened(Role.INITIATOR)
    made.alice.session.announce_rotation((rotation("alice"),), made.now)
    made.bob.session.close(made.now)
    made.run()
    assert len(made.bob.of(events.KeyRotated)) == 1
    assert [event.clean for event in made.bob.of(events.SessionClosed)] == [True]


@pytest.mark.parametrize("role", ROLES)
def test_comparison_is_interrupted(role: Role) -> None:
    """Strings are on both screens: both users hear that nothing comes of it, as when a session is cut."""
    made = opened(role)
    made.declines = False
    for side in (made.alice, made.bob):
        side.session.request_verification("sas", made.now)
        made.run()
    assert all(len(side.of(events.PromptRequested)) == 1 for side in (made.alice, made.bob))
    made.side(role).session.announce_rotation((rotation(NAMES[role]),), made.now)
    made.run()
    for side in (made.alice, made.bob):
        assert side.of(events.SasInterrupted) == [events.SasInterrupted("sas")]
        assert side.session.pending_prompt is None


@pytest.mark.parametrize("role", Role)
def test_a_key_that_is_blocked_during_our_farewell(role: Role) -> None:
    """A peer that does not say farewell could go on sending stanzas."""
    pair = Pair().open()
    ours, theirs = pair.side(role), pair.side(role.other)
    ours.session.close(pair.now)
    key = ours.session.fingerprint
    assert key is not None
    ours.session.update_known_keys(KnownKeys((KnownKey(key, Assurance.VOUCHED, "route", 1.0),)), pair.now)
    assert ours.session.state is State.CLOSING
    ours.session.update_known_keys(KnownKeys((KnownKey(key, Assurance.VOUCHED, "route", 1.0, blocked=True),)), pair.now)
    theirs.session.send_stanza(message("too late"))
    pair.run()
    assert isinstance(ours.failure, UntrustedKey)
    assert not ours.stanzas

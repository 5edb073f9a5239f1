"""What users hold of a session."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from slixmpp_e2e import session as session_module
from slixmpp_e2e.session import Sessions
from slixmpp_e2e.sessions.driver import SessionReleased
from slixmpp_e2e.xmpp import marker
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, until
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Fingerprint, Role


class Driver:
    """A driver as the sessions see it."""


async def test_a_session_tells_what_it_is(env: Env) -> None:
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    assert (ours.own_jid, ours.peer, ours.role, ours.state) == (ALICE, BOB, Role.INITIATOR, State.OPEN)
    assert (ours.sid, ours.assurance, ours.min_assurance) == (theirs.sid, Assurance.VOUCHED, Assurance.VOUCHED)
    assert ours.fingerprint == e2e(bob).fingerprint
    assert (ours.protocol, ours.group) == ("TLSv1.3", "X25519MLKEM768")
    assert ours.cipher == theirs.cipher
    assert ours.is_open
    assert ours.is_writable
    assert not ours.is_verifying
    assert e2e(alice).sessions() == (ours,)
    assert BOB in repr(ours)
    await until(ours.close())
    assert e2e(alice).sessions() == ()


async def test_a_stanza_is_sent_through_this_session_or_nowhere(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    heard = Events(bob, "message")
    ours.send(alice.make_message(mto=BOB, mbody="through this one"))
    assert (await heard.take())["body"] == "through this one"
    await until(ours.close())
    with pytest.raises(LocalError):
        ours.send(alice.make_message(mto=BOB, mbody="in vain"))
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert env.in_clear("in vain") == []


def test_a_bounded_number_of_ended_sessions_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stanzas of the sessions that ended last can still tell how they came; nothing is left of older sessions."""
    monkeypatch.setattr(session_module, "ENDED_SESSIONS", 1)
    nobody: Any = None
    sessions, kept = Sessions(nobody), []
    for _ in range(3):
        driver: Any = Driver()
        sessions.on_session_event(driver, events.SessionOpened(Assurance.VOUCHED, Fingerprint(bytes(32))))
        assert sessions.token_of(driver)
        kept.append(ref(sessions.of(driver)))
        sessions.on_session_event(driver, SessionReleased())
        assert not sessions.token_of(driver)
        del driver
    gc.collect()
    assert [session() is not None for session in kept] == [False, False, True]


def test_nothing_is_kept_of_a_session_that_never_opened() -> None:
    """Its object lives as long as somebody has it, and is the same for all."""
    nobody: Any = None
    sessions, driver = Sessions(nobody), Driver()
    any_driver: Any = driver
    session = sessions.of(any_driver)
    assert sessions.of(any_driver) is session
    sessions.on_session_event(any_driver, SessionReleased())
    left = ref(driver)
    del session, driver, any_driver
    gc.collect()
    assert left() is None


def test_nothing_is_kept_of_a_client_that_is_dropped_with_its_sessions() -> None:
    """A program may let go of a client without unloading the plugin: no session is over then."""
    nobody: Any = None
    sessions, driver = Sessions(nobody), Driver()
    any_driver: Any = driver
    sessions.on_session_event(any_driver, events.SessionOpened(Assurance.VOUCHED, Fingerprint(bytes(32))))
    token = sessions.token_of(any_driver)
    assert token in marker._live
    del sessions, driver, any_driver
    gc.collect()
    assert token not in marker._live

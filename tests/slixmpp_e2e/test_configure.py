"""Settings that a running program changes."""

from __future__ import annotations

import pytest

from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.settings import CHANGEABLE, DEFAULTS
from tests.slixmpp_e2e.env import Env, Events, e2e, until
from xmpp_e2e.types import Assurance


async def test_prompts_that_are_set_after_loading_are_used(env: Env) -> None:
    alice, bob = await env.pair()
    session, _ = await env.session(alice, bob)
    changed = Events(alice, "e2e_assurance_changed")
    e2e(bob).configure(ask_sas=lambda prompt: True)
    await until(session.verify_sas(lambda prompt: True))
    event = await changed.take()
    assert (event.before, event.assurance) == (Assurance.VOUCHED, Assurance.VERIFIED)
    assert event.session is session


async def test_another_policy_holds_at_once(env: Env) -> None:
    alice, bob = await env.pair(policy="off")
    heard, opened = Events(bob, "message"), Events(alice, "e2e_session_opened")
    alice.send_message(mto=bob.boundjid.full, mbody="plain", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "none"
    for client in (alice, bob):
        e2e(client).configure(policy="prefer")
    await env.settle(alice, bob)
    alice.send_message(mto=bob.boundjid.full, mbody="encrypted", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    await opened.take()
    ended = Events(alice, "e2e_session_closed")
    e2e(alice).configure(policy="off")
    await ended.take()


async def test_who_may_not_open_sessions_any_more_loses_them(env: Env) -> None:
    alice, bob = await env.pair()
    await env.session(alice, bob)
    ended = Events(bob, "e2e_session_closed")
    e2e(bob).configure(accept_from=["carol@localhost"])
    await ended.take()


@pytest.mark.parametrize("name", sorted(set(DEFAULTS) - CHANGEABLE))
async def test_other_settings_are_read_once(env: Env, name: str) -> None:
    alice = await env.client("alice@localhost/x")
    with pytest.raises(ConfigError, match=name):
        e2e(alice).configure(**{name: DEFAULTS[name]})


@pytest.mark.parametrize(("name", "value"), [("policy", "perhaps"), ("disconnect_seconds", 0), ("polciy", "off")])
async def test_a_wrong_value_changes_nothing(env: Env, name: str, value: object) -> None:
    alice = await env.client("alice@localhost/x")
    before = dict(e2e(alice).config)
    with pytest.raises(ConfigError, match=name):
        e2e(alice).configure(**{"trust_model": "server-untrusted", name: value})
    assert e2e(alice).config == before


async def test_sessions_on_their_way_are_listed(env: Env) -> None:
    alice, bob = await env.pair()
    alice.send_message(mto=bob.boundjid.full, mbody="opens", mtype="chat")
    opened = Events(alice, "e2e_session_opened")
    await opened.take()
    assert e2e(alice).sessions(bob.boundjid.bare) == e2e(alice).sessions(bob.boundjid.full) == e2e(alice).sessions()
    assert e2e(alice).sessions("carol@localhost") == ()
    assert e2e(alice).sessions(f"{bob.boundjid.bare}/other") == ()

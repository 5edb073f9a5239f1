"""Notes to oneself: another program of the same account, with a store of its own, or with the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.alarms import explain
from tests.slixmpp_e2e.env import Env, Events

HERE, THERE, OURS = "alice@localhost/here", "alice@localhost/there", "alice@localhost"


@pytest.mark.parametrize("to", [OURS, THERE])
async def test_another_device_of_our_own_gets_notes_inside(env: Env, to: str) -> None:
    here, there = await env.client(HERE), await env.client(THERE)
    await env.settle(here, there)
    heard = Events(there, "message")
    here.send_message(mto=to, mbody="a note")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear("a note") == []


@pytest.mark.parametrize("policy", ["prefer", "opportunistic"])
@pytest.mark.parametrize("to", [OURS, THERE])
async def test_two_programs_with_one_store_are_told_what_is_so(env: Env, tmp_path: Path, to: str, policy: str) -> None:
    """They show one key, as if somebody reflected our bytes. The error says that, and that another store is the way out."""
    config: dict[str, Any] = {"store_path": str(tmp_path / "shared.db"), "policy": policy}
    here, there = await env.client(HERE, **config), await env.client(THERE, **config)
    await env.settle(here, there)
    failed = Events(here, "e2e_send_failed")
    here.send_message(mto=to, mbody="a note")
    error = (await failed.take()).error
    text = explain(error)
    assert f"{THERE} shows our own key" in text
    assert "the same store" in text
    assert "store_path" in text
    assert "reflects our own bytes" in text
    assert "XDG_DATA_HOME" in text
    assert env.in_clear("a note") == []


async def test_nobody_opens_a_session_with_themselves(env: Env) -> None:
    """What is for our own full JID goes by way of the server, as ever."""
    here = await env.client(HERE)
    heard, failed = Events(here, "message"), Events(here, "e2e_session_failed")
    here.send_message(mto=HERE, mbody="to myself")
    assert await heard.bodies(1) == ["to myself"]
    assert len(failed) == 0

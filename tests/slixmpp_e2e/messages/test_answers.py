"""What is delivered is answered in the way in which it came (RFC 6120 §8.2.3), also to whom we have met."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP
from slixmpp.basexmpp import BaseXMPP
from slixmpp.exceptions import IqError

from tests.slixmpp_e2e.env import ALICE, BOTS, Env, Events, e2e, until
from xmpp_loopback import offline

DESK, PHONE = "bob@localhost/desk", "bob@localhost/phone"


async def met(env: Env, policy: str) -> tuple[ClientXMPP, ClientXMPP]:
    """Return Alice, who has a session with Bob's desktop, and Bob's phone, which has no encryption."""
    alice = await env.client(ALICE, "xep_0199", "xep_0092", policy=policy)
    desk, phone = await env.client(DESK), await env.client(PHONE, "xep_0199", "xep_0092", load=False)
    await env.settle(alice, desk, phone)
    await env.session(alice, desk)
    return alice, phone


def ask(client: BaseXMPP, plugin: str, to: str) -> Any:
    plugins: Any = client.plugin
    return plugins[plugin].send_ping(to) if plugin == "xep_0199" else plugins[plugin].get_version(to)


@pytest.mark.parametrize("plugin", ["xep_0199", "xep_0092"])
async def test_a_plain_client_of_somebody_whom_we_have_met_gets_answers(env: Env, plugin: str) -> None:
    _, phone = await met(env, "prefer")
    assert (await until(ask(phone, plugin, ALICE)))["type"] == "result"


async def test_what_nobody_handles_is_answered_by_an_error(env: Env) -> None:
    _, phone = await met(env, "prefer")
    with pytest.raises(IqError) as caught:
        await until(phone.make_iq_get(ito=ALICE, queryxmlns="urn:example:unknown").send())
    assert caught.value.condition == "feature-not-implemented"


async def test_what_is_refused_is_answered_by_an_error(env: Env) -> None:
    """Under ``require`` it is not delivered. What is asked of the features is, and answered: a node that is not there, too."""
    _, phone = await met(env, "require")
    with pytest.raises(IqError) as caught:
        await until(ask(phone, "xep_0199", ALICE))
    assert caught.value.condition == "service-unavailable"
    answer = await until(phone.plugin["xep_0030"].get_info(jid=ALICE))
    assert answer["disco_info"]["features"]
    with pytest.raises(IqError) as caught:
        await until(phone.plugin["xep_0030"].get_info(jid=ALICE, node="nowhere"))
    assert caught.value.condition == "item-not-found"


@pytest.mark.parametrize("to", [BOTS, f"echo@{BOTS}", f"echo@{BOTS}/bot"], ids=["domain", "bare", "full"])
async def test_a_component_answers_whom_it_has_met(env: Env, to: str) -> None:
    """The first two can be no end of a session, so the question comes in clear; the third is asked and answered inside."""
    bots = await env.component(accept_from=["localhost"])
    bots.register_plugin("xep_0199")
    alice = await env.client(ALICE, "xep_0199", accept_from=[BOTS])
    session = await e2e(alice).connect(f"echo@{BOTS}/bot")
    await until(session.wait_open())
    assert (await until(ask(alice, "xep_0199", to)))["type"] == "result"
    pings = env.in_clear("urn:xmpp:ping'", 'urn:xmpp:ping"')
    pings = [each for each in pings if "to='localhost'" not in each]  # by which we ask our own server, when it is slow
    assert bool(pings) is (to != f"echo@{BOTS}/bot")


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_whoever_writes_to_a_person_with_a_plain_phone_is_told_that_it_is_left_out(env: Env, policy: str) -> None:
    """Once; and what is for the phone itself fails, by an error that names it and the way out."""
    alice, _ = await met(env, policy)
    left_out, failed = Events(alice, "e2e_devices_left_out"), Events(alice, "e2e_send_failed")
    for _ in range(3):
        alice.send_message(mto="bob@localhost", mbody="to all")
        await env.settle(alice)
    report = await left_out.take()
    assert (report.peer, report.devices) == ("bob@localhost", (PHONE,))
    assert PHONE in str(report)
    assert "opportunistic" in str(report)
    alice.send_message(mto=PHONE, mbody="to the phone")
    error = str(await failed.take())
    assert f"{PHONE} is online but does not advertise" in error
    assert "set_policy(peer, 'opportunistic')" in error
    assert (len(left_out), len(failed)) == (0, 0)
    assert env.in_clear("to all", "to the phone") == []


@pytest.mark.parametrize("to", [DESK, "bob@localhost"])
async def test_what_waits_for_whoever_is_offline_is_told_once(env: Env, to: str) -> None:
    alice, bob = await env.client(ALICE, offline_seconds=0.2), await env.client(DESK)
    await env.settle(alice, bob)
    await env.session(alice, bob)
    await offline(bob)
    await env.settle(alice)
    waiting, failed = Events(alice, "e2e_waiting"), Events(alice, "e2e_send_failed")
    for _ in range(2):
        alice.send_message(mto=to, mbody="later")
        assert "cannot be reached" in str(await failed.take())
    told = await waiting.take()
    assert told.to == to
    assert "cannot be reached" in str(told)
    assert len(waiting) == 0

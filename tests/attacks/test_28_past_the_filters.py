"""Attack 28: ways past our filters. What a caller sends past slixmpp's is their own; nothing of ours goes there, neither when
XEP-0198 sends something again; and what servers have copied (carbons, archives) is never marked as protected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import SubElement

import pytest
from slixmpp import ClientXMPP, Iq, Message

from slixmpp_e2e.xmpp import marker as mark
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, block, e2e, token_of, turns
from tests.slixmpp_e2e.xmpp.test_stream_management import clients, cut, waiting
from xmpp_loopback import Direction, reconnect

SECRET = "attack at daybreak"


def ask(client: ClientXMPP, to: str) -> asyncio.Future[Iq]:
    """Send a query with a secret inside."""
    iq = client.make_iq_get(ito=to)
    SubElement(iq.xml, "{urn:x-test:vault}query").text = f"{SECRET}?"
    answer: asyncio.Future[Iq] = iq.send(timeout=20)
    return answer


Bypass = Callable[[ClientXMPP, Message], None]
BYPASSES: dict[str, Bypass] = {
    "send_raw": lambda client, message: client.send_raw(str(message)),
    "send_xml": lambda client, message: client.send_xml(message.xml),
    "use_filters=False": lambda client, message: client.send(message, use_filters=False),
}


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("bypass", BYPASSES.values(), ids=BYPASSES.keys())
async def test_what_a_caller_sends_past_the_filters_is_his_own(env: Env, bypass: Bypass, policy: str) -> None:
    """It goes in clear (docs/threats.md says so), is told or refused at the other end, and labelled ``none``; the session goes
    on, and an ordinary message beside it goes inside, as does the answer to both."""
    alice, bob = await env.pair(policy=policy)
    await env.session(alice, bob)
    heard = Events(bob, "message")
    told = Events(bob, "e2e_plaintext_received" if policy == "prefer" else "e2e_plaintext_refused")
    answers = Events(alice, "message")
    bob.add_event_handler("message", lambda message: message.reply(f"{SECRET}, indeed").send())
    message = alice.make_message(mto=BOB, mbody="past the filters", mtype="chat")
    bypass(alice, message)
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert (await told.take()).stanza["body"] == "past the filters"
    expected = {"past the filters": "none", SECRET: "vouched"} if policy == "prefer" else {SECRET: "vouched"}
    came = [await heard.take() for _ in expected]
    assert {message["body"]: str(message["e2e"]["assurance"]) for message in came} == expected
    for _ in expected:
        assert str((await answers.take())["e2e"]["assurance"]) == "vouched"
    assert env.in_clear(SECRET) == []
    assert env.in_clear("past the filters") != []


@pytest.mark.parametrize("order", ["before", "behind"])
async def test_nothing_of_ours_is_sent_again_in_clear(env: Env, order: str) -> None:
    """Under ``require``: what XEP-0198 keeps, and sends again past all filters after a resumption, are blocks. Messages and
    requests that were sent while nobody noticed that the connection is gone, and while it was away, arrive inside."""
    alice, bob = await clients(env, order, policy="require")
    await env.session(alice, bob)
    heard = Events(alice, "message")
    await cut(env, bob, f"{SECRET}, lost")
    bob.send_message(mto=ALICE, mbody=f"{SECRET}, away")
    answer = ask(bob, ALICE)
    answer.add_done_callback(lambda done: done.exception())
    await turns()
    assert SECRET not in waiting(bob)
    before = len(env.server.handled)
    assert await reconnect(bob, env.server)
    assert await heard.bodies(2) == [f"{SECRET}, lost", f"{SECRET}, away"]
    await env.settle(alice, bob)
    received = [handled for handled in env.server.handled[before:] if handled.direction is Direction.RECEIVED]
    again = [handled for handled in received if handled.client == BOB]
    assert any(block(handled.element, BOB) for handled in again)
    assert env.in_clear(SECRET, "attack at dawn") == []


WRAPPERS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "received": ("xep_0280", "<received xmlns='urn:xmpp:carbons:2'>{}</received>", lambda outer: outer["carbon_received"]),
    "sent": ("xep_0280", "<sent xmlns='urn:xmpp:carbons:2'>{}</sent>", lambda outer: outer["carbon_sent"]),
    "archive": (
        "xep_0313",
        "<result xmlns='urn:xmpp:mam:2' id='1'>{}</result>",
        lambda outer: outer["mam_result"]["forwarded"]["stanza"],
    ),
}


async def forged(env: Env, alice: ClientXMPP, wrapper: str, token: str) -> list[Any]:
    """What comes through when the server makes up a copy with a marker outside and one inside."""
    plugin, form, _ = WRAPPERS[wrapper]
    alice.register_plugin(plugin)
    marker = f"<protection xmlns='urn:x-xmpp-e2e:local:0' token='{token}'/>"
    inner = f"<message xmlns='jabber:client' from='{BOB}' to='{ALICE}' type='chat'><body>forged</body>{marker}</message>"
    copy = form.format(f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>")
    came: list[Any] = []
    alice.add_filter("in", lambda stanza: came.append(stanza) if isinstance(stanza, Message) else stanza)
    env.server.inject(ALICE, f"<message from='alice@localhost' to='{ALICE}'>{copy}{marker}</message>")
    env.server.inject(ALICE, f"<message from='alice@localhost' to='{ALICE}'>{copy}</message>")
    await env.settle(alice)
    return came


@pytest.mark.parametrize("policy", ["prefer", "require"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_copy_that_a_server_keeps_is_never_marked_as_protected(env: Env, wrapper: str, policy: str) -> None:
    """Neither the wrapper nor what is in it. Under ``require`` a forged carbon does not come in at all; an archive's answer
    does, as what it is."""
    alice, bob = await env.pair(policy=policy)
    await env.session(alice, bob)
    came = await forged(env, alice, wrapper, "0" * 32)
    assert len(came) == (2 if policy == "prefer" or wrapper == "archive" else 0)
    for stanza in came:
        copy = WRAPPERS[wrapper][2](stanza)
        assert copy["body"] == "forged"
        for each in (stanza, copy):
            assert (each["e2e"]["session"], str(each["e2e"]["assurance"])) == (None, "none")


async def test_control_a_marker_that_stays_in_a_copy_would_count(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with markers left where they are, whoever knew a token could have their copy taken for protected."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    monkeypatch.setattr(mark, "strip", lambda stanza: None)
    came = await forged(env, alice, "archive", token_of(alice, ours))
    assert any(WRAPPERS["archive"][2](stanza)["e2e"]["session"] is ours for stanza in came)


async def test_a_carbon_of_what_another_client_wrote_in_clear_is_told(env: Env) -> None:
    """Our other device, without encryption, writes to a peer for whom encryption is required: we learn of it."""
    alice = await env.client(ALICE, "xep_0280")
    e2e(alice).set_policy(BOB, "require")
    refused = Events(alice, "e2e_plaintext_refused")
    sent = Events(alice, "carbon_sent")
    inner = f"<message xmlns='jabber:client' from='alice@localhost/old' to='{BOB}' type='chat'><body>in clear</body></message>"
    wrapped = f"<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></sent>"
    env.server.inject(ALICE, f"<message from='alice@localhost' to='{ALICE}'>{wrapped}</message>")
    assert BOB in str((await refused.take()).error)
    await env.settle(alice)
    assert len(sent) == 0

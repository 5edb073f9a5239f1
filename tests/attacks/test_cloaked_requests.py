"""Requests in clear that are dressed as something that may always come in clear, under ``require``."""

from __future__ import annotations

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events

DISCO = "http://jabber.org/protocol/disco#info"
COMMANDS = "http://jabber.org/protocol/commands"


def commands(client: ClientXMPP) -> list[Iq]:
    """The commands (XEP-0050) that a client is given."""
    taken: list[Iq] = []

    def take(iq: Iq) -> None:
        if iq.xml.find(f"{{{COMMANDS}}}command") is not None:
            taken.append(iq)

    client.register_handler(Callback("command", StanzaPath("iq"), take))
    return taken


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["get", "set"])
async def test_disco_is_no_cloak_for_a_command(env: Env, order: tuple[int, int], kind: str) -> None:
    """An iq with two payloads, one of which is disco#info, in clear: refused under ``require``."""
    alice = await env.client(ALICE, policy="require")
    taken, refused = commands(alice), Events(alice, "e2e_plaintext_refused")
    payloads = (f"<query xmlns='{DISCO}'/>", f"<command xmlns='{COMMANDS}' node='wipe'/>")
    inner = "".join(payloads[index] for index in order)
    env.server.inject(ALICE, f"<iq from='{BOB}' to='{ALICE}' type='{kind}' id='x'>{inner}</iq>")
    await refused.take()
    assert taken == []


async def test_a_set_is_no_disco(env: Env) -> None:
    """disco#info is asked by get, and nothing else passes as it."""
    alice = await env.client(ALICE, policy="require")
    refused = Events(alice, "e2e_plaintext_refused")
    env.server.inject(ALICE, f"<iq from='{BOB}' to='{ALICE}' type='set' id='x'><query xmlns='{DISCO}'/></iq>")
    await refused.take()


async def test_a_bare_address_is_no_cloak_for_a_command(env: Env) -> None:
    """A request in the name of a person's account, without a resource, is a person's: refused under ``require``."""
    alice = await env.client(ALICE, policy="require")
    taken, refused = commands(alice), Events(alice, "e2e_plaintext_refused")
    env.server.inject(
        ALICE, f"<iq from='bob@localhost' to='{ALICE}' type='set' id='x'><command xmlns='{COMMANDS}' node='wipe'/></iq>"
    )
    await refused.take()
    assert taken == []


async def test_our_own_account_may_speak(env: Env) -> None:
    """What our own server says in our account's name (a roster push, RFC 6121 §2.1.6) is no person's."""
    alice = await env.client(ALICE, policy="require")
    refused, updated = Events(alice, "e2e_plaintext_refused"), Events(alice, "roster_update")
    item = "<item jid='dave@localhost' subscription='both'/>"
    for number, sender in enumerate(("", "from='alice@localhost'")):
        query = f"<query xmlns='jabber:iq:roster'>{item}</query>"
        env.server.inject(ALICE, f"<iq {sender} to='{ALICE}' type='set' id='push{number}'>{query}</iq>")
        await updated.take()
    assert len(refused) == 0

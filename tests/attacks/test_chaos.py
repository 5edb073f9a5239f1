"""A server that does whatever it likes, at random: under ``require``, and under ``prefer`` with a peer who was met, not a
word leaves in clear, nothing is delivered that was not sent, and no exception escapes."""

from __future__ import annotations

import asyncio
import copy
import logging
import random
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout

from tests.slixmpp_e2e.env import ALICE, BOB, Env, e2e, turns
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_SECURITY
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_loopback import LoopbackServer

SECRET = "the treasure is under the oak"
OTHERS = {ALICE: BOB, BOB: ALICE}
FORGERIES = (
    "<presence from='{peer}' to='{to}' type='unavailable'/>",
    "<presence from='{peer}' to='{to}'/>",
    "<message from='{peer}' to='{to}' type='chat'><body>forged</body></message>",
    "<message from='{peer}' to='{to}' type='groupchat'><body>forged</body></message>",
    "<message from='{peer}' to='{to}' type='error'><body>forged</body><error type='cancel'/></message>",
    "<iq from='{peer}' to='{to}' type='set' id='forged'><query xmlns='urn:example:query'>forged</query></iq>",
    "<iq from='{peer}' to='{to}' type='set' id='f2'><close xmlns='http://jabber.org/protocol/ibb' sid='{stream}'/></iq>",
    "<iq from='{peer}' to='{to}' type='set' id='f3'><jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' "
    "sid='{sid}'><reason><success/></reason></jingle></iq>",
    "<iq from='{peer}' to='{to}' type='set' id='f4'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' "
    "sid='{sid}'/></iq>",
)


class Chaos:
    """Loses, repeats, delays, garbles and forges what has to do with sessions."""

    def __init__(self, server: LoopbackServer, seed: int) -> None:
        self._server, self._dice = server, random.Random(seed)
        self._kept: list[tuple[Element, str]] = []
        self._sids, self._streams = ["x"], ["x"]
        self.on = True
        server.hooks.append(self)

    def __call__(self, stanza: Element, sender: str) -> Element | list[Element] | None:
        ours = any(name in child.tag for child in stanza for name in (NS_JINGLE, NS_IBB))
        if not self.on or not (ours or stanza.get("type") in ("result", "error")):
            return stanza
        for child in stanza:
            (self._sids if NS_JINGLE in child.tag else self._streams).append(child.get("sid", "x"))
        fate = self._dice.random()
        if fate < 0.80:
            return stanza
        if fate < 0.84:
            return None
        if fate < 0.88:
            return [stanza, copy.deepcopy(stanza)]
        if fate < 0.92:
            self._kept.append((stanza, sender))
            return None
        if fate < 0.95:
            for element in list(stanza.iter()):
                for security in element.findall(f"{{{NS_SECURITY}}}security"):
                    element.remove(security)
            return stanza
        self._server.inject(sender, self.forgery(sender))
        return stanza

    def forgery(self, to: str) -> str:
        """Something in the name of the other one."""
        sid, stream = self._dice.choice(self._sids), self._dice.choice(self._streams)
        return self._dice.choice(FORGERIES).format(peer=OTHERS[to], to=to, sid=sid, stream=stream)

    def late(self) -> None:
        """What was kept back comes now, in any order."""
        kept, self._kept = self._kept, []
        self._dice.shuffle(kept)
        for stanza, sender in kept:
            self._server.route(stanza, sender)


async def ask(client: ClientXMPP, to: str) -> None:
    iq = client.make_iq_set(ito=to)
    SubElement(iq.xml, "{urn:example:query}query").text = SECRET
    try:
        answer = await iq.send(timeout=5)
    except (IqError, IqTimeout):
        return
    assert "forged" not in "".join(answer.xml.itertext())


@pytest.mark.parametrize("policy", ["require", "prefer"])
@pytest.mark.parametrize("seed", range(4))
async def test_not_a_word_in_clear(env: Env, seed: int, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """Messages and questions both ways, replies of bots to whatever comes, sessions that break all the time."""
    alice, bob = await env.pair(policy=policy, queue_seconds=1.0)
    await env.session(alice, bob)
    delivered: list[str] = []
    for client in (alice, bob):
        client.add_event_handler("message", lambda got: delivered.append(f"{got['e2e']['assurance']}: {got['body']}"))
        client.add_event_handler("message", lambda got: got.reply(SECRET).send() if "echo" in got["body"] else None)
    chaos = Chaos(env.server, seed)
    questions = []
    for number in range(30):
        for ours, peer in OTHERS.items():
            speaker = alice if ours == ALICE else bob
            speaker.send_message(mto=peer if number % 3 else peer.partition("/")[0], mbody=f"{SECRET} echo", mtype="chat")
            questions.append(asyncio.ensure_future(ask(speaker, peer)))
            if number % 5 == 4:
                env.server.inject(ours, chaos.forgery(ours))
        await turns(10)
        if number % 7 == 6:
            chaos.late()
        if number % 10 == 9:
            for link in e2e(alice).sessions():
                link._driver.close()
    chaos.on = False
    chaos.late()
    await asyncio.gather(*questions)
    assert env.in_clear(SECRET) == []
    assert any(SECRET in text for text in delivered)  # some of it did get through
    forged = [text for text in delivered if "forged" in text]
    assert all(text.startswith("none: ") for text in forged)
    assert policy == "prefer" or not forged
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []

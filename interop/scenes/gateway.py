"""A gateway (slidge) with the plugin: users with and without encryption register, write, ask, and are in its group."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import SubElement

from slixmpp import JID, ClientXMPP, Iq, Message
from slixmpp.exceptions import IqError

from interop.harness import Harness
from interop.helpers import EVENT_SECONDS, Events, plugin, say
from interop.servers.setup import Setup
from xmpp_e2e.negotiate.jingle import NS_SECURITY

SETUP = Setup(privileges=True)
NOT_ON = {"loopback": "it grants no privileges (XEP-0356)", "swapped": "the component is Prosody's"}

LOG_CHARACTERS = 4000
"""Of the gateway's log, in the report of a failure."""
PERSON, GROUP, MEMBER = "juliet", "garden", "nurse"
"""Who is on the legacy network."""
ELSEWHERE = "from my phone"
"""What a user says whose other client, on the legacy network, says the same once more: as a carbon (XEP-0280, XEP-0356)."""
ANSWERED = "no request is known that this answers"
"""slidge answers some pings twice: the second answer is not sent."""
UP, LOG = "Slidge has successfully started", "gateway.log"
PLUGINS = ("xep_0030", "xep_0045", "xep_0054", "xep_0077", "xep_0085", "xep_0092", "xep_0184", "xep_0199", "xep_0280")


def is_prosody(harness: Harness) -> bool:
    """Return whether the gateway is Prosody's.

    ejabberd 23.01 changes no roster for it, so that slidge asks users to subscribe; and makes no carbon of what it writes in a
    user's name.
    """
    return any(name.startswith("Prosody") for name in harness.server.software)


@asynccontextmanager
async def gateway(harness: Harness) -> AsyncIterator[Path]:
    """Run slidge as its users do, as a process; yield its log once it is up, and end it by SIGTERM."""
    component, log = harness.server.component_client(), harness.folder / LOG
    options = {
        "legacy-module": "interop.legacy",
        "jid": component.boundjid.bare,
        "secret": component.secret,
        "server": component.server_host,
        "port": component.server_port,
        "home-dir": harness.folder / "slidge",
        "user-jid-validator": ".*",
    }
    version = 2 if is_prosody(harness) else 1
    settings = {"E2E_STORE": str(harness.folder / "gateway.db"), "PRIVILEGE_NAMESPACE": f"urn:xmpp:privilege:{version}"}
    with log.open("wb") as printed:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "slidge", *(f"--{name}={value}" for name, value in options.items())),
            cwd=Path(__file__).parents[2],
            env=os.environ | settings,
            stdout=printed,
            stderr=printed,
        )
    try:
        async with asyncio.timeout(EVENT_SECONDS):
            while UP not in log.read_text() and process.returncode is None:  # noqa: ASYNC110 - it tells nobody else
                await asyncio.sleep(0.1)
        assert process.returncode is None, log.read_text()
        yield log
    except Exception as error:
        error.add_note(f"The gateway's log ends: {log.read_text()[-LOG_CHARACTERS:]}")
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class User:
    """A client of somebody, and what it hears."""

    def __init__(self, client: ClientXMPP, domain: str) -> None:
        self.client, self.domain = client, domain
        self.person, self.group = f"{PERSON}@{domain}", f"{GROUP}@{domain}"
        self.messages = Events(client, "message")
        self.said = Events(client, "groupchat_message")
        self.here = Events(client, "presence_available")
        self.carbons = Events(client, "carbon_sent")
        self.receipts = Events(client, "receipt_received")
        self.failed = Events(client, "e2e_send_failed")
        self.alarmed = Events(client, "e2e_plaintext_received")

    async def ask(self, to: str, tag: str) -> Iq:
        """Return the answer to a question, whatever it is; IqTimeout for none."""
        iq = self.client.make_iq_get(ito=JID(to))
        SubElement(iq.xml, tag)
        try:
            answer: Iq = await iq.send(timeout=EVENT_SECONDS)
        except IqError as error:
            answer = error.iq
        assert answer["from"] == to
        return answer

    async def register(self) -> None:
        """By XEP-0077. The gateway adds a contact to our roster, by XEP-0356."""
        info = await plugin(self.client, "xep_0030").get_info(jid=self.domain, timeout=EVENT_SECONDS)
        assert "jabber:iq:register" in info["disco_info"]["features"]
        assert "gateway" in {category for category, *_ in info["disco_info"]["identities"]}
        iq = self.client.make_iq_set(ito=JID(self.domain))
        iq["register"]["username"] = self.client.boundjid.user
        await iq.send(timeout=EVENT_SECONDS)
        await self.hear(lambda message: "Thank you for registering" in message["body"])
        while (presence := await self.here.take())["from"].bare != self.person:
            pass
        self.device = presence["from"].full

    async def hear(self, wanted: Any, events: Events | None = None) -> Message:
        """Return the next message of that kind."""
        source = self.messages if events is None else events
        while not wanted(message := await source.take()):
            pass
        assert isinstance(message, Message)
        return message

    async def talk(self, words: str, assurance: str) -> None:
        """Write to the contact, who answers."""
        say(self.client, self.person, words)
        answer = await self.hear(lambda message: message["body"] == f"You said: {words}")
        assert answer["from"].bare == self.person
        assert str(answer["e2e"]["assurance"] if "e2e" in self.client.plugin else "none") == assurance


async def questions(user: User) -> None:
    """What a client asks of a gateway, its contacts and its groups: each is answered."""
    disco = plugin(user.client, "xep_0030")
    items = await disco.get_items(jid=user.domain, timeout=EVENT_SECONDS)
    assert user.group in {str(jid) for jid, *_ in items["disco_items"]["items"]}
    for jid, category in ((user.device, "client"), (user.person, "account"), (user.group, "conference")):
        info = (await disco.get_info(jid=jid, timeout=EVENT_SECONDS))["disco_info"]
        assert category in {name for name, *_ in info["identities"]}, jid
        assert (NS_SECURITY in info["features"]) is (jid == user.device), jid
    for jid in (user.domain, user.person, user.device):
        await user.ask(jid, "{urn:xmpp:ping}ping")
    for jid in (user.person, f"{user.group}/{MEMBER.title()}", f"{user.group}/{MEMBER}"):
        await user.ask(jid, "{vcard-temp}vCard")


async def group(user: User) -> None:
    """Enter the group, and hear what is said there, by us and by others. It is no matter of sessions."""
    muc = plugin(user.client, "xep_0045")
    async with asyncio.timeout(EVENT_SECONDS):
        await muc.join_muc_wait(JID(user.group), user.client.boundjid.user, maxstanzas=0)
    user.client.send_message(mto=JID(user.group), mbody="a fair night", mtype="groupchat")
    missing = {"a fair night", "a fair night, indeed"}
    while missing:
        missing.discard((await user.said.take())["body"])


async def elsewhere(user: User, *, has_carbon: bool) -> None:
    """What we write in another program comes as a carbon, for which the gateway asks our server (XEP-0356)."""
    await plugin(user.client, "xep_0280").enable(timeout=EVENT_SECONDS)
    say(user.client, user.person, ELSEWHERE)
    await user.hear(lambda message: message["body"] == f"You said: {ELSEWHERE}")
    if not has_carbon:
        return
    carbon = await user.hear(lambda message: message["carbon_sent"]["body"], user.carbons)
    assert carbon["carbon_sent"]["body"] == f"{ELSEWHERE}, too"


async def run(harness: Harness) -> None:
    """Carol, who has no encryption, and Alice, who has, do the same, one after the other and then at once."""

    def load(client: ClientXMPP) -> None:
        for name in PLUGINS:
            client.register_plugin(name)

    async with gateway(harness) as log:
        domain = harness.server.component_client().boundjid.bare
        users = [
            (User(await harness.client("carol", prepare=load), domain), "none"),
            (User(await harness.e2e_client("alice", prepare=load, accept_from=[domain]), domain), "vouched"),
        ]
        for user, assurance in users:
            await user.register()
            await user.talk(f"Good night from {user.client.boundjid.user}", assurance)
            await questions(user)
            await group(user)
            assert len(user.alarmed) == 0
            await elsewhere(user, has_carbon=is_prosody(harness))
            # the server that writes in our name has read it
            assert len(user.alarmed) == (is_prosody(harness) and assurance != "none")
        await asyncio.gather(*(user.talk("Good night, good night!", assurance) for user, assurance in users))
        for user, _ in users:
            assert user.failed.all() == []
        assert harness.find_text("Good night from carol")
        assert harness.find_text("Good night from alice") == []
        told = log.read_text()
        assert told.count("Not sent") == told.count(ANSWERED), told
        assert "Traceback" not in told, told

"""``xmpp-e2e trust verify``: open a session with a peer, and prove his key in it, by what two people compare or share."""

from __future__ import annotations

import asyncio
import enum
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, Happened, Link
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.secrets import KEY_ID
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import AuthenticationFailed, LocalError, TimedOut
from xmpp_e2e.events import VerifyResult
from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import asking, sharing
from xmpp_e2e_cli.asking import NoTerminal, Person
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.sending import Delivered, Tell, closed, online_devices
from xmpp_e2e_cli.words import first_line


class Method(enum.Enum):
    """What can prove a key in a session, by its option."""

    SAS = "sas"
    PASSWORD = "srp"
    KEY = "psk"


class Differs(AuthenticationFailed):
    """Two people do not agree about what they see."""

    likely = "He has pressed the wrong key, has not seen the same, or the connection was lost."
    attack = "Somebody in the middle shows each of you something else."
    remedy = "Ask him. If he has seen something else: xmpp-e2e trust forget JID SHA256:…; trust show has the fingerprint."


@dataclass(frozen=True)
class Proof:
    """What is to prove the peer's key."""

    method: Method
    form: Form = Form.DECIMAL
    password: str = field(default="", repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Of the plugin: whoever has set the password up needs it when the session opens."""
        return {"password": lambda peer: self.password} if self.method is Method.PASSWORD else {}

    async def run(self, link: Link, person: Person | None, key: bytes | None) -> None:
        """When both hellos are checked; returns when it has proved the peer's key here. ``key``: the pre-shared one."""
        if self.method is Method.PASSWORD:
            await link.verify_password(self.password)
        elif self.method is Method.KEY:
            assert key is not None
            await link.verify_key(key)
        else:
            assert person is not None
            await link.verify_sas(person.compares, form=self.form.value)


def proof(peer: JID, chosen: list[Method], form: Form | None, file: Path | None) -> Proof:
    """What the options mean, and the password that they ask for, which is in the file or asked for now. UsageProblem,
    LocalError."""
    if len(chosen) > 1:
        raise UsageProblem("one proof at a time: --sas, or --password, or --key")
    method = chosen[0] if chosen else Method.SAS
    if file is not None and method is not Method.PASSWORD:
        raise UsageProblem("--file has a password, and goes with --password")
    if form is not None and method is not Method.SAS:
        raise UsageProblem("--form goes with --sas: there is nothing to see otherwise")
    if method is Method.SAS:
        if not asking.is_there():
            raise NoTerminal("there is no terminal to show what two people compare, and to ask whether it is the same")
        return Proof(method, form or Form.DECIMAL)
    if method is Method.KEY:
        return Proof(method)
    password = _password(peer, file)
    stretched(password, peer.bare, peer.bare)  # what cannot be done with it is told now, not in the session
    return Proof(method, password=password)


def _password(peer: JID, file: Path | None) -> str:
    if file is not None:
        return first_line(file, "password", sharing.NoSecret)
    if not asking.is_there():
        raise NoTerminal("there is no terminal to ask for the password; --file names a file that has it in its first line")
    if typed := getpass.getpass(f"Password that you share with {peer.bare}: "):
        return typed
    raise sharing.NoSecret("no password was given")


async def verify(
    client: ClientXMPP, e2e: E2E, peer: JID, wanted: Proof, person: Person | None, seconds: float, tell: Tell
) -> Delivered:
    """Prove the key of one device of the peer, the first one with encryption if none is named; whose, and how sure that is now.

    ``seconds``: to find him, and to open the session. A person may take the five minutes of a proof.
    """
    key = e2e.memory.secret(peer.bare, "psk", KEY_ID) if wanted.method is Method.KEY else b""
    if key is None:
        raise sharing.NothingShared(f"no key is shared with {peer.bare}; his makes one: xmpp-e2e psk add {peer.bare}")
    devices = await online_devices(client, peer, seconds, tell)
    if len(devices) > 1:
        tell(f"{peer.bare} has {len(devices)} devices online, each with a key of its own; one of them is verified now")
    tell(f"opening a session with {peer}")
    says = _Says(client)
    client.add_event_handler("e2e_key_changed", lambda happened: tell(happened.detail.text))
    async with _in_time(seconds, f"{peer} did not answer within {seconds:g} seconds"):
        link = await e2e.connect(peer.full)
    tell(f"there is a session with {link.peer}; waiting for the proof, in which he has to take part")
    try:
        await wanted.run(link, person, key)
        if wanted.method is Method.SAS:
            await says.the_same(link, tell)
    except LocalError as error:
        await _was_proved(link, seconds, error)
        tell("what you two share has proved the key already, when the session opened")
    async with _in_time(seconds, f"{link.peer} did not open the session within {seconds:g} seconds"):
        await link.opened()
    return await closed(link, seconds)


async def _was_proved(link: Link, seconds: float, error: LocalError) -> None:
    """What cannot run has run already: then the session opens, and its key is verified."""
    async with _in_time(seconds, str(error)):
        await link.opened()
    if link.assurance < Assurance.VERIFIED:
        raise error


@asynccontextmanager
async def _in_time(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimedOut(otherwise) from None


class _Says:
    """What the peers' users say of the strings."""

    def __init__(self, client: ClientXMPP) -> None:
        self._said: asyncio.Future[Happened] = asyncio.get_running_loop().create_future()
        client.add_event_handler("e2e_verify_result", self._heard)

    def _heard(self, happened: Happened) -> None:
        if not self._said.done():
            self._said.set_result(happened)

    async def the_same(self, link: Link, tell: Tell) -> None:
        """Until he has said so. Differs if he says that they are not; and what has ended the session, if that was before."""
        tell("waiting for what he says")
        ended = asyncio.ensure_future(link.ended())
        await asyncio.wait((self._said, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        detail = self._said.result().detail if self._said.done() else None
        if not isinstance(detail, VerifyResult) or not detail.match:
            raise Differs(f"you said that it is the same, and {link.peer} did not: his key counts as verified here")
        tell("he says that it is the same, too")

"""``xmpp-e2e trust verify``: open a session with a peer, and prove his key in it, by what two people compare or share."""

from __future__ import annotations

import enum
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, Link
from slixmpp_e2e.passwords import stretched
from slixmpp_e2e.prompts import Compare
from slixmpp_e2e.proofs import KEY_ID
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import asking, sharing
from xmpp_e2e_cli.asking import NoTerminal, Person
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.sending import Delivered, Tell, closed, key_changes, online_devices, opened
from xmpp_e2e_cli.words import first_line


class Method(enum.Enum):
    """What can prove a key in a session, by its option."""

    SAS = "sas"
    PASSWORD = "srp"
    KEY = "psk"


@dataclass(frozen=True)
class Proof:
    """What is to prove the peer's key."""

    method: Method
    form: Form = Form.DECIMAL
    password: str = field(default="", repr=False)

    def settings(self, person: Person | None) -> dict[str, Any]:
        """Of the plugin: whoever has set the password up needs it when the session opens."""
        asked = {} if person is None else person.settings
        return asked | {"password": lambda peer: self.password} if self.method is Method.PASSWORD else asked

    async def run(self, link: Link, person: Person | None, key: bytes | None) -> None:
        """In an open session; returns when it has proved the peer's key. ``key``: the pre-shared one."""
        if self.method is Method.PASSWORD:
            await link.verify_password(self.password)
        elif self.method is Method.KEY:
            assert key is not None
            await link.verify_key(key)
        else:
            assert person is not None
            await link.verify_sas(self._shown_to(person), form=self.form.value)
            await person.waits(link.peer)

    def _shown_to(self, person: Person) -> Callable[[Compare], Awaitable[bool]]:
        return lambda shown: person.confirms(shown, {_NAMES[self.form]: shown.text})


_NAMES = {Form.DECIMAL: "numbers", Form.EMOJI: "pictures", Form.WORDS: "words"}


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
    with key_changes(client, tell) as changes:
        link = await opened(e2e, peer.full, seconds, changes)
    tell(f"the session with {link.peer} is open; waiting for the proof, in which he has to take part")
    try:
        await wanted.run(link, person, key)
    except LocalError:
        if not (link.is_open and link.assurance is Assurance.VERIFIED):
            raise
        tell("what you two share has proved the key already, when the session opened")
    return await closed(link, seconds)

"""``xmpp-e2e trust verify``: open a session with a peer and verify their key in it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, E2ESession, KeyChanged, PeerSasResult
from slixmpp_e2e.trust.passwords import derive_srp_secret
from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.errors import AuthenticationFailed, LocalError, Timeout
from xmpp_e2e.types import Assurance
from xmpp_e2e_cli import prompts
from xmpp_e2e_cli.cmd_secrets import read_shared_password
from xmpp_e2e_cli.cmd_send import Delivery, Progress, close_session, online_devices
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.prompts import TerminalUser


class VerificationMethod(enum.Enum):
    """The verification methods of the command."""

    SAS = "sas"
    PASSWORD = "srp"
    KEY = "psk"


class PeerSawMismatch(AuthenticationFailed):
    """The peer's user says that the two short strings differ."""

    likely = "One of you misread, or pressed the wrong key."
    attack = "Somebody in the middle shows each of you a different string."
    remedy = "Compare again. If it happens twice, do not use this path."


class PeerDidNotAnswer(AuthenticationFailed):
    """The comparison ended before the peer's user had said whether the strings are the same."""

    likely = "The connection was lost, or the peer ended their program."
    attack = "Somebody in the middle, who sees that the strings differ, would cut the peer's answer off."
    remedy = "Ask the peer. If they saw a different string: xmpp-e2e trust forget JID SHA256:…; trust show has the fingerprint."


@dataclass(frozen=True)
class Verification:
    """The verification that the user has chosen."""

    method: VerificationMethod
    form: SasForm = SasForm.DECIMAL
    password: str = field(default="", repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """The plugin's settings for it: a password that is already shared is needed when the session opens."""
        return {"ask_password": lambda peer: self.password} if self.method is VerificationMethod.PASSWORD else {}

    async def run(self, session: E2ESession, user: TerminalUser) -> None:
        """Run it after the hellos; return when the peer's key is verified on this side."""
        if self.method is VerificationMethod.PASSWORD:
            await session.verify_password(self.password)
        elif self.method is VerificationMethod.KEY:
            await session.verify_key()
        else:
            await session.verify_sas(user.compare_sas, form=self.form.value)


def choose_verification(peer: JID, methods: list[VerificationMethod], form: SasForm | None, file: Path | None) -> Verification:
    """Turn the command's options into a verification; ask for the password now if there is no file.

    Raises UsageError, LocalError.
    """
    if len(methods) > 1:
        raise UsageError("choose one of --sas, --password and --key")
    method = methods[0] if methods else VerificationMethod.SAS
    if file is not None and method is not VerificationMethod.PASSWORD:
        raise UsageError("--file holds a password: use it with --password only")
    if form is not None and method is not VerificationMethod.SAS:
        raise UsageError("--form chooses what to compare: use it with --sas only")
    if method is VerificationMethod.SAS:
        if not prompts.has_terminal():
            raise UsageError(
                "there is no terminal to show the short string at, and to ask whether it is the same", UsageReason.NO_TERMINAL
            )
        return Verification(method, form or SasForm.DECIMAL)
    if method is VerificationMethod.KEY:
        return Verification(method)
    password = read_shared_password(peer.bare, file, twice=False)
    derive_srp_secret(password, peer.bare, peer.bare)  # an unusable password fails now, not in the session
    return Verification(method, password=password)


async def verify(
    client: ClientXMPP, e2e: E2E, peer: JID, chosen: Verification, user: TerminalUser, seconds: float, tell: Progress
) -> Delivery:
    """Verify the key of one device of the peer: the named one, else the first one with encryption.

    ``seconds`` limits finding the peer and opening the session. The verification itself may take five minutes.
    """
    if chosen.method is VerificationMethod.KEY and not e2e.secrets.has(peer.bare, "psk"):
        text = f"no key is shared with {peer.bare}; add the one that they created: xmpp-e2e psk add {peer.bare}"
        raise UsageError(text, UsageReason.SECRET_NOT_FOUND)
    devices = await online_devices(client, peer, seconds, tell)
    if len(devices) > 1:
        tell(f"{peer.bare} has {len(devices)} devices online, each with its own key; this verifies one of them")
    tell(f"opening a session with {peer}")
    peer_result = _PeerSasResult(client)
    client.add_event_handler(KeyChanged.name, lambda event: tell(event.text))
    async with _time_limit(seconds, f"{peer} did not answer within {seconds:g} seconds"):
        session = await e2e.connect(peer.full)
    tell(f"there is a session with {session.peer}; waiting for the verification, in which the peer has to take part")
    try:
        await chosen.run(session, user)
        if chosen.method is VerificationMethod.SAS:
            await peer_result.wait_for_match(session, tell)
    except LocalError as error:
        await _check_verified(session, seconds, error)
        tell("your shared secret verified the key already, when the session opened")
    async with _time_limit(seconds, f"{session.peer} did not open the session within {seconds:g} seconds"):
        await session.wait_open()
    return await close_session(session, seconds)


async def _check_verified(session: E2ESession, seconds: float, error: LocalError) -> None:
    """Accept that the method cannot run if it has run already: the session opens with a verified key. Else raise ``error``."""
    async with _time_limit(seconds, str(error)):
        await session.wait_open()
    if session.assurance < Assurance.VERIFIED:
        raise error


@asynccontextmanager
async def _time_limit(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Timeout(otherwise) from None


class _PeerSasResult:
    """The answer of the peer's user to the comparison."""

    def __init__(self, client: ClientXMPP) -> None:
        self._result: asyncio.Future[PeerSasResult] = asyncio.get_running_loop().create_future()
        client.add_event_handler(PeerSasResult.name, self._on_result)

    def _on_result(self, event: PeerSasResult) -> None:
        if not self._result.done():
            self._result.set_result(event)

    async def wait_for_match(self, session: E2ESession, tell: Progress) -> None:
        """Return when the peer's user has said that it is the same. Raises PeerSawMismatch if it is not, PeerDidNotAnswer."""
        tell("waiting for the peer's answer")
        ended = asyncio.ensure_future(session.wait_closed())
        await asyncio.wait((self._result, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not self._result.done():
            silent = f"you said that it is the same, but {session.peer} did not confirm it: their key counts as verified here"
            raise PeerDidNotAnswer(silent)
        if not self._result.result().match:
            text = f"you said that it is the same, but {session.peer} says that it is not: their key is not verified any more"
            raise PeerSawMismatch(text)
        tell("the peer says that it is the same, too")

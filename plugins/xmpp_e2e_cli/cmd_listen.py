"""``xmpp-e2e listen``: print incoming messages and events until SIGINT or SIGTERM; echo messages on request.

It logs in again when the stream to the server is lost, and ends where that is of no use.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.text import Text
from slixmpp import JID, ClientXMPP, Message, Presence
from slixmpp.exceptions import IqError, IqTimeout

from slixmpp_e2e import (
    E2E,
    KeyChanged,
    KeyDoubted,
    KeyRotated,
    OtherKeyHeld,
    PeerSasResult,
    PlaintextEvent,
    SendFailed,
    SessionClosed,
    SessionEvent,
    SessionFailed,
    SessionOpened,
    SessionRefused,
    StoreFailed,
    TrustFileFailed,
    VerificationInterrupted,
    VerificationRequested,
    VerificationRequired,
)
from slixmpp_e2e.alarms import explain, reason_of
from slixmpp_e2e.store.errors import StoreReason
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli import connection, output
from xmpp_e2e_cli.errors import ConnectionFailed, ConnectionReason
from xmpp_e2e_cli.output import Output

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FLUSH_SECONDS = 30.0
"""How long it waits at its end until its answers are acknowledged: as long as a server with a low limit needs for some."""
RETRY_SECONDS = (1.0, 60.0)
"""How long to wait before it logs in again: at first, doubling, and at most. A part of it is random, so that not all clients of
a server that restarts come at once."""
PING_SECONDS = 60.0
"""How often it asks whether the server still answers: a line that is dead does not say so."""
PONG_SECONDS = 30.0
"""How long the server has for that."""


class Listener:
    """Prints what one client receives.

    ``accept`` is the setting ``accept_from``. Unless it is ``roster``, it also says whose subscription requests we accept.
    """

    def __init__(self, client: ClientXMPP, out: Output, *, echo: bool, accept: str | frozenset[str]) -> None:
        self._client, self._out, self._echo, self._accept = client, out, echo, accept
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is told to stop; fails with what no other login cures."""
        self._lost: asyncio.Future[ConnectionFailed] = asyncio.get_running_loop().create_future()
        self._condition = ""
        """Of the server's last stream error."""
        client.register_plugin("xep_0199")
        handlers: dict[str, Callable[[Any], None]] = {
            "message": self._message,
            "presence_subscribe": self._subscription_request,
            "e2e_session_opened": self._session_event,
            "e2e_session_closed": self._session_event,
            "e2e_session_failed": self._session_event,
            "e2e_key_changed": self._session_event,
            "e2e_key_rotated": self._session_event,
            "e2e_other_key_held": self._other_key_held,
            "e2e_key_doubted": self._key_doubted,
            "e2e_verification_required": self._session_event,
            "e2e_verification_requested": self._verification_request,
            "e2e_peer_sas_result": self._session_event,
            "e2e_verification_interrupted": self._verification_interrupted,
            "e2e_send_failed": self._send_failed,
            "e2e_plaintext_refused": self._plaintext,
            "e2e_plaintext_received": self._plaintext,
            "e2e_session_refused": self._session_refused,
            "e2e_trust_file_failed": self._trust_file_failed,
            "e2e_store_failed": self._store_failed,
            "stream_error": self._stream_error,
            "disconnected": self._disconnected,
        }
        for event, handler in handlers.items():
            client.add_event_handler(event, handler)

    async def run(self, e2e: E2E, server: connection.Server) -> None:
        """Run until SIGINT or SIGTERM. The client is logged in; its presence is sent here. ConnectionFailed, StoreError."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop)
        staying = loop.create_task(self._stay_online(e2e, server))
        try:
            ends: set[asyncio.Future[None]] = {staying, self._stopped}
            for ended in (await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED))[0]:
                ended.result()
        finally:
            staying.cancel()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _stay_online(self, e2e: E2E, server: connection.Server) -> None:
        """Log in again whenever the stream is lost."""
        while True:
            lost = await self._be_online(e2e)
            if lost.reason not in connection.PASSING:
                raise lost
            self._out.event("disconnected", {"message": str(lost)}, output.one_line(str(lost)))
            await self._log_in_again(server)

    async def _be_online(self, e2e: E2E) -> ConnectionFailed:
        """Return why the stream ended."""
        self._lost = asyncio.get_running_loop().create_future()
        if not self._client.is_connected():
            self._disconnected("")
        talking = asyncio.ensure_future(self._talk(e2e))
        try:
            either: set[asyncio.Future[Any]] = {talking, self._lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._lost.done():  # the server does not answer
                self._client.abort()
            return await self._lost
        finally:
            talking.cancel()

    async def _talk(self, e2e: E2E) -> None:
        """Return when the server does not answer any more."""
        plugins: Any = self._client.plugin
        with suppress(IqTimeout):
            await self._client.get_roster()
            self._client.send_presence()
            self._ready(e2e)
            while True:
                await asyncio.sleep(PING_SECONDS)
                with suppress(IqError):  # it answers
                    await plugins["xep_0199"].send_ping(self._client.boundjid.host, timeout=PONG_SECONDS)

    async def _log_in_again(self, server: connection.Server) -> None:
        """Try until it succeeds. ConnectionFailed if that is of no use."""
        seconds, longest = RETRY_SECONDS
        while True:
            await asyncio.sleep(seconds * random.uniform(0.5, 1.0))
            try:
                await connection.log_in(self._client, server)
            except ConnectionFailed as error:
                if error.reason not in connection.PASSING:
                    raise
                seconds = min(2 * seconds, longest)
            else:
                return

    def _ready(self, e2e: E2E) -> None:
        jid = str(self._client.boundjid.full)
        lines = f"listening as {jid}\nown key {e2e.fingerprint}"
        self._out.event("ready", {"jid": jid, "fingerprint": str(e2e.fingerprint)}, lines)

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _stream_error(self, error: Any) -> None:
        self._condition = str(error["condition"])

    def _disconnected(self, reason: object) -> None:
        if self._lost.done():
            return
        replaced = self._condition == "conflict"
        text = f"the stream to the server has ended ({self._condition or reason or 'no reason given'})"
        self._lost.set_result(
            ConnectionFailed(text, ConnectionReason.REPLACED if replaced else ConnectionReason.CONNECTION_LOST)
        )
        self._condition = ""

    def _store_failed(self, event: StoreFailed) -> None:
        """Without its store it can neither judge keys nor remember them. One that another process holds will be free again."""
        data = {"error": type(event.error).__name__, "message": str(event.error)}
        self._out.event("store_failed", data, output.escape(str(event)))
        if not self._stopped.done() and reason_of(event.error) is not StoreReason.BUSY:
            self._stopped.set_exception(event.error)

    # --- stanzas ---------------------------------------------------------------------------------------------------

    def _message(self, message: Message) -> None:
        body, kind = str(message["body"]), message["type"]
        if not body or kind not in ("chat", "normal"):
            return
        sender, assurance = str(message["from"]), message["e2e"]["assurance"]
        data = {
            "event": "message",
            "from": sender,
            "body": body,
            "encrypted": assurance > Assurance.NONE,
            "assurance": str(assurance),
            "fingerprint": _fingerprint_text(message["e2e"]["fingerprint"]),
        }
        self._out.result(data, output.message_line(sender, assurance, body))
        if self._echo:
            message.reply(body).send()

    def _subscription_request(self, presence: Presence) -> None:
        """Answer a subscription request. Without our presence the peer cannot find us under our bare JID."""
        peer: JID = presence["from"]
        accepted = self._accept == "anyone" or (
            not isinstance(self._accept, str) and bool({peer.bare, peer.domain} & self._accept)
        )
        if accepted:
            self._client.client_roster[peer.bare].authorize()
        answer = "accepted, because of --accept-from" if accepted else "answer in your usual client, or use --accept-from"
        data = {"peer": peer.bare, "authorized": accepted}
        self._out.event("subscription", data, output.one_line(f"{peer.bare} wants to see when you are online: {answer}"))

    # --- events of the plugin --------------------------------------------------------------------------------------

    def _session_event(self, event: SessionEvent) -> None:
        session, peer = event.session, output.one_line(event.peer)
        data: dict[str, Any] = {"peer": event.peer}
        match event:
            case SessionOpened():
                data |= {"assurance": str(event.assurance), "fingerprint": str(event.fingerprint)}
                data |= {"cipher": session.cipher, "group": session.group}
                assurance = output.assurance_text(event.assurance)
                line = Text.assemble(f"session with {peer} [", assurance, f"] {event.fingerprint}")
                self._out.event("session_opened", data, line)
            case SessionClosed():
                how = "ended" if event.clean else f"was interrupted: {output.one_line(str(event.error))}"
                self._out.event("session_closed", data | {"clean": event.clean}, f"session with {peer} {how}")
            case SessionFailed():
                data |= {"error": type(event.error).__name__, "message": str(event.error)}
                self._out.event("session_failed", data, f"no session with {peer}: {output.escape(explain(event.error))}")
            case KeyChanged():
                data |= {"status": event.status, "decision": event.decision, "fingerprint": str(event.fingerprint)}
                self._out.event("key_changed", data | {"message": event.text}, output.escape(event.text))
            case KeyRotated():
                data |= {"old": str(event.old), "new": str(event.new), "message": str(event)}
                self._out.event("key_rotated", data, output.escape(str(event)))
            case VerificationRequired():
                data |= {"status": event.status, "fingerprint": str(event.fingerprint)}
                self._out.event("verification_required", data | {"message": event.text}, output.escape(event.text))
            case PeerSasResult():
                said = "says that it is the same" if event.match else "says that it is not the same"
                self._out.event("peer_sas_result", data | {"match": event.match}, f"{peer} {said}")

    def _verification_request(self, event: VerificationRequested) -> None:
        """Print that the peer wants to verify. Decline if no prompt began: only the terminal could answer."""
        if not event.running:
            event.session.decline(event.method)
        declined = "" if event.running else "; declined: there is no terminal to ask at, and no shared secret"
        line = output.one_line(f"{event.peer} wants to verify by {event.method}{declined}")
        data = {"peer": event.peer, "method": event.method, "declined": not event.running}
        self._out.event("verification_requested", data, line)

    def _other_key_held(self, event: OtherKeyHeld) -> None:
        data = {"peer": event.peer, "fingerprint": str(event.fingerprint), "message": str(event)}
        self._out.event("other_key_held", data, output.escape(str(event)))

    def _key_doubted(self, event: KeyDoubted) -> None:
        data = {"peer": event.peer, "fingerprint": str(event.fingerprint), "pinned": event.pinned, "message": str(event)}
        self._out.event("key_doubted", data, output.escape(str(event)))

    def _verification_interrupted(self, report: VerificationInterrupted) -> None:
        self._out.event("verification_interrupted", {"peer": report.peer, "count": report.count}, output.escape(str(report)))

    def _send_failed(self, report: SendFailed) -> None:
        data = {"to": str(report.stanza["to"]), "error": type(report.error).__name__, "message": str(report.error)}
        self._out.event("send_failed", data, output.escape(str(report)))

    def _plaintext(self, report: PlaintextEvent) -> None:
        data = {"from": str(report.stanza["from"]), "message": str(report.error)}
        self._out.event("plaintext", data, output.escape(str(report)))

    def _session_refused(self, report: SessionRefused) -> None:
        data = {"peer": report.peer, "error": type(report.error).__name__, "message": str(report.error)}
        self._out.event("session_refused", data, output.escape(str(report)))

    def _trust_file_failed(self, report: TrustFileFailed) -> None:
        self._out.event("trust_file_failed", {"message": str(report.error)}, output.escape(str(report)))


def _fingerprint_text(fingerprint: Fingerprint | None) -> str | None:
    return str(fingerprint) if fingerprint else None

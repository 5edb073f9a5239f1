"""``xmpp-e2e listen``: print incoming messages and events until SIGINT or SIGTERM; echo messages on request."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from rich.text import Text
from slixmpp import JID, ClientXMPP, Message, Presence

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
    TrustFileFailed,
    VerificationInterrupted,
    VerificationRequested,
    VerificationRequired,
)
from slixmpp_e2e.alarms import explain
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli import output
from xmpp_e2e_cli.errors import ConnectionFailed, ConnectionReason
from xmpp_e2e_cli.output import Output

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Listener:
    """Prints what one client receives.

    ``accept`` is the setting ``accept_from``. Unless it is ``roster``, it also says whose subscription requests we accept.
    """

    def __init__(self, client: ClientXMPP, out: Output, *, echo: bool, accept: str | frozenset[str]) -> None:
        self._client, self._out, self._echo, self._accept = client, out, echo, accept
        self._result: asyncio.Future[E2EError | None] = asyncio.get_running_loop().create_future()
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
            "disconnected": self._disconnected,
        }
        for event, handler in handlers.items():
            client.add_event_handler(event, handler)

    async def run(self, e2e: E2E) -> None:
        """Run until SIGINT or SIGTERM. The client is logged in; its presence is sent here. Raises ConnectionFailed."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop)
        try:
            await self._client.get_roster()
            self._client.send_presence()
            self._ready(e2e)
            error = await self._result
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if error is not None:
            raise error

    def _ready(self, e2e: E2E) -> None:
        jid = str(self._client.boundjid.full)
        lines = f"listening as {jid}\nown key {e2e.fingerprint}"
        self._out.event("ready", {"jid": jid, "fingerprint": str(e2e.fingerprint)}, lines)

    def _stop(self) -> None:
        if not self._result.done():
            self._result.set_result(None)

    def _disconnected(self, reason: object) -> None:
        if not self._result.done():
            text = f"the stream to the server has ended ({reason or 'no reason given'})"
            self._result.set_result(ConnectionFailed(text, ConnectionReason.CONNECTION_LOST))

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

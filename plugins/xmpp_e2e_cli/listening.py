"""``xmpp-e2e listen``: show what arrives, with its assurance, until it is told to stop; echo it on request."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from rich.text import Text
from slixmpp import JID, ClientXMPP, Message, Presence

from slixmpp_e2e import E2E, Happened, Plaintext, SendFailed, SessionRefused, TrustFileFailed
from slixmpp_e2e.events import VerifyCut
from xmpp_e2e.errors import E2EError
from xmpp_e2e.events import KeyChanged, KeyHeld, SessionEnd, SessionFailed, SessionStart, VerifyRequest, VerifyResult
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e_cli import show
from xmpp_e2e_cli.codes import ConnectionLost
from xmpp_e2e_cli.show import Output

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Listener:
    """One client's ears. ``accept`` is the setting ``accept_from``: whom we let see our presence, too, unless ``roster``."""

    def __init__(self, client: ClientXMPP, out: Output, *, echo: bool, accept: str | frozenset[str]) -> None:
        self._client, self._out, self._echo, self._accept = client, out, echo, accept
        self._over: asyncio.Future[E2EError | None] = asyncio.get_running_loop().create_future()
        handlers: dict[str, Callable[[Any], None]] = {
            "message": self._message,
            "presence_subscribe": self._asked,
            "e2e_session_start": self._happened,
            "e2e_session_end": self._happened,
            "e2e_session_failed": self._happened,
            "e2e_key_changed": self._happened,
            "e2e_key_held": self._happened,
            "e2e_verify_request": self._wanted,
            "e2e_verify_result": self._happened,
            "e2e_verify_cut": self._cut,
            "e2e_send_failed": self._send_failed,
            "e2e_plaintext_refused": self._plaintext,
            "e2e_plaintext_received": self._plaintext,
            "e2e_session_refused": self._refused,
            "e2e_trust_file_failed": self._trust_file,
            "disconnected": self._disconnected,
        }
        for event, handler in handlers.items():
            client.add_event_handler(event, handler)

    async def run(self, e2e: E2E) -> None:
        """Until SIGINT or SIGTERM; ConnectionLost. The client is logged in, and sends its presence here."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop)
        try:
            await self._client.get_roster()
            self._client.send_presence()
            self._ready(e2e)
            error = await self._over
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
        if not self._over.done():
            self._over.set_result(None)

    def _disconnected(self, reason: object) -> None:
        if not self._over.done():
            self._over.set_result(ConnectionLost(f"the stream to the server has ended ({reason or 'no reason given'})"))

    # --- what arrives ----------------------------------------------------------------------------------------------

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
            "fingerprint": _text(message["e2e"]["fingerprint"]),
        }
        self._out.result(data, show.message_line(sender, assurance, body))
        if self._echo:
            message.reply(body).send()

    def _asked(self, presence: Presence) -> None:
        """Somebody wants to see our presence; without it he cannot find us under our bare JID."""
        peer: JID = presence["from"]
        wanted = self._accept == "anyone" or (
            not isinstance(self._accept, str) and bool({peer.bare, peer.domain} & self._accept)
        )
        if wanted:
            self._client.client_roster[peer.bare].authorize()
        said = "and is let, as --accept-from says" if wanted else "answer in your usual client, or use --accept-from"
        data = {"peer": peer.bare, "authorized": wanted}
        self._out.event("subscription", data, show.one_line(f"{peer.bare} wants to see when you are online: {said}"))

    # --- what happens meanwhile ------------------------------------------------------------------------------------

    def _happened(self, happened: Happened) -> None:
        link, detail, peer = happened.session, happened.detail, show.one_line(happened.peer)
        data: dict[str, Any] = {"peer": happened.peer}
        if isinstance(detail, SessionStart):
            data |= {"assurance": str(detail.assurance), "fingerprint": str(detail.fingerprint)}
            line = Text.assemble(f"session with {peer} [", show.leveled(detail.assurance), f"] {detail.fingerprint}")
            self._out.event("session_start", data | {"cipher": link.cipher, "group": link.group}, line)
        elif isinstance(detail, SessionEnd):
            how = "ended" if detail.clean else f"was cut: {show.one_line(str(detail.error))}"
            self._out.event("session_end", data | {"clean": detail.clean}, f"session with {peer} {how}")
        elif isinstance(detail, SessionFailed):
            data |= {"error": type(detail.error).__name__, "message": str(detail.error)}
            self._out.event("session_failed", data, f"no session with {peer}: {show.clean(detail.error.explain())}")
        elif isinstance(detail, KeyChanged):
            data |= {"kind": detail.kind, "decision": detail.decision, "fingerprint": str(detail.fingerprint)}
            self._out.event("key_changed", data | {"message": detail.text}, show.clean(detail.text))
        elif isinstance(detail, KeyHeld):
            data |= {"kind": detail.kind, "fingerprint": str(detail.fingerprint)}
            self._out.event("key_held", data | {"message": detail.text}, show.clean(detail.text))
        elif isinstance(detail, VerifyResult):
            said = "says that it is the same" if detail.match else "says that it is not the same"
            self._out.event("verify_result", data | {"match": detail.match}, f"{peer} {said}")

    def _wanted(self, happened: Happened) -> None:
        """The peer wants a proof. If nobody is asked, nobody can answer: this program has no other way."""
        detail = happened.detail
        assert isinstance(detail, VerifyRequest)
        if not detail.begun:
            happened.session.decline(detail.method)
        said = "" if detail.begun else ", which is declined: there is no terminal to ask at, and nothing is set up"
        line = show.one_line(f"{happened.peer} wants a proof by {detail.method}{said}")
        self._out.event("verify_request", {"peer": happened.peer, "method": detail.method, "declined": not detail.begun}, line)

    def _cut(self, report: VerifyCut) -> None:
        self._out.event("verify_cut", {"peer": report.peer, "count": report.count}, show.clean(str(report)))

    def _send_failed(self, report: SendFailed) -> None:
        data = {"to": str(report.stanza["to"]), "error": type(report.error).__name__, "message": str(report.error)}
        self._out.event("send_failed", data, show.clean(str(report)))

    def _plaintext(self, report: Plaintext) -> None:
        data = {"from": str(report.stanza["from"]), "message": str(report.error)}
        self._out.event("plaintext", data, show.clean(str(report)))

    def _refused(self, report: SessionRefused) -> None:
        data = {"peer": report.peer, "error": type(report.error).__name__, "message": str(report.error)}
        self._out.event("session_refused", data, show.clean(str(report)))

    def _trust_file(self, report: TrustFileFailed) -> None:
        self._out.event("trust_file_failed", {"message": str(report.error)}, show.clean(str(report)))


def _text(fingerprint: Fingerprint | None) -> str | None:
    return str(fingerprint) if fingerprint else None

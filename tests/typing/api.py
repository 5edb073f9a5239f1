"""A user's bot and a user's client. Nobody runs them: mypy --strict and pyright must accept each line of them."""

from __future__ import annotations

import asyncio
from typing import assert_type

import slixmpp

import slixmpp_e2e
from slixmpp_e2e import (
    E2E,
    Assurance,
    ConfigError,
    E2EError,
    E2ESession,
    Fingerprint,
    KeyChanged,
    NotSent,
    NotSentReason,
    PeerOffline,
    PlaintextReceived,
    SasPrompt,
    SendFailed,
    SessionClosed,
    SessionOpened,
    StoreError,
    StoreReason,
    VerificationDeclined,
    VerificationRequested,
)


class Bot(slixmpp.ClientXMPP):
    """Answers those who are verified, and tells what it cannot send."""

    def __init__(self, jid: str, password: str) -> None:
        super().__init__(jid, password)
        try:
            self.register_plugin("e2e", {"policy": "require", "accept_from": ["example.org"]}, module=slixmpp_e2e)
        except ConfigError as error:
            raise SystemExit(slixmpp_e2e.explain(error)) from None
        self.add_event_handler("message", self.on_message)
        self.add_event_handler(SendFailed.name, self.on_send_failed)
        self.add_event_handler(SessionOpened.name, self.on_opened)

    def on_message(self, message: slixmpp.Message) -> None:
        """Answer through the session in which the message came."""
        assurance: Assurance = message["e2e"]["assurance"]
        if assurance >= Assurance.VERIFIED:
            message.reply("Yes?").send()

    def on_opened(self, event: SessionOpened) -> None:
        """Each event is a class, and its fields have types."""
        assert_type(event.session, E2ESession)
        assert_type(event.peer, str)
        assert_type(event.assurance, Assurance)
        assert_type(event.fingerprint, Fingerprint)

    def on_send_failed(self, event: SendFailed) -> None:
        """``str(event)`` is a text for people."""
        error = assert_type(event.error, E2EError)
        if isinstance(error, NotSent) and assert_type(error.reason, NotSentReason) is NotSentReason.QUEUE_FULL:
            return
        print(event)


class Client:
    """A chat client: sees sessions, verifies keys, and shows what happens."""

    def __init__(self, xmpp: slixmpp.ClientXMPP) -> None:
        self.e2e = assert_type(slixmpp_e2e.of(xmpp), E2E)
        xmpp.add_event_handler(KeyChanged.name, self.on_key_changed)
        xmpp.add_event_handler(VerificationRequested.name, self.on_verification_requested)
        xmpp.add_event_handler(SessionClosed.name, self.on_closed)
        xmpp.add_event_handler(PlaintextReceived.name, print)

    async def ready(self) -> bool:
        """Wait for the store; its reasons tell whether another try may help."""
        try:
            await self.e2e.wait_ready()
        except StoreError as error:
            if assert_type(error.reason, StoreReason) is StoreReason.BUSY:
                return False
            raise
        return True

    async def verify(self, jid: str) -> bool:
        """Compare a short string with the peer."""
        try:
            session = await self.e2e.connect(jid, require="verified")
        except PeerOffline:
            return False
        try:
            await session.verify_sas(self.compare, form="emoji")
        except VerificationDeclined:
            await session.verify_password("correct horse battery staple")
        assert_type(session.assurance, Assurance)
        error = await session.close()
        return assert_type(error, E2EError | None) is None

    async def compare(self, prompt: SasPrompt) -> bool:
        """Ask the user."""
        return await asyncio.to_thread(input, f"{prompt.text} — the same? ") == "yes"

    def on_key_changed(self, event: KeyChanged) -> None:
        """Show the text with the way out."""
        print(event.text, *event.known)

    def on_verification_requested(self, event: VerificationRequested) -> None:
        """Take no part."""
        if not event.running:
            event.session.decline(event.method)

    def on_closed(self, event: SessionClosed) -> None:
        """An unclean end may have cost the last messages."""
        if event.error is not None:
            print(slixmpp_e2e.explain(event.error))

    async def trust(self, jid: str, fingerprint: str) -> None:
        """Decide about keys, and about policies."""
        await self.e2e.trust.pin(jid, fingerprint)
        await self.e2e.secrets.put_password(jid, "correct horse battery staple")
        self.e2e.set_policy(jid, "require", trust_model="server-untrusted")
        assert_type(self.e2e.fingerprint, Fingerprint)
        assert_type(self.e2e.sessions(), tuple[E2ESession, ...])

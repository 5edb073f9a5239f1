"""Builds the parts of one client, and hands each of them what happens, in one order. It decides nothing itself."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSent, NotSentReason
from slixmpp_e2e.events import StoreFailed, TrustFileFailed
from slixmpp_e2e.jids import bare
from slixmpp_e2e.messages.changes import PeerChanges
from slixmpp_e2e.messages.failures import SendFailures
from slixmpp_e2e.messages.flusher import Flusher
from slixmpp_e2e.messages.incoming import IncomingFilter
from slixmpp_e2e.messages.iq_tracking import IqTracker
from slixmpp_e2e.messages.outgoing import OutgoingFilter
from slixmpp_e2e.messages.outlook import Outlooks
from slixmpp_e2e.messages.queue import SendQueue
from slixmpp_e2e.messages.queued import QueuedStanza, Senders
from slixmpp_e2e.messages.room_questions import RoomQuestions
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.messages.routing import RouteCache, Router
from slixmpp_e2e.messages.streams import StreamChanges
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.routing_events import Delivered, Sent, Waiting
from slixmpp_e2e.session import Sessions
from slixmpp_e2e.sessions.admission.allow_list import AllowList
from slixmpp_e2e.sessions.admission.check import Admission
from slixmpp_e2e.sessions.admission.limits import SessionLimits
from slixmpp_e2e.sessions.driver import AssuranceChanged, DriverEvent, SessionDiscarded, SessionDriver, SessionReleased
from slixmpp_e2e.sessions.factory import SessionFactory
from slixmpp_e2e.sessions.handled_counts import HandledCounts
from slixmpp_e2e.sessions.memory import MemoryBudget
from slixmpp_e2e.sessions.pacing import Pacing
from slixmpp_e2e.sessions.registry import SessionRegistry
from slixmpp_e2e.sessions.rotation import RotationAnnouncer
from slixmpp_e2e.sessions.signalling import Signalling
from slixmpp_e2e.settings import Settings
from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.translation import FROM_CORE
from slixmpp_e2e.trust.own_key import OwnKeyLoader
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.trust.store_poller import StorePoller
from slixmpp_e2e.trust.trust_file.watcher import TrustFile
from slixmpp_e2e.verification.key_recorder import KeyRecorder
from slixmpp_e2e.verification.run_limiter import RunLimiter
from slixmpp_e2e.verification.verifier import Verifier
from slixmpp_e2e.xmpp import adapter, outcomes
from slixmpp_e2e.xmpp.advertising import Advertiser
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from slixmpp_e2e.xmpp.outcomes import SendState
from slixmpp_e2e.xmpp.presence import PLACES, PresenceCache
from slixmpp_e2e.xmpp.quick_acks import QuickAcks
from slixmpp_e2e.xmpp.support import SupportQuestions
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Role, TrustModel


class Part(Protocol):
    """A part of the client that acts on what happens to sessions."""

    def on_session_event(self, driver: SessionDriver, event: Any, /) -> None:
        """Act on an event, when the parts before it in ``Client._order`` have. StoreError ends the session."""


class Client:
    """Everything of one client that lives as long as the plugin is loaded."""

    def __init__(
        self, xmpp: BaseXMPP, settings: Settings, store: SQLStore, own_key: OwnKeyLoader, trust_file: TrustFile
    ) -> None:
        self._xmpp, self._settings, self._store = xmpp, settings, store
        self._own_key, self._trust_file = own_key, trust_file
        self._emitter, self._channel = Emitter(xmpp), IqChannel(xmpp)
        self._presence = (
            PresenceCache(self._clock, lambda account: False, places_of_strangers=PLACES, probe=self._ask_for_presence)
            if xmpp.is_component
            else PresenceCache(self._clock, lambda account: self.allow_list.is_in_roster(account))
        )
        self.peers = PeerSettingsLookup(store, trust_file, settings.defaults, self._on_settings)
        self._poller = StorePoller(
            self._loop,
            store,
            has_sessions=lambda: any(True for _ in self.registry),
            on_keys_changed=lambda account: self.changes.on_keys(account),
            on_policy_changed=lambda account: self.changes.on_settings(account),
            check_own_key=own_key.current,
            on_error=self.on_store_error,
        )
        self._verifier = Verifier(
            store,
            trust_file,
            self._emitter,
            settings.prompts,
            settings.terms.timeouts.user,
            RunLimiter(self._clock, lambda account: self.allow_list.is_contact(account)),
        )
        self.sessions = Sessions(self._verifier)
        self._iqs = IqTracker(self._channel.own_jid, self._clock)
        self._failures = SendFailures(xmpp, self._iqs, self._emitter, self._clock, lambda driver: self.registry.goes_on(driver))
        self._rooms = MucRooms(
            xmpp,
            lambda account: self.peers.is_known_account(account) or self.allow_list.is_subscribed(account),
            lambda account: self.peers.of(account).policy is Policy.REQUIRE,
            lambda account: self.peers.of(account).trust_model is not TrustModel.SERVER_UNTRUSTED,
        )
        self.advertiser = Advertiser(xmpp, self.advertises_to)
        self._admission = self._build_sessions()
        signalling = self._build_messages()
        self._recorder = KeyRecorder(store, self.peers, self._emitter, self.on_keys)
        self._listeners = self._order(signalling)
        """Who hears of which event, in this order."""
        self._filters = (
            self._incoming.filter_incoming,
            self._outgoing.filter_first,
            self._outgoing.filter_outgoing,
        )
        adapter.add_filters(xmpp, *self._filters)
        self._ends = (
            adapter.guard_elements(xmpp, self._incoming.take_element),
            adapter.guard_reads(xmpp, self._channel.writer.begin_read, self._channel.writer.end_read),
        )
        self._quick_acks = QuickAcks(xmpp)
        self.watch()

    def watch(self) -> None:
        """Watch what others write, on the loop that the client has now. Called again when a stream begins, on which there are
        no sessions yet."""
        self._poller.stop()
        self._trust_file.start(
            self._loop(),
            None if self._xmpp.is_component else self._xmpp.boundjid.bare,
            on_change=self.changes.on_trust_file,
            on_error=lambda error: self._emitter.emit(TrustFileFailed(error)),
        )

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the client. A program may set another one after it has registered the plugin."""
        return self._xmpp.loop

    def _clock(self) -> float:
        return self._loop().time()

    def _build_sessions(self) -> Admission:
        settings = self._settings
        self.limits: SessionLimits[SessionDriver] = SessionLimits(settings.limits)
        self.allow_list = AllowList(self._xmpp, settings.accept_from, self._store.has_used_e2e, lambda: self._own_key.is_loaded)
        self._counts = HandledCounts(self._loop, self._store, self.on_store_error)
        self._factory = SessionFactory(
            settings.terms,
            self._own_key,
            self.peers,
            self._poller,
            self.allow_list,
            self._verifier.shared_secrets,
            self._verifier.promptable_methods,
            self._emitter.emit,
            self._counts.resumptions,
        )
        # not `is_known`: whoever has once used encryption with us is known, and any stranger can
        self.memory = MemoryBudget(self.allow_list.has_place)
        pacing = Pacing(self._loop, self.allow_list.is_contact, seconds=settings.queue_seconds, takes_turns=True)
        self._channel.on_left = pacing.has_left
        self.registry = SessionRegistry(self._create, settings.limits, self.allow_list.has_place, pacing)
        return Admission(
            self.allow_list,
            self.limits,
            self.peers,
            self._rooms.may_be,
            self._rooms.own.can_end,
            self._clock,
            lambda: self._channel.delay,
        )

    def _build_messages(self) -> Signalling:
        xmpp, settings = self._xmpp, self._settings
        self._support = SupportQuestions(
            xmpp, self._emitter, settings.disco_seconds, lambda account: self.routes.forget(account)
        )
        self.router = Router(
            xmpp,
            self._own_key,
            self.peers,
            self._presence,
            self.registry,
            self._emitter,
            self._rooms,
            self._support,
        )
        self.routes = RouteCache(self.router, self._clock)
        self._outgoing = OutgoingFilter(
            xmpp, self._channel, self._rooms, self._iqs, self.peers, self.routes, self._failures, self._emitter
        )
        self.queue = SendQueue(
            self._loop,
            self.routes,
            self.registry,
            self._iqs,
            Senders(
                self._outgoing.write_plaintext,
                self._failures.report,
                self._on_sent,
                self._on_delivered,
                self._on_waits,
                self._outgoing.copy_in_plaintext,
                self._outgoing.may_fall_back,
                self._outgoing.fall_back,
            ),
            # not `is_known`: whoever has once used encryption with us is known, and any stranger can
            self.allow_list.has_place,
            seconds=settings.queue_seconds,
            max_bytes=settings.queue_bytes,
            patience=settings.offline_seconds,
            may_open=lambda account: self.peers.of(account).policy.accepts_sessions,
        )
        self._outgoing.attach(self.queue)
        self.flusher = Flusher(xmpp, self.queue, self.registry, settings.disconnect_seconds)
        self.changes = PeerChanges(
            xmpp,
            self._presence,
            self._support,
            self._rooms,
            self.peers,
            self.routes,
            self.registry,
            self.allow_list,
            self._emitter,
            self.queue.on_presence,
        )
        self.outlooks = Outlooks(
            xmpp, self.peers, self._presence, self.registry, self.routes, self._waiting_for, self._rooms, self._clock
        )
        self._questions = RoomQuestions(xmpp, self._rooms, self._channel.own_jid, self._loop)
        signalling = Signalling(
            self.registry,
            self._admission,
            self._channel,
            lambda *offer: self._create(Role.RESPONDER, *offer),
            self._questions.resolve,
        )
        self._incoming = IncomingFilter(
            xmpp,
            self._channel,
            signalling,
            self._rooms,
            self._questions,
            self._iqs,
            self.peers,
            self._emitter,
            self.sessions.token_of,
            self.changes.on_presence,
            self.routes.note_plaintext_from,
        )
        self.streams = StreamChanges(
            xmpp,
            self._channel,
            self._presence,
            self._support,
            self._rooms,
            self.registry,
            self._outgoing,
            self.queue,
            self._failures,
            settings.queue_seconds,
        )
        return signalling

    def _order(self, signalling: Signalling) -> dict[type[Any], tuple[Part, ...]]:
        recorder, announcer = self._recorder, RotationAnnouncer(self._own_key, self.registry, self._emitter)
        registry, sessions, queue, verifier = self.registry, self.sessions, self.queue, self._verifier
        admission = self._admission
        over = (registry, admission, queue, self._failures, verifier)
        own = (self._rooms.own,) if self._xmpp.is_component else ()
        return {
            events.SessionOffered: (signalling,),
            events.TransportAgreed: (registry, recorder),
            events.TLSEstablished: (),
            events.KeyChanged: (),
            events.PromptRequested: (verifier,),
            events.ComputationRequested: (verifier,),
            events.KeyVerified: (verifier,),
            events.KeyDoubted: (),
            events.KeyRotated: (),
            events.VerificationDeclined: (verifier,),
            events.VerificationRequested: (verifier,),
            events.PeerSasResult: (),
            events.SasInterrupted: (),
            events.VerificationRequired: (queue, verifier),
            events.SessionOpened: (*own, sessions, registry, admission, queue, announcer),
            events.StanzaReceived: (self._incoming, self._counts),
            events.StanzasAcknowledged: (queue,),
            events.SessionSuperseded: (registry,),
            events.SessionClosed: over,
            events.SessionFailed: over,
            AssuranceChanged: (),
            SessionDiscarded: (registry, admission, queue),
            SessionReleased: (recorder, registry, admission, sessions),
        }

    def _create(self, role: Role, own_jid: str, peer: str, min_assurance: Assurance = Assurance.NONE) -> SessionDriver:
        core = self._factory.create(role, own_jid, peer, min_assurance)
        return SessionDriver(
            core,
            self._channel,
            self._loop(),
            self._recorder.store,
            self.on_session_event,
            min_assurance,
            self.memory,
            self._settings.stall_seconds,
            self.registry.retry,
        )

    def advertises_to(self, asker: JID | None, own: JID | None) -> bool:
        """Return whether we tell an asker that an address of ours accepts sessions; for None, whether we tell everybody."""
        if own is not None and not self._rooms.own.can_end(own.full):
            return False
        everybody = self.allow_list.accepts_anybody and self._settings.accepts_sessions
        if asker is None or own is None or everybody:
            return everybody
        try:
            return self.allow_list.is_allowed(asker.full, own.full) and self.peers.of(asker.bare).policy.accepts_sessions
        except StoreError:
            return False  # whatever is sent fails with it, and tells so

    def on_keys(self, account: str, own: str) -> None:
        """We have decided about a key of an account, at one of our addresses."""
        if self._store.is_ending:
            return
        if not self._xmpp.is_component:  # at another of its addresses somebody else may have decided meanwhile
            self._poller.keys.skip(account)
        self.changes.on_keys(account, own)

    def configure(self, settings: Settings) -> None:
        """Go by other settings from now on, as far as they can change."""
        self._verifier.prompts = settings.prompts
        self.flusher.seconds = settings.disconnect_seconds
        self.peers.set_defaults(settings.defaults)
        self.allow_list.allow_sessions_from(settings.accept_from)
        for driver in self.registry:
            driver.update_promptable_methods(self._verifier.promptable_methods(bare(driver.peer), bare(driver.own_jid)))
        self._settings = settings
        self.changes.on_defaults()

    def _on_settings(self, account: str) -> None:
        self._poller.policies.skip(account)
        self.changes.on_settings(account)

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Hand an event of a session to whoever hears of it, in order, and then to the user."""
        try:
            for part in self._listeners[type(event)]:
                part.on_session_event(driver, event)
        except StoreError as error:
            driver.refuse(event, error)
            return
        if (translate := FROM_CORE.get(type(event))) is not None:
            self._emitter.emit(translate(self.sessions.of(driver), event))

    def _on_sent(self, stanza: StanzaBase, driver: SessionDriver) -> None:
        outcome = outcomes.begin(stanza)
        session = self.sessions.of(driver)
        outcome.sent(session)
        if self.flusher.is_flushing or outcome.done is not None:
            driver.request_acknowledgement()
        if self._emitter.has_handler(Sent):
            self._emitter.emit(Sent(stanza, session))

    def _on_waits(self, to: str, error: E2EError) -> None:
        self._emitter.emit(Waiting(to, f"a device that can be reached and has encryption, since {error}"))

    def _on_delivered(self, item: QueuedStanza) -> None:
        sessions = tuple(map(self.sessions.of, item.acknowledged_by))
        stanza = item.as_sent() if self._emitter.has_handler(Delivered) else item.stanza
        item.outcome.end(SendState.DELIVERED, sessions)
        if self._emitter.has_handler(Delivered):
            self._emitter.emit(Delivered(stanza, sessions))

    # --- the client's stream ---------------------------------------------------------------------------------------

    def _ask_for_presence(self, own_account: str, account: str) -> None:
        self._xmpp.send_presence(pto=JID(account), pfrom=JID(own_account), ptype="probe")

    def join(self) -> None:
        """Take over the presence of a stream that was up before the plugin was loaded."""
        self._presence.load_roster(self._xmpp.boundjid.bare, self._xmpp.client_roster)

    def pause(self) -> None:
        """The connection is gone; the stream may be resumed, unless the program was about to disconnect."""
        self._channel.pause()
        if self.flusher.is_finishing:
            self.give_up()
            self.flusher.on_lost()
        self._counts.note_now()  # many a program ends now

    async def close(self) -> None:
        """End all sessions by farewells."""
        await self.flusher.close()
        self._counts.note_now()

    def give_up(self) -> None:
        """The program goes: nothing waits any more."""
        self.streams.give_up(NotSent("the program has disconnected", NotSentReason.DISCONNECTED))
        self._counts.note_now()

    def cancel(self, account: str) -> int:
        """Withdraw what waits for an account, for the next stream too. Return the number of stanzas."""
        withdrawn = NotSent("it was withdrawn here", NotSentReason.CANCELLED)
        return self.queue.cancel(account, withdrawn) + self.streams.cancel(account, withdrawn)

    def _waiting_for(self, account: str) -> list[float]:
        return self.queue.waiting_for(account) + self.streams.waiting_for(account)

    def resume(self) -> None:
        """The stream was resumed (XEP-0198)."""
        self._channel.resume()

    def unload(self, error: E2EError) -> None:
        """End everything: sessions end, what waits fails, the filters go."""
        self._questions.end()
        self.streams.on_unload(error)
        self._counts.note_now()
        self._poller.stop()
        self._trust_file.stop()
        adapter.remove_filters(self._xmpp, *self._filters)
        self._quick_acks.stop()
        for end in self._ends:
            end()

    def on_store_error(self, error: StoreError) -> None:
        """Tell the user that the store failed in the background, where no stanza and no session fails with it."""
        self._emitter.emit(StoreFailed(error))

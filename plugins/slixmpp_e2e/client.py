"""Where everything of one client meets: links, outbox, filters, store and slixmpp each know only this.

It translates: a core event becomes a slixmpp event and a row in the store; a stanza that came inside becomes one that handlers
see; a failure becomes an error that the sender sees.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import deque
from xml.etree.ElementTree import Element

from slixmpp import JID, Iq, Presence
from slixmpp.basexmpp import BaseXMPP
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, SessionGone
from slixmpp_e2e.events import Plaintext, SendFailed, SessionRefused, StoreFailed, TrustFileFailed, VerifyCut
from slixmpp_e2e.messages.filters import Filters
from slixmpp_e2e.messages.iq_tracking import Asked, InsideIqs
from slixmpp_e2e.messages.queue import FAN_OUT, Outbox, Route, Target
from slixmpp_e2e.messages.scope import Rooms
from slixmpp_e2e.sessions.admission.allow_list import Callers
from slixmpp_e2e.sessions.driver import Happened, Link
from slixmpp_e2e.sessions.registry import Sessions
from slixmpp_e2e.settings import Settings
from slixmpp_e2e.store.errors import StoreError
from slixmpp_e2e.trust.own_key import Own
from slixmpp_e2e.trust.store_poller import Watch
from slixmpp_e2e.trust.trust_file.parse import Rules, TrustFileWrong
from slixmpp_e2e.trust.trust_file.watcher import Declared
from slixmpp_e2e.verification.verifier import Proofs
from slixmpp_e2e.xmpp import adapter, discovery
from slixmpp_e2e.xmpp import marker as mark
from slixmpp_e2e.xmpp.iq_channel import OwnIqs
from slixmpp_e2e.xmpp.presence import Presences
from xmpp_e2e import events
from xmpp_e2e.config import Config
from xmpp_e2e.errors import E2EError, JingleError
from xmpp_e2e.identity import Assurance, Remembered, Role
from xmpp_e2e.session import Session
from xmpp_e2e.trust.policy import Incoming, Outgoing, Policy, incoming_plaintext, outgoing
from xmpp_e2e.trust.store import TrustStore

log = logging.getLogger("slixmpp_e2e")

_TOLD = (
    events.SessionStart,
    events.SessionEnd,
    events.SessionFailed,
    events.KeyChanged,
    events.KeyHeld,
    events.VerifyRequest,
    events.VerifyResult,
)
"""The core events that users hear of, as ``e2e_session_start`` and so on."""
_PAST_BOUND = 1024
"""Ended sessions whose stanzas can still be asked how they came: a handler looks at a stanza soon after it was injected."""


_ANSWERED = 0.8
"""The part of the time for people after which a wish of the peer's is declined that nobody has answered: he is still there."""


class Switchboard:
    """Everything of one client that lives as long as the plugin is loaded."""

    def __init__(
        self, xmpp: BaseXMPP, settings: Settings, store: TrustStore, own: Own, declared: Declared
    ) -> None:
        self.xmpp = xmpp
        self.loop: asyncio.AbstractEventLoop = xmpp.loop
        self.hold_seconds, self.hold_bytes = settings.hold_seconds, settings.hold_bytes
        self._settings, self._store, self._own = settings, store, own
        self._declared = declared
        self.iqs = OwnIqs(xmpp)
        self.inside = InsideIqs()
        self.callers = Callers(xmpp, own, store, settings.accept_from)
        self.rooms = Rooms(xmpp, self._is_person)
        self.presences = Presences(self.loop)
        self.outbox = Outbox(self)
        self.sessions = Sessions(self, self.callers, self.iqs, self.loop.time, settings.limits)
        self._watch = Watch(self, store)
        self.proofs = Proofs(self, store, self._declared, settings.prompts)
        self.verify = self.proofs.verify
        self._kept: list[StanzaBase] = []
        self._past: deque[Link] = deque(maxlen=_PAST_BOUND)
        self.injecting = False
        self._filters = Filters(self)
        adapter.add_filters(xmpp, self._filters.incoming, self._filters.first, self._filters.outgoing)
        self._declared.start(self, None if xmpp.is_component else xmpp.boundjid.bare)

    def unplug(self, error: E2EError) -> None:
        """End everything: sessions are cut, held stanzas fail, the filters go. What is queued before them fails too: it would
        come to where they were, and leave in clear."""
        adapter.sift(self.xmpp, lambda stanza: self._filters.outgoing(stanza) is not None)
        self.stream_lost(error)
        self._fail_all(self._kept, error)
        self._watch.stop()
        self._declared.stop()
        adapter.remove_filters(self.xmpp, self._filters.incoming, self._filters.first, self._filters.outgoing)

    def stream_lost(self, error: E2EError, *, reopen: bool = False) -> None:
        """The client's stream is over, and every path with it. What waits fails, or (``reopen``) waits for the next stream."""
        waiting = self.outbox.take_all()
        for link in self.sessions:
            link.cut(error)
        self.iqs.clear()
        self.presences.begin()
        if reopen:
            self._kept += waiting
        else:
            self._fail_all(waiting, error)

    def stream_started(self) -> None:
        """A new stream is up: what was kept for it goes on."""
        kept, self._kept = self._kept, []
        for stanza in kept:
            if self._filters.outgoing(stanza) is not None:
                self.write(stanza)

    def _fail_all(self, stanzas: list[StanzaBase], error: E2EError) -> None:
        for stanza in stanzas:
            self.send_failed(stanza, error)

    def trust_changed(self, bare: str) -> None:
        """The user has decided about a key of this peer: sessions that wait for that go on, those under a refused key end."""
        remembered = self._remembered(bare)
        self.outbox.forget_routes(bare)  # a device that was left out may be as good as the others now
        for link in self.sessions.of(bare):
            link.remember(remembered)

    def rules_changed(self, old: Rules, new: Rules) -> None:
        """The trust file says something else: what it says of keys goes to the sessions that are there; those that began on
        other terms end, and the next begin on these."""
        accounts = {JID(link.peer).bare for link in self.sessions} | self.outbox.accounts()
        for bare in accounts:
            if [rule.terms for rule in old.of(bare)] != [rule.terms for rule in new.of(bare)]:
                for link in self.sessions.of(bare):
                    link.end()
            self.trust_changed(bare)

    def trust_file_failed(self, error: TrustFileWrong) -> None:
        """Tell that the trust file cannot be used; what it said before holds."""
        report = TrustFileFailed(error)
        log.error("%s", report)
        self.xmpp.event("e2e_trust_file_failed", report)

    def has_sessions(self) -> bool:
        """Is there any, open or on its way?"""
        return any(True for _ in self.sessions)

    # --- terms -----------------------------------------------------------------------------------------------------

    def policy_with(self, bare: str) -> Policy:
        """The policy that is in force with a peer."""
        terms = self._declared.terms(bare, self._store.policy(bare))
        return terms.policy.under(terms.trust_model)

    def _remembered(self, bare: str) -> Remembered:
        return self._declared.remembered(bare, self._store.remembered(bare))

    def permits_clear(self, bare: str) -> bool:
        """Do the terms of this moment let plaintext go to a peer who seems to have no encryption?"""
        seen, allowed = self._store.seen(bare), self._store.policy(bare).plaintext_allowed
        verdict = outgoing(self.policy_with(bare), advertised=None, seen_before=seen, plaintext_allowed=allowed)
        return verdict is Outgoing.CLEAR

    def _is_person(self, bare: str) -> bool:
        """Has this account ever had encryption, was a key of it pinned, or has the user set a policy for it?"""
        store = self._store
        if self._declared.names(bare):
            return True
        return store.seen(bare) or store.policy(bare).policy is not None or bool(store.remembered(bare).keys)

    def judge_plaintext(self, bare: str) -> Incoming:
        """What becomes of plaintext of this peer."""
        allowed = self._store.policy(bare).plaintext_allowed
        return incoming_plaintext(self.policy_with(bare), self._store.seen(bare), allowed)

    def new_session(self, role: Role, ours: str, peer: str, minimum: Assurance) -> Session:
        """A core session between two full JIDs, on the terms of the day."""
        bare = JID(peer).bare
        if role is Role.INITIATOR:
            self.callers.approach(bare)
        self._watch.start()  # before we ask what is remembered: whatever changes afterwards is noticed
        terms = self._declared.terms(bare, self._store.policy(bare))
        secrets = self._secrets(role, bare, JID(ours).bare)
        config = Config(
            ours=ours,
            peer=peer,
            identity=self._own.identity,
            random=os.urandom,
            trust_model=terms.trust_model,
            required=max(minimum, terms.require),
            on_key_change=terms.on_key_change,
            require_pq=self._settings.require_pq,
            fast_open=self._settings.fast_open,
            deadlines=self._settings.deadlines,
            need=tuple(secrets),
            each=terms.each,
            secrets=secrets,
            asks=self.proofs.asks(bare),
        )
        return Session(role, config, self._remembered(bare))

    def _secrets(self, role: Role, bare: str, ours: str) -> dict[str, bytes]:
        """What is set up with a peer. If it cannot be used there is no session: whoever sends hears why, but a peer only that
        we want none. (Any other error, raised while his stanza is looked at, would end the client's stream.)"""
        try:
            return self.proofs.secrets(bare, ours)
        except StoreError:
            raise
        except E2EError as error:
            if role is Role.INITIATOR:
                raise
            report = SessionRefused(bare, error)
            log.warning("%s", report)
            self.xmpp.event("e2e_session_refused", report)
            raise JingleError("what should prove the peer cannot be used", "not-allowed") from None

    def new_link(self, session: Session) -> Link:
        """What carries it."""
        return Link(self, session)

    def admits(self, peer: str) -> bool:
        """Do the policies agree? No occupant of a room may open a session: one with him would make a person of the room."""
        bare = JID(peer).bare
        return bare not in self.rooms and self.policy_with(bare).accepts_sessions

    # --- the way out -----------------------------------------------------------------------------------------------

    async def find_route(self, ours: str, to: str) -> Route:
        """The way to an address: in clear or through sessions; PeerOffline or PeerWithoutE2E if there is none."""
        bare = JID(to).bare
        capable, advertised = await self._ask(ours, to)
        if advertised:
            self._mark_seen(bare)
        verdict = outgoing(
            self.policy_with(bare),
            advertised=advertised,
            seen_before=self._store.seen(bare),
            plaintext_allowed=self._store.policy(bare).plaintext_allowed,
        )
        if verdict is Outgoing.CLEAR:
            return Route(clear=True)
        if verdict is Outgoing.ENCRYPT:
            return Route(clear=False, targets=tuple((ours, peer) for peer in capable[:FAN_OUT]))
        raise _absent(to, advertised)

    def _mark_seen(self, bare: str) -> None:
        """From now on offline cannot be told from stripped, though no session may ever have opened. StoreError; but nothing is
        written twice, for where the disk is full acquaintances still talk."""
        if not self._store.seen(bare):
            self._store.mark_seen(bare, time.time())

    async def best(self, ours: str, to: str) -> Target:
        """Whom a session with an address should be with; PeerOffline or PeerWithoutE2E if nobody is there for it."""
        if not self.policy_with(JID(to).bare).accepts_sessions:
            raise PeerWithoutE2E(f"the policy for {to} is `off`")
        capable, advertised = await self._ask(ours, to)
        if not capable:
            raise _absent(to, advertised)
        return ours, capable[0]

    async def _ask(self, ours: str, to: str) -> tuple[list[str], bool | None]:
        """The full JIDs behind an address that advertise encryption, the best first; and whether any of them does, which is
        None if none could be asked. StoreError if we have no key to show."""
        await self._own.opened()
        candidates = [to] if JID(to).resource else await self._resources(ours, to)
        open_ones = {peer: True for peer in candidates if self._is_open(ours, peer)}
        asked = [peer for peer in candidates if peer not in open_ones]
        answers: dict[str, bool | None] = {**open_ones, **await discovery.supporting(self.xmpp, JID(ours), asked)}
        capable = [peer for peer in candidates if answers[peer]]
        return capable, True if capable else (False if False in answers.values() else None)

    async def _resources(self, ours: str, bare: str) -> list[str]:
        online = await self.presences.online(JID(ours).bare, bare)
        linked = [link.peer for link in self.sessions.of(bare) if link.is_open and link.ours == ours]
        return [peer for peer in dict.fromkeys([*online, *linked]) if peer != ours]

    def _is_open(self, ours: str, peer: str) -> bool:
        link = self.sessions.between(ours, peer)
        return link is not None and link.is_open

    def link_to(self, target: Target) -> Link:
        """The session with a target, offered now if there is none."""
        return self.sessions.ensure(*target)

    def asks(self, iq: Iq) -> None:
        """An iq goes inside."""
        if (forgotten := self.inside.asks(iq)) is not None:
            self._answer(forgotten, "resource-constraint", "too many requests wait for answers")

    def went(self, stanza: StanzaBase, link: Link) -> None:
        """A stanza goes through a session."""
        if isinstance(stanza, Iq):
            self.inside.went(stanza, link)

    def write(self, stanza: StanzaBase, text: bytes | None = None) -> None:
        """Send a stanza by what is left of the ordinary way."""
        adapter.write(self.xmpp, stanza, self._filters.outgoing, text)

    def send_clear(self, stanza: StanzaBase) -> None:
        """Put a stanza that was held on the wire, before all that is sent after it."""
        if isinstance(stanza, Iq):
            self.inside.not_asked(stanza)
        if self.iqs.paused or adapter.encrypts(self.xmpp):
            self.xmpp.send(stanza)  # our filter finds its route, and lets it go on
        else:
            self.write(stanza)

    def send_failed(self, stanza: StanzaBase, error: E2EError) -> None:
        """A stanza was not sent: tell, and do not let the sender of a request wait for nothing."""
        report = SendFailed(stanza, error)
        log.warning("%s", report)
        self.xmpp.event("e2e_send_failed", report)
        if isinstance(stanza, Iq) and (asked := self.inside.not_asked(stanza)) is not None:
            self._answer(asked, "service-unavailable", str(error))

    def _answer(self, asked: Asked, condition: str, text: str) -> None:
        """What the peer's server would say, had the request been sent to nobody."""
        answer = Iq(self.xmpp)
        answer["type"], answer["id"] = "error", asked.id
        answer["from"], answer["to"] = asked.to, asked.ours or self.xmpp.boundjid
        answer["error"]["type"], answer["error"]["condition"], answer["error"]["text"] = "cancel", condition, text
        adapter.inject(self.xmpp, answer)

    # --- the way in ------------------------------------------------------------------------------------------------

    def presence(self, stanza: Presence) -> None:
        """A presence stanza came: his routes may have changed, and a resource that went has lost its path."""
        peer = stanza["from"]
        ours = stanza["to"].bare if self.xmpp.is_component else self.xmpp.boundjid.bare
        if peer.bare not in self.rooms:
            self.presences.notice(ours, stanza)
        discovery.forget(self.xmpp, peer)
        self.outbox.forget_routes(peer.bare)
        if stanza.xml.get("type") == "unavailable":
            for link in self.sessions.of(peer.bare):
                if link.peer == peer.full:
                    link.cut(SessionGone(f"{peer} went offline"))

    def plaintext(self, name: str, stanza: StanzaBase, error: E2EError) -> None:
        """Tell about a stanza that came in clear: ``received`` or ``refused``."""
        report = Plaintext(stanza, error)
        log.warning("%s", report)
        self.xmpp.event(f"e2e_plaintext_{name}", report)

    def store_failed(self, error: StoreError) -> None:
        """Tell that the store failed, where nothing else tells."""
        report = StoreFailed(error)
        log.error("%s", report)
        self.xmpp.event("e2e_store_failed", report)

    def _inject(self, link: Link, element: Element) -> None:
        stanza = adapter.build(self.xmpp, element)
        mark.put(stanza, link.token)
        if isinstance(stanza, Iq) and not self.inside.came(stanza, link):
            log.warning("%s answered a question that was asked in another session", link.peer)
            return
        self.injecting = True
        try:
            adapter.inject(self.xmpp, stanza)
        finally:
            self.injecting = False

    # --- what links tell -------------------------------------------------------------------------------------------

    def happened(self, link: Link, event: events.Event) -> None:
        """A core event, in order."""
        if isinstance(event, events.StanzaReceived):
            if link.token:  # or it could not be started
                self._inject(link, event.stanza)
        elif isinstance(event, events.SessionOffered):
            link.accept()
        elif isinstance(event, events.TransportAgreed):
            self.sessions.connected(link, event.sid)
        elif isinstance(event, events.SessionStart):
            try:
                self._started(link, event)
            except StoreError as error:
                # what is not remembered would be met anew, as a stranger, without a word about another key
                link.fail(error)
                return
        elif isinstance(event, events.Computing):
            self.proofs.compute(link, event.computation)
        elif isinstance(event, events.VerifyRequest):
            self._requested(link, event)
        elif isinstance(event, events.KeyHeld):
            log.warning("%s", event.text)
        elif isinstance(event, events.SessionEnd | events.SessionFailed):
            if isinstance(event, events.SessionFailed):
                self.outbox.avoid((link.ours, link.peer))
            self._ended(link, event.error)
        try:
            self.proofs.happened(link, event)
        except StoreError as error:
            link.fail(error)  # what is not counted, or not remembered, would be as if it had not been
        if isinstance(event, _TOLD):
            log.info("%s %s", link.peer, event)
            self.xmpp.event(_name(event), Happened(link, event))

    def _requested(self, link: Link, event: events.VerifyRequest) -> None:
        """The peer wants a proof; if nobody here answers, he is not left waiting."""
        if event.begun:
            return
        if self.xmpp.event_handled(_name(event)):
            self.proofs.expect(link, event.method, _ANSWERED * self._settings.deadlines.human)
            return
        setup = "nobody can be asked: neither the setting `sas` or `password` nor a handler of e2e_verify_request is there"
        log.warning("%s wants a proof by %s, which is declined: %s", link.peer, event.method, setup)
        link.decline(event.method)

    def verify_cut(self, report: VerifyCut) -> None:
        """Tell that a comparison ended before both users had spoken."""
        log.warning("%s", report)
        self.xmpp.event("e2e_verify_cut", report)

    def _started(self, link: Link, event: events.SessionStart) -> None:
        bare = JID(link.peer).bare
        if (proved := link.proved) is not None:
            self._store.accept(bare, proved.fingerprint, proved.assurance, proved.method, time.time())
        elif self._store.remembered(bare).key(event.fingerprint) is None:
            self._store.accept(bare, event.fingerprint, Assurance.VOUCHED, "route", time.time())
        self._mark_seen(bare)
        link.token = mark.admit(link)
        self.outbox.forget_routes(bare)
        self.sessions.opened(link)

    def _ended(self, link: Link, error: E2EError | None) -> None:
        gone = error or SessionGone(f"the session with {link.peer} has ended")
        self.sessions.ended(link)
        self.outbox.lost(link, gone)
        if self.sessions.between(link.ours, link.peer) is None:
            self.outbox.fail((link.ours, link.peer), gone)
        for asked in self.inside.unanswered(link):
            self._answer(asked, "recipient-unavailable", str(gone))
        self.inside.forget(link)

    def writable(self, link: Link) -> None:
        """Stanzas may be given to the link."""
        self.outbox.flush(link)

    def finished(self, link: Link) -> None:
        """The link is over, and everything it had to say has been said."""
        self.sessions.finished(link)
        mark.retire(link.token)
        if link.token:
            self._past.append(link)


def _absent(to: str, advertised: bool | None) -> E2EError:
    if advertised is None:
        return PeerOffline(f"{to} cannot be reached")
    return PeerWithoutE2E(f"{to} is online but does not advertise end-to-end encryption")


def _name(event: events.Event) -> str:
    """``SessionStart`` is ``e2e_session_start``."""
    return "e2e" + re.sub(r"(?=[A-Z])", "_", type(event).__name__).lower()

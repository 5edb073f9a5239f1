"""Who may open a session with us: the order of checks, cheapest first, since a flood must end early."""

from __future__ import annotations

from collections.abc import Callable

from slixmpp_e2e.jids import bare
from slixmpp_e2e.sessions.admission.allow_list import AllowList
from slixmpp_e2e.sessions.admission.limits import AdmissionRefused, SessionLimits, Standing
from slixmpp_e2e.sessions.driver import DriverEvent, SessionDiscarded, SessionDriver, SessionReleased
from slixmpp_e2e.trust.peer_settings import PeerSettingsLookup
from slixmpp_e2e.xmpp.iq_channel import StrangerRefused
from xmpp_e2e import events
from xmpp_e2e.negotiate.jingle import Reason

LONGEST_DELAY = 15.0
"""Seconds that our accept may wait before it leaves: a quarter of those for which the peer waits. More has to be said."""


class Admission:
    """Lets peers in, one check after the other."""

    def __init__(
        self,
        allow_list: AllowList,
        limits: SessionLimits[SessionDriver],
        peers: PeerSettingsLookup,
        is_room: Callable[[str], bool],
        can_end: Callable[[str], bool],
        clock: Callable[[], float],
        delay: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``is_room``: whether a bare JID is that of a room that we are in. ``can_end``: whether an address of ours can be an
        end of a session: not the domain of a component, nor a bare JID or a room of it. ``delay``: seconds until our server has
        read what we would answer."""
        self.allow_list, self.limits = allow_list, limits
        self._peers, self._is_room, self._can_end, self._clock, self._delay = peers, is_room, can_end, clock, delay

    def check(self, peer: str, own_jid: str, *, crosses_ours: bool = False) -> None:
        """Check an iq of ``peer`` to us (full JIDs) that belongs to no session; raise the JingleError that answers it.

        ``crosses_ours``: it is an offer that crosses one of ours. Refusing that for its rate would lose both.
        """
        stranger = StrangerRefused("no session is accepted from this JID")
        # 1. the allow list, which costs no look-up in the store
        if not self._can_end(own_jid) or not self.allow_list.is_allowed(peer, own_jid):
            raise stranger
        # 2. the rates
        contact = self.allow_list.has_place(peer)
        if not crosses_ours and not self.limits.within_rate(peer, self._clock(), contact=contact):
            raise AdmissionRefused("too many sessions are asked for")
        # 3. the policy, which is looked up in the store. A session with an occupant would make a known account of the room
        account = bare(peer)
        if self._is_room(account) or not self._peers.of(account).policy.accepts_sessions:
            raise stranger

    def reserve(self, peer: str, create: Callable[[], SessionDriver]) -> SessionDriver:
        """Return a new session of ``peer``, counted; AdmissionRefused if there is no slot. Comes after ``check()``."""
        standing = self._standing(peer)
        # 4. the delay of our own stream: whoever offers waits for a minute, and does better to try again. Strangers leave room
        longest = LONGEST_DELAY if standing is Standing.CONTACT else LONGEST_DELAY / 2
        if (delay := self._delay()) > longest:
            raise AdmissionRefused(f"what we send waits for {delay:.0f} seconds, since our own server reads slowly")
        # 5. the numbers of sessions, for contacts, other known peers and strangers apart
        if (given_up := self.limits.make_room(peer, standing)) is not None:
            given_up.close(Reason.BUSY)
            self.limits.settle(given_up)  # its event comes in the next turn; another offer may come in this one
        # 6. what is shared with the peer must be usable: `create` raises if not
        driver = create()
        self.limits.enter(driver, peer, standing)
        return driver

    def _standing(self, peer: str) -> Standing:
        if self.allow_list.has_place(peer):
            return Standing.CONTACT
        return Standing.KNOWN if self.allow_list.is_known(peer) else Standing.STRANGER

    def on_session_event(self, driver: SessionDriver, event: DriverEvent) -> None:
        """Count sessions as half-open no longer, or no longer at all."""
        match event:
            case events.SessionOpened() | events.SessionClosed() | events.SessionFailed() | SessionDiscarded():
                self.limits.settle(driver)
            case SessionReleased():
                self.limits.leave(driver)

"""How many sessions peers may open, and how fast: per account, per domain, and in all. docs/bounds.md argues why so.

Sessions that we offer are not counted here, and what peers do never keeps us from offering one. A peer's server has proved its
domain to ours (RFC 6120 §13); a hostile server can make up as many accounts and resources of it as it likes.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slixmpp_e2e.jids import account_and_domain
from slixmpp_e2e.sessions.admission.rate_limit import Rate, TokenBuckets, take_all
from xmpp_e2e.errors import JingleError

HALF_OPEN_PER_PEER = 4
"""Half-open sessions of one bare JID: a few devices that start together."""
HALF_OPEN_PER_DOMAIN = 32
"""Half-open sessions of one domain: half of all, so that no single server fills them."""
HALF_OPEN = 64
"""Half-open sessions of strangers, and once more of known peers: each costs up to 150 kB, so some 10 MB twice."""
HALF_OPEN_OF_CONTACTS = 512
"""Half-open sessions of contacts, whatever their domain: some 77 MB. To a bot that starts again all of them write at once."""
SESSIONS_PER_PEER = 64
"""Sessions of one bare JID, with those that have ended and wait for their last blocks to be answered: 7 MB, 21 at most."""
SESSIONS_PER_DOMAIN = 2_500
"""Sessions of one domain: a quarter of all. Whoever serves one large domain raises it."""
SESSIONS = 10_000
"""Sessions that peers may open: 1 GB if they are honest, else 3.4; strangers get half. We may open as many ourselves."""

REQUEST_RATE_PER_PEER = Rate(2, 192)
"""Offers, and other iqs about sessions that we do not know, of one bare JID. Two friends may open and close a session a hundred
times in a row; less than the burst of a domain."""
REQUEST_RATE_PER_DOMAIN = Rate(32, 256)
"""The same for the strangers of one domain; each costs some 4 ms (look-ups in the store, a key, a TLS context)."""
REQUEST_RATE = Rate(64, 512)
"""The same for all strangers: a quarter of a core."""
REQUEST_RATE_OF_CONTACTS = Rate(128, 1024)
"""The same for the contacts of one domain: as many as can be served, and no more."""
FIRST_OF_DOMAIN = Rate(0.2, 4)
"""Requests of one domain that do not count towards all: else a few domains that flood would keep strangers of others out."""


@dataclass(frozen=True)
class AdmissionLimits:
    """The numbers that a deployment may want to change; each has its reason above."""

    sessions: int = SESSIONS
    sessions_per_domain: int = SESSIONS_PER_DOMAIN
    sessions_per_peer: int = SESSIONS_PER_PEER
    half_open: int = HALF_OPEN
    half_open_of_contacts: int = HALF_OPEN_OF_CONTACTS
    half_open_per_domain: int = HALF_OPEN_PER_DOMAIN
    half_open_per_peer: int = HALF_OPEN_PER_PEER
    request_rate: Rate = REQUEST_RATE
    request_rate_per_domain: Rate = REQUEST_RATE_PER_DOMAIN
    request_rate_per_peer: Rate = REQUEST_RATE_PER_PEER
    request_rate_of_contacts: Rate = REQUEST_RATE_OF_CONTACTS


class AdmissionRefused(JingleError):
    """There is no slot now; the peer may try again."""

    likely = "Many sessions begin at the same time, or a peer has lost their state over and over."
    attack = "Somebody floods us with offers."
    remedy = "Try again in a minute."

    def __init__(self, message: str) -> None:
        super().__init__(message, "resource-constraint", type="wait")


S = TypeVar("S", bound=Hashable)


class Standing(enum.Enum):
    """What we know of who opens a session. Each has half-open places of its own."""

    CONTACT = "contact"
    """A contact, or of an account or domain that ``accept_from`` names."""
    KNOWN = "known"
    """It has used encryption with us before, as any stranger can."""
    STRANGER = "stranger"


@dataclass(frozen=True)
class _Slot:
    account: str
    domain: str
    standing: Standing


class SessionLimits(Generic[S]):
    """Counts the sessions ``S`` that peers open. Each question costs a few look-ups, however many sessions there are."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self._slots: dict[S, _Slot] = {}
        self._accounts: Counter[str] = Counter()
        self._domains: Counter[str] = Counter()
        self._strangers = 0
        self._half_accounts: Counter[str] = Counter()
        self._half_domains: dict[Standing, dict[str, dict[S, None]]] = {standing: {} for standing in Standing}
        """Half-open sessions by standing and by domain; the oldest first."""
        self._peers, self._contacts = TokenBuckets(limits.request_rate_per_peer), TokenBuckets(limits.request_rate_of_contacts)
        self._domain_rates, self._all = TokenBuckets(limits.request_rate_per_domain), TokenBuckets(limits.request_rate)
        self._first = TokenBuckets(FIRST_OF_DOMAIN)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def half_open(self) -> int:
        """Number of half-open sessions."""
        return self._half_accounts.total()

    def within_rate(self, peer: str, now: float, *, contact: bool) -> bool:
        """Count an iq from ``peer`` (a full JID) that belongs to no session; return False if there are too many.

        Asked before anything that costs more.
        """
        account, domain = account_and_domain(peer)
        if contact:
            return take_all(now, (self._peers, account), (self._contacts, domain))
        rest = (self._first, domain) if self._first.level(domain, now) >= 1 else (self._all, "")
        return take_all(now, (self._peers, account), (self._domain_rates, domain), rest)

    def make_room(self, peer: str, standing: Standing) -> S | None:
        """Check that there is a slot for one more session of this peer, or raise AdmissionRefused.

        When all half-open slots of a standing are taken, the domain that has most of them gives up its oldest session, if it
        still has as many as the newcomer's domain afterwards. That session is returned.
        """
        account, domain = account_and_domain(peer)
        limits = self.limits
        if self._accounts[account] >= limits.sessions_per_peer or self._half_accounts[account] >= limits.half_open_per_peer:
            raise AdmissionRefused("too many sessions of this account")
        domains = self._half_domains[standing]
        here = len(domains.get(domain, ()))
        of_contact = standing is Standing.CONTACT  # who are often of one domain, and can be named
        half_open = limits.half_open_of_contacts if of_contact else limits.half_open
        per_domain = half_open if of_contact else limits.half_open_per_domain
        if self._domains[domain] >= limits.sessions_per_domain or here >= per_domain:
            raise AdmissionRefused("too many sessions of this domain")
        if len(self._slots) >= limits.sessions or (standing is Standing.STRANGER and self._strangers >= limits.sessions // 2):
            raise AdmissionRefused("too many sessions")
        if sum(map(len, domains.values())) < half_open:
            return None
        greediest = max(domains.values(), key=len)
        if len(greediest) < here + 2:
            raise AdmissionRefused("too many sessions are half-open")
        return next(iter(greediest))

    def enter(self, session: S, peer: str, standing: Standing) -> None:
        """Count a half-open session of this peer."""
        account, domain = account_and_domain(peer)
        self._slots[session] = _Slot(account, domain, standing)
        self._accounts[account] += 1
        self._domains[domain] += 1
        self._strangers += standing is Standing.STRANGER
        self._half_accounts[account] += 1
        self._half_domains[standing].setdefault(domain, {})[session] = None

    def settle(self, session: S) -> None:
        """Count a session as no longer half-open. Ignores repeated calls and sessions that we offered."""
        slot = self._slots.get(session)
        half = self._half_domains[slot.standing].get(slot.domain, {}) if slot else {}
        if slot is None or session not in half:
            return
        del half[session]
        if not half:
            del self._half_domains[slot.standing][slot.domain]
        _subtract(self._half_accounts, slot.account)

    def leave(self, session: S) -> None:
        """Count a session no longer: nothing of it is left."""
        self.settle(session)
        slot = self._slots.pop(session, None)
        if slot is not None:
            _subtract(self._accounts, slot.account)
            _subtract(self._domains, slot.domain)
            self._strangers -= slot.standing is Standing.STRANGER


def _subtract(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]

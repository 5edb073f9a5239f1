"""How many sessions peers may open with us, and how fast: per account, per domain, and in all. docs/bounds.md argues why so.

Sessions that we offer are not counted here, and what peers do can never keep us from offering one. A JID's domain is what its
server has proved to ours (RFC 6120 §13); resources and accounts of it, a hostile server makes up as it likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slixmpp_e2e.sessions.admission.rate_limit import Buckets, Rate, take_all
from xmpp_e2e.errors import JingleError

HALF_OPEN_PER_PEER = 4
"""Sessions of one bare JID that may be on their way at once: a few devices that start together."""
HALF_OPEN_PER_DOMAIN = 32
"""The same for one domain: half of all, so that no single server fills them."""
HALF_OPEN = 64
"""The same in all, for strangers, and once more for acquaintances: each costs about 115 KB, so some 7 MB twice."""
SESSIONS_PER_PEER = 64
"""Sessions of one bare JID in all, those included that are over and wait for their last blocks to be answered: 7 MB."""
SESSIONS_PER_DOMAIN = 2_500
"""The same for one domain: a quarter of all. Who serves one large domain raises it."""
SESSIONS = 10_000
"""Sessions in all that peers may open, some 700 MB; strangers get half of them. Of ours there may be as many."""

UNASKED_PER_PEER = Rate(2, 192)
"""Offers, and other iqs about sessions that we do not know, of one bare JID. Two friends may open and close a session a hundred
times in a row; less than the burst of a domain."""
UNASKED_PER_DOMAIN = Rate(32, 256)
"""The same for the strangers of one domain; each costs some 4 ms (three look-ups in the store, a key, a TLS context)."""
UNASKED = Rate(64, 512)
"""The same for all strangers: a quarter of a core."""
UNASKED_BY_CONTACTS = Rate(128, 1024)
"""The same for the contacts of one domain: as many as can be served, and no more."""
FIRST_OF_DOMAIN = Rate(0.2, 4)
"""So many of one domain are not counted with all: a few domains that flood would else keep strangers of quiet ones out."""


@dataclass(frozen=True)
class Limits:
    """The numbers that a deployment may want to change; each has its reason above."""

    sessions: int = SESSIONS
    sessions_per_domain: int = SESSIONS_PER_DOMAIN
    sessions_per_peer: int = SESSIONS_PER_PEER
    half_open: int = HALF_OPEN
    half_open_per_domain: int = HALF_OPEN_PER_DOMAIN
    half_open_per_peer: int = HALF_OPEN_PER_PEER
    unasked: Rate = UNASKED
    unasked_per_domain: Rate = UNASKED_PER_DOMAIN
    unasked_per_peer: Rate = UNASKED_PER_PEER
    unasked_by_contacts: Rate = UNASKED_BY_CONTACTS


class Refused(JingleError):
    """There is no place now; the peer may try again."""

    likely = "Many sessions begin at the same time, or a peer has lost his state over and over."
    attack = "Somebody floods us with offers."
    remedy = "Try again in a minute."

    def __init__(self, message: str) -> None:
        super().__init__(message, "resource-constraint", type="wait")


S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class _Place:
    account: str
    domain: str
    acquainted: bool


class Capacity(Generic[S]):
    """Counts the sessions ``S`` that peers open. Every question costs a few look-ups, however many sessions there are."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._places: dict[S, _Place] = {}
        self._accounts: Counter[str] = Counter()
        self._domains: Counter[str] = Counter()
        self._strangers = 0
        self._half_accounts: Counter[str] = Counter()
        self._half_domains: dict[bool, dict[str, dict[S, None]]] = {True: {}, False: {}}
        """By acquaintance and domain, the oldest first."""
        self._of_peer, self._of_contacts = Buckets(limits.unasked_per_peer), Buckets(limits.unasked_by_contacts)
        self._of_domain, self._of_all = Buckets(limits.unasked_per_domain), Buckets(limits.unasked)
        self._first = Buckets(FIRST_OF_DOMAIN)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def half_open(self) -> int:
        """Sessions that are on their way."""
        return self._half_accounts.total()

    def listens(self, peer: str, now: float, *, contact: bool) -> bool:
        """An iq came from ``peer`` (a full JID) that belongs to no session: is there time to look into it? Asked before what
        costs more than this."""
        account, domain = _account(peer)
        if contact:
            return take_all(now, (self._of_peer, account), (self._of_contacts, domain))
        rest = (self._first, domain) if self._first.level(domain, now) >= 1 else (self._of_all, "")
        return take_all(now, (self._of_peer, account), (self._of_domain, domain), rest)

    def make_room(self, peer: str, *, acquainted: bool) -> S | None:
        """Is there a place for one more session of this peer? Refused if not.

        When all places on the way are taken, the domain that has most of them gives up its oldest, which is returned, if it
        still has as many as the newcomer's afterwards.
        """
        account, domain = _account(peer)
        limits = self.limits
        if self._accounts[account] >= limits.sessions_per_peer or self._half_accounts[account] >= limits.half_open_per_peer:
            raise Refused("too many sessions of this account")
        domains = self._half_domains[acquainted]
        here = len(domains.get(domain, ()))
        if self._domains[domain] >= limits.sessions_per_domain or here >= limits.half_open_per_domain:
            raise Refused("too many sessions of this domain")
        if len(self._places) >= limits.sessions or (not acquainted and self._strangers >= limits.sessions // 2):
            raise Refused("too many sessions")
        if sum(map(len, domains.values())) < limits.half_open:
            return None
        greediest = max(domains.values(), key=len)
        if len(greediest) < here + 2:
            raise Refused("too many sessions are on their way")
        return next(iter(greediest))

    def enter(self, session: S, peer: str, *, acquainted: bool) -> None:
        """A session of this peer is on its way."""
        account, domain = _account(peer)
        self._places[session] = _Place(account, domain, acquainted)
        self._accounts[account] += 1
        self._domains[domain] += 1
        self._strangers += not acquainted
        self._half_accounts[account] += 1
        self._half_domains[acquainted].setdefault(domain, {})[session] = None

    def arrive(self, session: S) -> None:
        """It is open, or will never be: not on its way any more. Again, or of a session of ours, it means nothing."""
        place = self._places.get(session)
        half = self._half_domains[place.acquainted].get(place.domain, {}) if place else {}
        if place is None or session not in half:
            return
        del half[session]
        if not half:
            del self._half_domains[place.acquainted][place.domain]
        _less(self._half_accounts, place.account)

    def leave(self, session: S) -> None:
        """It is over, and nothing of it is left."""
        self.arrive(session)
        place = self._places.pop(session, None)
        if place is not None:
            _less(self._accounts, place.account)
            _less(self._domains, place.domain)
            self._strangers -= not place.acquainted


def _account(peer: str) -> tuple[str, str]:
    """The bare JID of a full one, and its domain."""
    account = peer.partition("/")[0]
    return account, account.rpartition("@")[2]


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]

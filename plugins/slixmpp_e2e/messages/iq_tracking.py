"""Iqs that travel inside a session: a request that went inside is answered inside, and so is one that came inside.

slixmpp takes a reply to an iq from the peer's full JID, bare JID and *domain*. Without this module, a plaintext result that a
server makes up would answer a question that was asked in confidence.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from slixmpp import JID, Iq

from slixmpp_e2e.messages.owed import EndedSession, OwedReplies
from slixmpp_e2e.sessions.driver import SessionDriver

_REQUESTS = frozenset({"get", "set"})
PENDING_REQUESTS = 4096
"""Requests of ours that may wait for their answers: as many as may wait for one session, and a timeout is 120 s."""
OWED_REPLIES = 1024
"""Requests of one session that may wait for our answer: a handler that never answers must not cost memory for ever."""
OWED_PLAINTEXT_REPLIES = 4096
"""Requests that came in plaintext and may wait for our answer, in all. Beyond that the account with most loses its oldest."""
OWED_PLAINTEXT_PER_ACCOUNT = 1024
"""The same of one account, so that who asks and asks takes no answer from others. Some ask each user of a component at once."""
OWED_AFTER_END = 512
"""Requests of sessions that have ended over their path and may wait for our answer in the next one, in all, as above."""
OWED_AFTER_END_PER_ACCOUNT = 128
"""The same of one account."""
ANSWER_SECONDS = 120.0
"""For so long after the end: no asker waits longer than a timeout."""
ID_BYTES = 1024
"""Longest id that is remembered; programs use some forty bytes. Whoever sends a longer one gets no answer."""


@dataclass
class PendingRequest:
    """A request of ours. The stanza itself is the caller's, who may change it and send it again."""

    id: str
    own_jid: str
    """Our own JID, where we have many."""
    to: str
    session: SessionDriver | EndedSession | None = None
    """The session that it went through; None while it waits for one."""


class _Owed(NamedTuple):
    """What is known of an answer that we owe after its session has ended."""

    session: EndedSession
    until: float


class IqTracker:
    """Requests inside sessions, of either side, that are not answered yet: by our own JID, the peer's, and the id.

    A component has many JIDs, which are strangers to each other, and a peer may use one id towards several of them.
    """

    def __init__(self, own_jid: Callable[[str], str], clock: Callable[[], float] = lambda: 0.0) -> None:
        """``own_jid``: the JID of ours that a stanza is from or to, from what it says, which counts for a component only."""
        self._own_jid = own_jid
        self._pending: OrderedDict[tuple[str, str, str], PendingRequest] = OrderedDict()
        self._ids: Counter[tuple[str, str]] = Counter()
        """By our own JID and the id: how many of these wait."""
        self._owed: dict[str, dict[SessionDriver, dict[str, None]]] = {}
        """By the peer's full JID."""
        self._owed_plaintext = OwedReplies[bool](per_account=OWED_PLAINTEXT_PER_ACCOUNT, in_all=OWED_PLAINTEXT_REPLIES)
        self._owed_after_end = OwedReplies[_Owed](per_account=OWED_AFTER_END_PER_ACCOUNT, in_all=OWED_AFTER_END)
        self._clock = clock

    # --- our requests ----------------------------------------------------------------------------------------------

    def add(self, iq: Iq) -> PendingRequest | None:
        """Track a request of ours that goes inside as soon as there is a session.

        If there are too many, return the oldest, which is forgotten here: nobody must be left to wait for its answer.
        """
        if is_request(iq):
            request = PendingRequest(iq.xml.get("id", ""), iq.xml.get("from", ""), iq.xml.get("to", ""))
            self._drop(key := self._key(iq))
            self._pending[key] = request
            self._ids[key[0], request.id] += 1
        return self._drop(next(iter(self._pending))) if len(self._pending) > PENDING_REQUESTS else None

    def _key(self, iq: Iq) -> tuple[str, str, str]:
        return self._own_jid(iq.xml.get("from", "")), iq["to"].full, iq.xml.get("id", "")

    def _drop(self, key: tuple[str, str, str]) -> PendingRequest | None:
        if (request := self._pending.pop(key, None)) is not None:
            self._ids[key[0], key[2]] -= 1
            if not self._ids[key[0], key[2]]:
                del self._ids[key[0], key[2]]
        return request

    def bind(self, iq: Iq, session: SessionDriver) -> None:
        """Note that a request goes through this session: its answer may come under no other key."""
        if is_request(iq) and (request := self._pending.get(self._key(iq))) is not None:
            request.session = session

    def is_spoofed_reply(self, iq: Iq) -> bool:
        """Return whether a reply that came in plaintext, from whomever, claims to answer what was asked inside."""
        return not is_request(iq) and (self._own_jid(iq.xml.get("to", "")), iq.xml.get("id", "")) in self._ids

    def forget(self, iq: Iq) -> PendingRequest | None:
        """Forget a request that did not go inside after all; None if nobody waits for its answer."""
        return self._drop(self._key(iq)) if is_request(iq) else None

    def on_session_closed(self, session: SessionDriver, *, goes_on: bool = False) -> list[PendingRequest]:
        """Forget a session; return the requests that went through it and will not be answered any more.

        What its peer has asked cannot be answered any more either. If it ``goes_on``, in another one under the same
        key, answers may come and go there.
        """
        sessions = self._owed.get(session.peer, {})
        owed = sessions.pop(session, {})
        session.owed_memory = 0
        if not sessions:
            self._owed.pop(session.peer, None)
        through = [(key, request) for key, request in self._pending.items() if _went_through(request, session)]
        if goes_on:
            now, ended = self._clock(), EndedSession(session.target, session.key)
            self._owed_after_end.expire(lambda each: each.until <= now)
            for iq_id in owed:
                self._owed_after_end.add((session.own_jid, session.peer, iq_id), _Owed(ended, now + ANSWER_SECONDS))
            for _, request in through:
                request.session = ended
            return []
        for key, _ in through:
            self._drop(key)
        return [request for _, request in through]

    # --- the peers' requests ---------------------------------------------------------------------------------------

    def on_encrypted(self, iq: Iq, session: SessionDriver) -> bool:
        """Take an iq that came through a session: a request is to be answered there, a reply settles what was asked there.

        False if it is a reply to what was asked in a session under another key.
        """
        iq_id = iq.xml.get("id", "")
        if is_request(iq):
            if len(iq_id) > ID_BYTES:
                return True
            owed = self._owed.setdefault(session.peer, {}).setdefault(session, {})
            if iq_id not in owed:
                owed[iq_id] = None
                session.owed_memory += _memory(iq_id)
            if len(owed) > OWED_REPLIES:
                _settle(session, owed, next(iter(owed)))
        elif (request := self._pending.get(key := (session.own_jid, session.peer, iq_id))) is not None:
            if request.session is None or request.session.key != session.key:
                return False
            self._drop(key)
        return True

    def on_plaintext_request(self, iq: Iq) -> None:
        """Note a request that came in plaintext and is delivered."""
        if is_request(iq):
            self._owe_plaintext(iq.xml.get("to", ""), iq["from"], iq)

    def return_plaintext_reply(self, iq: Iq) -> None:
        """An answer in plaintext comes by once more before it leaves: it may leave then, too."""
        if not is_request(iq):
            self._owe_plaintext(iq.xml.get("from", ""), iq["to"], iq)

    def _owe_plaintext(self, ours: str, peer: JID, iq: Iq) -> None:
        iq_id = iq.xml.get("id", "")
        if len(iq_id) > ID_BYTES:
            return
        self._owed_plaintext.add((self._own_jid(ours), peer.full, iq_id), True)

    def session_for_reply(self, iq: Iq) -> SessionDriver | EndedSession | None:
        """Return the session in which the request came that this answers; None if it came in none that is there, or goes on."""
        iq_id, to, own_jid = iq.xml.get("id", ""), iq["to"].full, self._own_jid(iq.xml.get("from", ""))
        for session, owed in self._owed.get(to, {}).items():
            if iq_id in owed and session.own_jid == own_jid:
                _settle(session, owed, iq_id)
                return session
        ended = self._owed_after_end.pop((own_jid, to, iq_id))
        return ended.session if ended is not None and ended.until > self._clock() else None

    def may_reply_plaintext(self, iq: Iq) -> bool:
        """Return whether the request that this answers is known to have come in plaintext.

        Any other may have come inside a session that has ended. (Whoever has no resource is no client, and has no sessions.)
        """
        to: JID = iq["to"]
        key = (self._own_jid(iq.xml.get("from", "")), to.full, iq.xml.get("id", ""))
        return bool(self._owed_plaintext.pop(key)) or not to.resource


def _memory(iq_id: str) -> int:
    """Bytes of memory that an id takes, at most: its characters, and its place in a dict."""
    return 200 + 4 * len(iq_id)


def _settle(session: SessionDriver, owed: dict[str, None], iq_id: str) -> None:
    """Owe this answer no longer."""
    del owed[iq_id]
    session.owed_memory -= _memory(iq_id)


def _went_through(request: PendingRequest, session: SessionDriver) -> bool:
    """Return whether a request went through this session, or through one that went on in it."""
    at = request.session
    return at is session or (isinstance(at, EndedSession) and at == EndedSession(session.target, session.key))


def is_request(iq: Iq) -> bool:
    """Return whether it is of type get or set."""
    return iq.xml.get("type") in _REQUESTS

"""Iqs that travel inside a session: a request that went inside is answered inside, and so is one that came inside.

slixmpp takes a reply to an iq from the peer's full JID, bare JID and *domain*. Without this module, a plaintext result that a
server makes up would answer a question that was asked in confidence.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from slixmpp import JID, Iq

from slixmpp_e2e.sessions.driver import SessionDriver

_REQUESTS = frozenset({"get", "set"})
PENDING_REQUESTS = 4096
"""Requests of ours that may wait for their answers: as many as may wait for one session, and a timeout is 120 s."""
OWED_REPLIES = 1024
"""Requests of one session that may wait for our answer: a handler that never answers must not cost memory for ever."""
OWED_PLAINTEXT_REPLIES = 4096
"""Requests that came in plaintext and may wait for our answer, in all."""
ID_BYTES = 1024
"""Longest id that is remembered; programs use some forty bytes. Whoever sends a longer one gets no answer."""


@dataclass
class PendingRequest:
    """A request of ours. The stanza itself is the caller's, who may change it and send it again."""

    id: str
    own_jid: str
    """Our own JID, where we have many."""
    to: str
    session: SessionDriver | None = None
    """The session that it went through; None while it waits for one."""


class IqTracker:
    """Requests inside sessions, of either side, that are not answered yet."""

    def __init__(self) -> None:
        self._pending: OrderedDict[str, PendingRequest] = OrderedDict()
        self._owed: dict[str, dict[SessionDriver, dict[str, None]]] = {}
        """By the peer's full JID."""
        self._owed_plaintext: OrderedDict[tuple[str, str], None] = OrderedDict()

    # --- our requests ----------------------------------------------------------------------------------------------

    def add(self, iq: Iq) -> PendingRequest | None:
        """Track a request of ours that goes inside as soon as there is a session.

        If there are too many, return the oldest, which is forgotten here: nobody must be left to wait for its answer.
        """
        if is_request(iq):
            request = PendingRequest(iq.xml.get("id", ""), iq.xml.get("from", ""), iq.xml.get("to", ""))
            self._pending[request.id] = request
        return self._pending.popitem(last=False)[1] if len(self._pending) > PENDING_REQUESTS else None

    def bind(self, iq: Iq, session: SessionDriver) -> None:
        """Note that a request goes through this session: its answer may come through no other."""
        if is_request(iq) and (request := self._pending.get(iq.xml.get("id", ""))) is not None:
            request.session = session

    def is_spoofed_reply(self, iq: Iq) -> bool:
        """Return whether a reply that came in plaintext claims to answer what was asked inside."""
        return not is_request(iq) and iq.xml.get("id", "") in self._pending

    def forget(self, iq: Iq) -> PendingRequest | None:
        """Forget a request that did not go inside after all; None if nobody waits for its answer."""
        return self._pending.pop(iq.xml.get("id", ""), None) if is_request(iq) else None

    def on_session_closed(self, session: SessionDriver) -> list[PendingRequest]:
        """Forget a session; return the requests that went through it and will not be answered any more.

        What its peer has asked cannot be answered any more either.
        """
        sessions = self._owed.get(session.peer, {})
        sessions.pop(session, None)
        if not sessions:
            self._owed.pop(session.peer, None)
        unanswered = [request for request in self._pending.values() if request.session is session]
        for request in unanswered:
            del self._pending[request.id]
        return unanswered

    # --- the peers' requests ---------------------------------------------------------------------------------------

    def on_encrypted(self, iq: Iq, session: SessionDriver) -> bool:
        """Take an iq that came through a session: a request is to be answered there, a reply settles what was asked there.

        False if it is a reply to what was asked in another session.
        """
        iq_id = iq.xml.get("id", "")
        if is_request(iq):
            if len(iq_id) > ID_BYTES:
                return True
            owed = self._owed.setdefault(session.peer, {}).setdefault(session, {})
            owed[iq_id] = None
            if len(owed) > OWED_REPLIES:
                del owed[next(iter(owed))]
        elif (request := self._pending.get(iq_id)) is not None:
            if request.session is not session:
                return False
            del self._pending[iq_id]
        return True

    def on_plaintext_request(self, iq: Iq) -> None:
        """Note a request that came in plaintext and is delivered."""
        if is_request(iq):
            self._owe_plaintext(iq["from"], iq)

    def return_plaintext_reply(self, iq: Iq) -> None:
        """An answer in plaintext comes by once more before it leaves: it may leave then, too."""
        if not is_request(iq):
            self._owe_plaintext(iq["to"], iq)

    def _owe_plaintext(self, peer: JID, iq: Iq) -> None:
        iq_id = iq.xml.get("id", "")
        if len(iq_id) <= ID_BYTES:
            self._owed_plaintext[peer.full, iq_id] = None
            if len(self._owed_plaintext) > OWED_PLAINTEXT_REPLIES:
                self._owed_plaintext.popitem(last=False)

    def session_for_reply(self, iq: Iq) -> SessionDriver | None:
        """Return the session through which this answer of ours must go; None if its request came in no session."""
        iq_id, to = iq.xml.get("id", ""), iq["to"].full
        for session, owed in self._owed.get(to, {}).items():
            if iq_id in owed:
                del owed[iq_id]
                return session
        return None

    def may_reply_plaintext(self, iq: Iq) -> bool:
        """Return whether the request that this answers is known to have come in plaintext.

        Any other may have come inside a session that has ended. (Whoever has no resource is no client, and has no sessions.)
        """
        to: JID = iq["to"]
        key = (to.full, iq.xml.get("id", ""))
        if key in self._owed_plaintext:
            del self._owed_plaintext[key]
            return True
        return not to.resource


def is_request(iq: Iq) -> bool:
    """Return whether it is of type get or set."""
    return iq.xml.get("type") in _REQUESTS

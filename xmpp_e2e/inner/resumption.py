"""What sessions leave behind for the next one with the same two keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from xmpp_e2e.errors import SessionCancelled
from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Fingerprint

STATES_PER_LINK = 8
"""Sessions with the same two keys whose numbers are kept. A peer asks about the last one in which it has sent, since it sends
in none before the others are settled; the rest is for sessions at once with several full JIDs."""
LINKS = 4096
"""Pairs of keys for which numbers are kept, some 1 kB each; the one that began a session longest ago goes first."""
KEPT_SECONDS = 24 * 3600.0
"""How long after its end a session can be resumed: a night, and the longest life of a session."""


@dataclass(frozen=True)
class Link:
    """Two accounts, each with one key."""

    own_account: str
    peer_account: str
    own_key: Fingerprint
    peer_key: Fingerprint


class Handled(NamedTuple):
    """How many stanzas of the peer the host has taken in one session: what it notes for its next run."""

    link: Link
    sid: str
    stanzas: int


def _recall_nothing(link: Link, sid: str) -> int | None:
    return None


class Resumptions:
    """The numbers of each session that is there, and of those that ended not long ago. A host has one for all its sessions."""

    def __init__(self, recall: Callable[[Link, str], int | None] = _recall_nothing) -> None:
        """``recall`` returns what was noted of a session (``take_changes``) by an earlier run or another program, or None. It
        may raise an E2EError: the session that needs it fails, rather than saying something wrong."""
        self.recall = recall
        self._states: dict[Link, dict[str, AckState]] = {}
        self._changed: dict[AckState, Link] = {}

    @property
    def memory(self) -> int:
        """Bytes of stanzas that ended sessions have left, and that are not given up."""
        return sum(state.memory for states in self._states.values() for state in states.values() if not state.live)

    def begin(self, link: Link, state: AckState, now: float) -> dict[str, AckState]:
        """Take in the state of a new session. Return all with the same two keys, by sid, the oldest first.

        SessionCancelled if this sid is among them. Nothing has authenticated it yet: with an old sid, a server could make us
        forget what was left there. Or the peer has resumed a session that is only now under way.
        """
        if state.sid in self._states.get(link, ()) or self.recall(link, state.sid) is not None:
            raise SessionCancelled("there was a session with this id and the same keys before")
        states = self._states[link] = self._states.pop(link, {})
        _make_room(states, now)
        states[state.sid] = state
        if len(self._states) > LINKS:
            self._forget_oldest()
        return states

    def note_taken(self, link: Link, state: AckState, count: int = 1) -> None:
        """The host has taken stanzas of the peer; -1 if it drops the last one."""
        state.taken += count
        if self.recall is not _recall_nothing:  # else nobody asks for changes
            self._changed[state] = link

    def take_changes(self) -> list[Handled]:
        """Return how many stanzas the host has taken, of each session in which that has changed since the last call."""
        changed, self._changed = self._changed, {}
        return [Handled(link, state.sid, state.taken) for state, link in changed.items() if state.taken]

    def end(self, link: Link, state: AckState, now: float) -> None:
        """The session of ``state`` is over. One in which nothing came, and that left nothing, is not kept."""
        state.live, state.ended = False, now
        states = self._states[link]
        if state.handled == 0 and state.is_settled:
            del states[state.sid]
        if not states:
            del self._states[link]

    def _forget_oldest(self) -> None:
        for link, states in self._states.items():
            if not any(state.live for state in states.values()) and all(state.is_settled for state in states.values()):
                del self._states[link]
                return


def _make_room(states: dict[str, AckState], now: float) -> None:
    """Forget what is old, and what is too many: those in which nothing came first, since that loses nothing."""
    done = [each for each in states.values() if not each.live and each.is_settled]
    done.sort(key=lambda each: each.handled > 0)
    for old in done:
        if now - old.ended > KEPT_SECONDS or len(states) >= STATES_PER_LINK:
            del states[old.sid]

"""What sessions leave behind for the next one with the same two keys."""

from __future__ import annotations

from dataclasses import dataclass

from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Fingerprint

STATES_PER_LINK = 8
"""Sessions with the same two keys whose numbers are kept: a path that breaks again and again leaves a few of them unsettled."""
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


class Resumptions:
    """The numbers of each session that is there, and of those that ended not long ago. A host has one for all its sessions."""

    def __init__(self) -> None:
        self._states: dict[Link, dict[str, AckState]] = {}

    def begin(self, link: Link, state: AckState, now: float) -> dict[str, AckState]:
        """Take in the state of a new session. Return all with the same two keys, by sid, the oldest first."""
        states = self._states[link] = self._states.pop(link, {})
        for old in [each for each in states.values() if not each.live and each.is_settled]:
            if now - old.ended > KEPT_SECONDS or len(states) >= STATES_PER_LINK:
                del states[old.sid]
        states[state.sid] = state
        if len(self._states) > LINKS:
            self._forget_oldest()
        return states

    def _forget_oldest(self) -> None:
        for link, states in self._states.items():
            if not any(state.live for state in states.values()) and all(state.is_settled for state in states.values()):
                del self._states[link]
                return

"""Shared by all parts of a conversation."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from xmpp_e2e.config import Config
from xmpp_e2e.events import Event
from xmpp_e2e.state_machine import StateMachine
from xmpp_e2e.stream.send_buffer import SendBuffer
from xmpp_e2e.types import Role


@dataclass
class Context:
    """The session that a conversation belongs to, as far as its parts may see it."""

    role: Role
    config: Config
    """As it is now: the user may change what they demand of the key."""
    machine: StateMachine
    events: deque[Event]
    """For the host, in order."""
    out: SendBuffer = field(default_factory=SendBuffer)
    """Our direction of the stream, until TLS takes it."""

"""The setup of a server, as a scene wants it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setup:
    """The options of a setup. Scenes with the same setup share a server, one after another."""

    friends: bool = True
    """Everybody is in everybody's roster, subscribed both ways."""
    limits: bool = False
    """Debian's rate limits: 10 kB/s from a client on Prosody, 3 kB/s on ejabberd."""
    archive: bool = False
    """The server archives messages (XEP-0313)."""
    privileges: bool = False
    """The component may act for the users of its server (XEP-0356)."""


DEFAULT_SETUP = Setup()

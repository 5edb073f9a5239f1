"""How a scene wants its server to be set up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setup:
    """What may differ. Scenes that want the same are played on the same server, one after another."""

    friends: bool = True
    """Is everybody in everybody's roster, subscribed both ways?"""
    limits: bool = False
    """Debian's rates: 10 kB/s from a client on Prosody, 3 kB/s on ejabberd."""
    archive: bool = False
    """Does the server keep what passes (XEP-0313)?"""


ORDINARY = Setup()

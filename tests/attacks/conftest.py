"""A world of real clients for the attacks that need hosts: `tests.slixmpp_e2e.world`."""

from __future__ import annotations

from tests.slixmpp_e2e.conftest import world

__all__ = ["world"]

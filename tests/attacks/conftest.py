"""A world of real clients for the attacks that need hosts: `tests.slixmpp_e2e.world`; and how long a search may take."""

from __future__ import annotations

from hypothesis import settings

from tests.slixmpp_e2e.conftest import apart, world

__all__ = ["apart", "world"]

settings.register_profile("soak", max_examples=5000)

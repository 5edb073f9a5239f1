"""Real clients for the attacks that need hosts (`tests.slixmpp_e2e.env`), and a longer search for `make hostile`."""

from __future__ import annotations

from hypothesis import settings

from tests.attacks.secret_search import search
from tests.slixmpp_e2e.conftest import env, two_domains

__all__ = ["env", "search", "two_domains"]

settings.register_profile("hostile", max_examples=5000)

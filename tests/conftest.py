"""How many examples property tests try where time is short: ``make quick``."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", max_examples=20)

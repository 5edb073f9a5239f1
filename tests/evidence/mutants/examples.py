"""A plugin of pytest for mutmut: property tests try few examples, and the same ones each time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("mutants", derandomize=True, database=None, deadline=None, max_examples=15)
settings.load_profile("mutants")

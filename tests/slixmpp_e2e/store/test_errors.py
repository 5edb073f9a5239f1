"""Each reason for which a store fails has its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.store import StoreError, StoreReason


@pytest.mark.parametrize("reason", StoreReason)
def test_each_reason_has_a_remedy(reason: StoreReason) -> None:
    error = StoreError(Path("store.db"), "it failed", reason)
    assert error.reason is reason
    assert explain(error).startswith("store.db: it failed")
    assert error.remedy
    assert explain(error).endswith(error.remedy)

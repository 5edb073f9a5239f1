"""Expect a StoreError with one reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from slixmpp_e2e.store import StoreError, StoreReason


@contextmanager
def store_error(reason: StoreReason, match: str | None = None) -> Iterator[pytest.ExceptionInfo[StoreError]]:
    """Like ``pytest.raises``, for a StoreError with this reason."""
    with pytest.raises(StoreError, match=match) as caught:
        yield caught
    assert caught.value.reason is reason


def never() -> NoReturn:
    """Make no identity: the store has one already."""
    raise AssertionError("a second identity was made")

"""A theatre for every file of scenes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from interop.theatre import Theatre


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre() -> AsyncIterator[Theatre]:
    """One for all scenes: it keeps a server while the next scene wants the same."""
    async with Theatre() as running:
        yield running

"""A runner for each file with scenes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from interop.runner import Runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[Runner]:
    """One runner for all scenes of a file: it keeps a server for scenes with the same setup."""
    async with Runner() as running:
        yield running

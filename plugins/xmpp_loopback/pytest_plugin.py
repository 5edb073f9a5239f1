"""A fixture with a running loopback server: ``pytest_plugins = ["xmpp_loopback.pytest_plugin"]`` in a conftest.py loads it.

It needs pytest and pytest-asyncio, which this package does not install.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from .server import LoopbackServer


@pytest.fixture
def loopback_accounts() -> Mapping[str, str] | None:
    """The accounts of ``loopback_server``, names to passwords. Override it; None accepts any user with any password."""
    return None


@pytest_asyncio.fixture
async def loopback_server(loopback_accounts: Mapping[str, str] | None) -> AsyncIterator[LoopbackServer]:
    """A server for the domain ``localhost`` on a free port of 127.0.0.1, closed at the end of the test."""
    async with LoopbackServer(accounts=loopback_accounts) as server:
        yield server

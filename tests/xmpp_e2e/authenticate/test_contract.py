"""Each authenticator that there is keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.xmpp_e2e.authenticate.contract import Confirms, Convinces, Talks
from xmpp_e2e.authenticate.base import Authenticator
from xmpp_e2e.config import AUTHENTICATORS


def each(of: Callable[[Authenticator], Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("authenticator", [it for it in AUTHENTICATORS if of(it)], ids=lambda it: it.name)


@each(lambda it: True)
class TestConvinces(Convinces):
    """All."""


@each(lambda it: it.order)
class TestTalks(Talks):
    """Those that take steps."""


@each(lambda it: it.needs_shared_secret)
class TestConfirms(Confirms):
    """Those that take a secret."""


def test_names_and_ranks_are_unique() -> None:
    assert len({it.name for it in AUTHENTICATORS}) == len({it.order for it in AUTHENTICATORS}) == len(AUTHENTICATORS)

"""docs/bounds.md: what one account, one domain and everybody can cost adds up, and is what was measured."""

from __future__ import annotations

import sys

import pytest

from slixmpp_e2e.sessions import memory as budget
from slixmpp_e2e.sessions.stall import STALL_PARTS
from tests.docs.documents import ROOT
from tests.evidence import memory
from xmpp_e2e.transport.ibb import HIGH_WATER

DOCUMENT = " ".join((ROOT / "docs" / "bounds.md").read_text(encoding="utf-8").split())
FEW = 40
"""Things of each kind, where 200 are made for the document."""


def test_the_table_is_what_the_bounds_amount_to() -> None:
    """Each number follows from the constants in the code, and from what one thing was measured to take."""
    assert " ".join(memory.table(memory.kept()).split()) in DOCUMENT


def test_it_adds_up() -> None:
    *rows, (_, total) = memory.rows(memory.kept())
    assert total == tuple(map(sum, zip(*(row.mib for row in rows), strict=True)))
    assert all(row.mib == tuple(sorted(row.mib)) for row in rows)


def test_the_prose_says_the_same() -> None:
    cost = memory.kept()
    for sentence in (
        f"takes {round(cost['session'], -4) // 1000} kB with an honest peer",
        f"and {round(cost['hostile session'], -4) // 1000} kB with one who",
        f"for an account ({budget.ACCOUNT_MEMORY // 2**20} MiB)",
        f"one part in {STALL_PARTS} of what a bytestream had waiting must be answered: of a full one",
    ):
        assert sentence in DOCUMENT
    assert HIGH_WATER + 64 * 1024 == STALL_PARTS * 20 * 1024


def test_one_account_takes_what_its_rows_say() -> None:
    """All its sessions at once, which hold as much as they may, were measured too."""
    cost = memory.kept()
    sessions, _, held, *_ = memory.rows(cost)
    assert cost["hostile account"] < (sessions.mib[0] + held.mib[0]) * 2**20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_it_is_still_so() -> None:
    """Measured again, in small, nothing takes much more than was written down."""
    found = memory.measure(FEW)
    for name, size in memory.kept().items():
        assert found[name] < 1.4 * size, name

"""The entry point, also without the extra `cli`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.xmpp_e2e_cli.conftest import ROOT
from xmpp_e2e_cli import __main__ as entry


@pytest.mark.parametrize("missing", entry.EXTRA)
def test_without_the_extra_it_says_how_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert entry.main(["demo"]) == 1
    told = capsys.readouterr().err
    assert missing in told
    assert "pip install 'xmpp-e2e[cli]'" in told


def test_the_entry_point_imports_none_of_the_extra() -> None:
    """Otherwise it could not report that the extra is missing."""
    code = f"import sys, xmpp_e2e_cli.__main__; print(*set({entry.EXTRA!r}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "plugins", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

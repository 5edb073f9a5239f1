"""The entry point, also where the extra `cli` is missing."""

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
    """No traceback, exit code 1, and the command to run."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert entry.main(["demo"]) == 1
    told = capsys.readouterr().err
    assert missing in told
    assert "pip install 'xmpp-e2e[cli]'" in told


def test_the_entry_point_imports_none_of_the_extra() -> None:
    """Else it could not say so."""
    code = f"import sys, xmpp_e2e_cli.__main__; print(*set({entry.EXTRA!r}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "plugins", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

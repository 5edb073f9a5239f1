"""The script that installs the servers, as far as it can be tested without installing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "interop/servers/install.sh"
POLICY = Path("/usr/sbin/policy-rc.d")
NOBODY = "65534"


def install(*servers: str, path: str, as_nobody: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the script for ``servers``."""
    drop = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if as_nobody else []
    return subprocess.run(
        # Read by us: whoever it runs as need not be able to read the repository.
        [*drop, "bash", "-s", "--", *servers],
        input=SCRIPT.read_text(),
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare_path() -> Iterator[Path]:
    """
    A PATH, for everybody, with what the script calls before it installs, and without Prosody. Its apt-get only leaves
    a trace: whatever the script gets wrong, a test never installs anything.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for program in ("bash", "setpriv", "realpath", "grep", "flock"):
            found = shutil.which(program)
            assert found is not None, f"{program} is needed"
            (folder / program).symlink_to(found)
        apt = folder / "apt-get"
        apt.write_text(f"#!/bin/sh\necho called >{folder}/trace\nexit 1\n")
        apt.chmod(0o755)
        yield folder


def called_apt(folder: Path) -> bool:
    """Return whether the script tried to install something."""
    return (folder / "trace").exists()


def test_it_is_silent_when_everything_is_there(bare_path: Path) -> None:
    """It changes no policy and needs no package list."""
    (bare_path / "prosody").symlink_to("/bin/true")
    before = POLICY.read_bytes() if POLICY.exists() else None
    done = install("prosody", path=str(bare_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (POLICY.read_bytes() if POLICY.exists() else None) == before
    assert not called_apt(bare_path)


@pytest.mark.parametrize("words", [["no-such-server"], ["prosody", "no-such-server"]])
def test_it_knows_only_the_servers_of_the_tests(bare_path: Path, words: list[str]) -> None:
    """Any other name is an error, even beside a known one."""
    done = install(*words, path=str(bare_path))
    assert done.returncode == 2
    assert "'no-such-server' is not what the tests use" in done.stderr
    assert not called_apt(bare_path)


def test_without_root_it_says_what_to_install(bare_path: Path) -> None:
    done = install("prosody", path=str(bare_path), as_nobody=os.geteuid() == 0)
    assert done.returncode == 1
    assert "the tests need prosody" in done.stderr
    assert "apt-get install --no-install-recommends prosody" in done.stderr
    assert not called_apt(bare_path)

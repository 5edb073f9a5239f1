"""What is released: exactly the packages that are meant, which work where the repository is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "xmpp_e2e": ROOT / "xmpp_e2e",
    "slixmpp_e2e": ROOT / "plugins/slixmpp_e2e",
    "xmpp_loopback": ROOT / "plugins/xmpp_loopback",
    "xmpp_e2e_cli": ROOT / "plugins/xmpp_e2e_cli",
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from it: whoever packages this for a distribution starts there."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel's path."""
    (path,) = dist.glob("*.whl")
    return path


def names(wheel: Path) -> set[PurePosixPath]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


def test_the_wheel_holds_exactly_the_packages(wheel: Path) -> None:
    """Nothing beside our packages lands in site-packages: no `tests`, no `plugins`, no `interop`."""
    top = {name.parts[0] for name in names(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_all_of_a_package(wheel: Path, package: str) -> None:
    """Every file of a package is released, the mark that it is typed included."""
    source = PACKAGES[package]
    files = {
        PurePosixPath(package, path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert PurePosixPath(package, "py.typed") in files
    assert files == {name for name in names(wheel) if name.parts[0] == package}


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    """The MIT licence asks to go along with every copy."""
    assert any(name.name == "LICENSE" for name in names(wheel))


def test_the_sdist_holds_what_the_repository_is_made_of(dist: Path) -> None:
    """No caches, no virtual environment, nobody's notes."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        top = {PurePosixPath(name).parts[1] for name in archive.getnames() if len(PurePosixPath(name).parts) > 1}
    allowed = {"xmpp_e2e", "plugins", "tests", "interop", "docs", "pyproject.toml", "PKG-INFO"}
    assert {"xmpp_e2e", "plugins", "tests", "pyproject.toml"} <= top
    assert top <= allowed | {".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md"}


def test_the_installed_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and no extra passes tests/installed, far from the repository."""
    home, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    venv.create(home, with_pip=True, symlinks=True)
    shutil.copytree(ROOT / "tests/installed", elsewhere, ignore=shutil.ignore_patterns("__pycache__"))
    python = str(home / "bin/python")
    foreign = ("PYTHON", "COVERAGE", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*pip, str(wheel), "pytest"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [python, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The packages as somebody has them who installed the wheel without extras.

Run by tests/packaging, in an environment of their own and outside the repository.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()


@pytest.mark.parametrize("name", ["tests", "plugins", "interop"])
def test_nothing_else_was_installed(name: str) -> None:
    """The folders of the repository are not importable."""
    assert importlib.util.find_spec(name) is None


@pytest.mark.parametrize("name", ["xmpp_e2e", "slixmpp_e2e", "xmpp_loopback", "xmpp_e2e_cli"])
def test_a_package_is_the_installed_one_and_typed(name: str) -> None:
    """It comes from site-packages, and a type checker may rely on its types."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).resolve().parent
    assert folder == SITE_PACKAGES / name
    assert (folder / "py.typed").exists()


@pytest.mark.parametrize("name", ["xmpp_e2e", "slixmpp_e2e", "xmpp_loopback"])
def test_every_module_imports_without_extras(name: str) -> None:
    """Whatever a library module imports is among the dependencies."""
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith((".__main__", ".pytest_plugin")):  # the latter is for those who have pytest-asyncio
            importlib.import_module(module.name)


def test_a_store_is_made_and_opened(tmp_path: Path) -> None:
    """The database is there without extras."""
    store = importlib.import_module("slixmpp_e2e.store")
    for _ in range(2):
        with store.SQLStore.open(tmp_path / "store.db") as opened:
            opened.record_e2e_use("bob@example.org", 1.0)
            assert opened.has_used_e2e("bob@example.org")


def test_an_older_store_is_migrated(tmp_path: Path) -> None:
    """The scripts came along, and Alembic finds them where they are installed."""
    store, path = importlib.import_module("slixmpp_e2e.store"), tmp_path / "store.db"
    store.SQLStore.open(path).close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE changes; DROP TABLE handled; DROP TABLE xmpp_e2e_schema")
    connection.execute("INSERT INTO meta VALUES ('xmpp-e2e schema', '1')")
    connection.commit()
    connection.close()
    with store.SQLStore.open(path) as opened:
        assert opened.migration_notice.endswith("store.db.schema-1.")
        opened.record_e2e_use("bob@example.org", 1.0)


def test_the_core_does_without_slixmpp() -> None:
    """Importing the core loads no host, no database and no event loop of its own."""
    code = "import sys, xmpp_e2e; print(*{'slixmpp', 'sqlalchemy', 'slixmpp_e2e'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_command_says_how_to_get_it() -> None:
    """Without the extra `cli` there is no traceback, but the command that installs it."""
    command = Path(sysconfig.get_path("scripts")) / "xmpp-e2e"
    done = subprocess.run([command, "demo"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "xmpp-e2e[cli]" in done.stderr
    assert "Traceback" not in done.stderr

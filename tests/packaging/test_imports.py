"""The contracts of import-linter: each is broken by the violation that it is there for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sysconfig.get_path("scripts")) / "lint-imports"

NO_IO = "The core performs no input or output, and reads no clock and no dice"
LAYERS = "Inside the core imports go one way, and no folder knows another"
HOSTS = "The command imports the plugin and the embedded server, these import the core, and neither imports the other"
OPENSSL = "OpenSSL is for xmpp_e2e.tls alone"
AUTHENTICATORS = "No authenticator knows another"
ROOMS = "The plugin's rooms import downward only"
MESSAGES = "Inside messages/ imports go one way"
SESSIONS = "Inside sessions/ imports go one way"
INNER = "The conversation inside TLS stands on the proofs, these on the gate"

VIOLATIONS = [
    ("xmpp_e2e/types.py", "import socket", NO_IO),
    ("xmpp_e2e/key_decision.py", "def now():\n    from time import time\n    return time()", NO_IO),
    ("xmpp_e2e/session.py", "import slixmpp.jid", NO_IO),
    ("xmpp_e2e/key_decision.py", "import xmpp_e2e.stream", LAYERS),
    ("xmpp_e2e/types.py", "import xmpp_e2e.session", LAYERS),
    ("xmpp_e2e/stray.py", "", LAYERS),
    ("xmpp_e2e/session.py", "import slixmpp_e2e", HOSTS),
    ("plugins/slixmpp_e2e/errors.py", "import xmpp_e2e_cli", HOSTS),
    ("plugins/slixmpp_e2e/errors.py", "import xmpp_loopback", HOSTS),
    ("plugins/xmpp_loopback/client.py", "import slixmpp_e2e", HOSTS),
    ("plugins/slixmpp_e2e/store/files.py", "import slixmpp_e2e.trust.keys", ROOMS),
    ("plugins/slixmpp_e2e/xmpp/ibb.py", "import slixmpp_e2e.sessions.driver", ROOMS),
    ("plugins/slixmpp_e2e/sessions/driver.py", "import slixmpp_e2e.verification.verifier", ROOMS),
    ("plugins/slixmpp_e2e/verification/verifier.py", "import slixmpp_e2e.messages.queue", ROOMS),
    ("plugins/slixmpp_e2e/messages/queue.py", "def client():\n    import slixmpp_e2e.client", ROOMS),
    ("plugins/slixmpp_e2e/stray.py", "", ROOMS),
    ("plugins/slixmpp_e2e/messages/routing.py", "import slixmpp_e2e.messages.outgoing", MESSAGES),
    ("plugins/slixmpp_e2e/sessions/driver.py", "import slixmpp_e2e.sessions.registry", SESSIONS),
    ("xmpp_e2e/inner/gate.py", "import xmpp_e2e.inner.conversation", INNER),
    ("xmpp_e2e/session.py", "import OpenSSL.SSL", OPENSSL),
    ("plugins/slixmpp_e2e/errors.py", "import OpenSSL", OPENSSL),
    ("xmpp_e2e/authenticate/psk.py", "import xmpp_e2e.authenticate.fingerprint", AUTHENTICATORS),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to do damage to."""
    for folder in ("xmpp_e2e", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(folder: Path) -> set[str]:
    """The names of the contracts that the packages in ``folder`` break."""
    path = os.pathsep.join((str(folder), str(folder / "plugins")))
    environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "200"}
    command = [str(LINT), "--no-cache"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = set(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE))
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


def plant(file: Path, code: str) -> None:
    """Append ``code`` to ``file``, which may be new."""
    with file.open("a") as text:
        text.write(f"\n{code}\n")


def test_the_packages_as_they_are_keep_every_contract(copy: Path) -> None:
    """Nothing is broken before something is planted."""
    assert broken(copy) == set()


def test_every_contract_has_a_violation() -> None:
    """A contract that nothing can break would go unnoticed."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    assert {contract for *_, contract in VIOLATIONS} == {contract["name"] for contract in contracts}


@pytest.mark.parametrize(("file", "code", "contract"), VIOLATIONS)
def test_a_planted_violation_breaks_its_contract(copy: Path, file: str, code: str, contract: str) -> None:
    """An import that the architecture forbids does not pass unnoticed, at the top of a module or inside a function."""
    plant(copy / file, code)
    assert contract in broken(copy)


def test_an_import_for_types_only_is_free(copy: Path) -> None:
    """What only a type checker reads performs nothing."""
    plant(copy / "xmpp_e2e/types.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import datetime")
    assert broken(copy) == set()

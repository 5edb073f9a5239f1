"""docs/bounds.md lists every bound of the core and the plugin with its value; every other number is said to be none."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slixmpp_e2e.sessions.admission.rate_limit import Rate
from tests.docs import documents
from xmpp_e2e.stages import DEADLINES
from xmpp_e2e.stream.reader import Limits

NO_BOUNDS = {
    "xmpp_e2e.authenticate.dialogue.TAG_BYTES": "the size of a tag",
    "xmpp_e2e.authenticate.psk.KEY_BYTES": "the size of a secret",
    "xmpp_e2e.authenticate.sas.CODE_BYTES": "the size of a code",
    "xmpp_e2e.authenticate.sas._NONCE_BYTES": "the size of a nonce",
    "xmpp_e2e.authenticate.srp.STRETCHED_BYTES": "the size of a secret",
    "xmpp_e2e.authenticate.srp._SALT_BYTES": "the size of a salt",
    "xmpp_e2e.authenticate.srp._SECRET_BYTES": "the size of a secret",
    "xmpp_e2e.authenticate.srp._MODULUS": "a number of RFC 5054",
    "xmpp_e2e.negotiate.jingle._XEP_0047_BLOCK_SIZE": "a number of XEP-0047",
    "xmpp_e2e.transport.ibb._SEQUENCE": "a number of XEP-0047",
    "xmpp_e2e.tls.channel._RECORD_OVERHEAD": "a number of RFC 8446",
    "xmpp_e2e.tls.channel._EXPORTER_BYTES": "a number of RFC 9266",
    "xmpp_e2e.tls.channel._PIECE": "another name of RECORD_BYTES",
    "slixmpp_e2e.xmpp.adapter._FRONT": "a place in a list",
    "slixmpp_e2e.trust.passwords.MEMORY_KIB": "a cost on purpose",
    "slixmpp_e2e.trust.passwords.PASSES": "a cost on purpose",
    "slixmpp_e2e.trust.passwords.LANES": "a cost on purpose",
    "slixmpp_e2e.store.key_protection.keyring._NAME_BYTES": "how long a name is",
    "slixmpp_e2e.store.key_protection.passphrase.SALT_BYTES": "the size of a secret",
    "slixmpp_e2e.store.key_protection.passphrase.MEMORY_KIB": "a cost on purpose",
    "slixmpp_e2e.store.key_protection.passphrase.PASSES": "a cost on purpose",
    "slixmpp_e2e.store.key_protection.passphrase.LANES": "a cost on purpose",
    "slixmpp_e2e.store.key_protection.key_file.KEY_BYTES": "the size of a secret",
    "slixmpp_e2e.store.key_protection.key_file.NONCE_BYTES": "the size of a secret",
}
"""The other numbers, and what they are."""
PACKAGES = (("xmpp_e2e", documents.ROOT / "xmpp_e2e"), ("slixmpp_e2e", documents.ROOT / "plugins/slixmpp_e2e"))
_ELSEWHERE = ("loopback", "migrations")
"""For tests and demonstration; run once, on our own data."""


def _modules() -> Iterator[tuple[str, Path]]:
    for package, root in PACKAGES:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if not any(part in _ELSEWHERE for part in parts):
                yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def _names(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            yield node.id


def numbers() -> dict[str, Any]:
    """Every constant of a module, defined there, that is a number or made of some."""
    found = {}
    for name, path in _modules():
        targets: list[ast.expr] = []
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign):
                targets += node.targets
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                targets.append(node.target)
        for constant in (constant for target in targets for constant in _names(target)):
            value = vars(importlib.import_module(name)).get(constant)
            if constant.isupper() and type(value) in (int, float, Rate, Limits):
                found[f"{name}.{constant}"] = value
    return found


def shown(value: Any) -> str:
    """A value as the table has it."""
    if isinstance(value, Rate):
        return f"{value.per_second:g}/s, {value.burst:,} at once"
    if isinstance(value, Limits):
        total = "" if value.total_bytes is None else f", {value.total_bytes:,} in all"
        return f"depth {value.depth}, {value.stanza_bytes:,} bytes{total}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def listed() -> dict[str, str]:
    """The tables of the document: constant to value."""
    rows = [row for number in (1, 2) for row in documents.rows("docs/bounds.md", "Every bound", number)]
    names = [documents.code(row[0])[0] for row in rows]
    assert len(set(names)) == len(names)
    assert all(row[2] for row in rows), "each has its reason"
    return {name: row[1] for name, row in zip(names, rows, strict=True)}


@pytest.fixture(scope="module")
def there() -> dict[str, Any]:
    return numbers()


def test_every_bound_is_listed(there: dict[str, Any]) -> None:
    """With the value that the code has; and nothing is listed that is not there."""
    assert listed() == {name: shown(value) for name, value in there.items() if name not in NO_BOUNDS}


def test_what_is_no_bound_is_there(there: dict[str, Any]) -> None:
    """No name is left over from a constant that has gone."""
    assert set(NO_BOUNDS) <= set(there)


def test_the_deadlines() -> None:
    """Each stage has its seconds in the document."""
    rows = documents.rows("docs/bounds.md", "Deadlines")
    assert {documents.code(row[0])[0]: row[1] for row in rows} == {
        stage.value: shown(seconds) for stage, seconds in DEADLINES.items()
    }

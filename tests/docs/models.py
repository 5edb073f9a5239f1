"""Runs the models of docs/models by ProVerif and writes what it found into docs/models/VERDICTS.md. ``make models`` does it.

python -m tests.docs.models /path/to/proverif
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.docs.documents import ROOT

MODELS = ROOT / "docs/models"
VERDICTS = MODELS / "VERDICTS.md"
SHARED = MODELS / "tls.pvl"
_RESULT = re.compile(r"^RESULT (?!\()(.*) (is true|is false|cannot be proved)\.?", re.MULTILINE)
_EXPECTED = re.compile(r"\(\* Expected: ([a-z, ]+)")
_ROW = re.compile(r"^\| `([\w.-]+)` \| ([a-z, ]+) \| `([0-9a-f]{64})` \|$", re.MULTILINE)
_SECONDS = 1800
"""One model takes a minute or two of a processor that has nothing else to do."""
_TOGETHER = 2
"""Models at a time."""
_HEAD = """\
# What ProVerif says of the models

Written by `make models` with {version}. The first line of each model says what is expected of its queries, in order; what is
said of a weak secret comes last. One query of each model is false on purpose: it shows that a run can come to its end. Where
the name says more than the method's (`psk-without-exporter`), it is a control: a defence is left out, and the attack is found.
A control may leave out queries as well, when its verdict would take long. A test fails when a model is not the one that its
verdict was taken from.

| model | verdict | SHA-256 |
|---|---|---|
"""


def models() -> list[Path]:
    """Each model, in order."""
    return sorted(MODELS.glob("*.pv"))


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def expected(path: Path) -> str:
    """What the first line of a model expects: ``true, false``, or what follows an explanation in brackets."""
    line = re.sub(r" \([^)]*\)", "", path.read_text(encoding="utf-8").partition("\n")[0])
    found = _EXPECTED.match(line)
    assert found, f"{path.name} does not begin with what is expected of it"
    return found[1].strip()


def verdict(output: str) -> str:
    """What ProVerif says of each query, in their order, and of a weak secret last."""
    results = [(what.startswith("Weak secret"), word.removeprefix("is ")) for what, word in _RESULT.findall(output)]
    return ", ".join(word for _, word in sorted(results, key=lambda result: result[0]))


def table() -> dict[str, tuple[str, str]]:
    """What VERDICTS.md says: of each file the verdict and the hash of what it was taken from."""
    if not VERDICTS.exists():
        return {}
    return {name: (said, hashed) for name, said, hashed in _ROW.findall(VERDICTS.read_text(encoding="utf-8"))}


def main(proverif: str) -> None:
    """Run those that have no verdict as they are now, and write the table, if each says what is expected of it."""
    version = _said([proverif, "-help"]).partition(". ")[0]
    rows = [f"| `{SHARED.name}` | shared by all | `{digest(SHARED)}` |\n"]
    known = {hashed: said for said, hashed in table().values()}
    if digest(SHARED) not in known:
        known = {}
    with ThreadPoolExecutor(_TOGETHER) as pool:
        verdicts = pool.map(lambda path: known.get(digest(path)) or _run(proverif, path), models())
        wrong = False
        for path, found in zip(models(), verdicts, strict=True):
            as_expected = found == expected(path)
            print(f"{path.name}: {found}" + ("" if as_expected else f"; expected was: {expected(path)}"), flush=True)
            wrong |= not as_expected
            rows.append(f"| `{path.name}` | {found} | `{digest(path)}` |\n")
    if wrong:
        sys.exit("the table stays as it is")
    VERDICTS.write_text(_HEAD.format(version=version) + "".join(rows), encoding="utf-8")


def _run(proverif: str, path: Path) -> str:
    return verdict(_said([proverif, "-lib", str(SHARED), str(path)]))


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    return done.stdout


if __name__ == "__main__":
    main(*sys.argv[1:])

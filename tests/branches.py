"""Every branch of the core is taken by a test, or docs/coverage.md says why none can: ``python -m tests.branches``.

Reads what `pytest --cov` has left. The exit code is 0 if nothing is uncovered that is not judged.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/coverage.md"
_ROW = re.compile(r"^\| `([^`]*)` \| `([^`]*)` \| `([^`]*)` \| ([^|]+) \|$", re.MULTILINE)

Branch = tuple[str, str, str]
"""The file, the line that is not executed or not left in one way, and the line that does not follow it (or `the end`)."""


def uncovered(report: dict[str, Any], root: Path) -> Iterator[Branch]:
    """What is in coverage's JSON report as missing, in words that outlive changes elsewhere in the file."""
    for name, file in report["files"].items():
        lines = (root / name).read_text(encoding="utf-8").splitlines()

        def text(number: int, lines: list[str] = lines) -> str:
            return lines[number - 1].strip().replace("|", "\\|") if number > 0 else "the end"

        for number in file["missing_lines"]:
            yield name, text(number), "nothing"
        for before, after in file["missing_branches"]:
            if before not in file["missing_lines"] and after not in file["missing_lines"]:
                yield name, text(before), text(after)


def judged(document: str) -> set[Branch]:
    """What docs/coverage.md has a reason for."""
    return {(file, before, after) for file, before, after, _ in _ROW.findall(document)}


def main() -> int:
    """Print what is uncovered and not judged; the exit code."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "--include=xmpp_e2e/*", "-o", file.name]
        subprocess.run(command, cwd=ROOT, check=True)
        report = json.loads(Path(file.name).read_text())
    totals = report["totals"]
    covered, every = (totals["covered_lines"] + totals["covered_branches"], totals["num_statements"] + totals["num_branches"])
    print(f"xmpp_e2e: {covered} of {every} lines and branches are covered")
    surprises = sorted(set(uncovered(report, ROOT)) - judged(DOCUMENT.read_text(encoding="utf-8")))
    for name, before, after in surprises:
        print(f"no test covers, and docs/coverage.md does not judge: {name}: {before} -> {after}")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())

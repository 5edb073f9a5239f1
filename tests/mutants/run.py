"""Lets mutmut change the core's guarding modules, and lists in docs/mutants.md what nothing notices.

``python -m tests.mutants.run``. Judgements that are written there stay. The exit code is 0 if a reason is given for each mutant
that survives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.deletions.listed import read
from tests.mutants import listed

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 5 * 2**30
"""Of one run of mutmut: a loop that lost its end may well collect things for ever."""


def note(root: Path) -> list[listed.Key]:
    """Write down what the last run of mutmut has left; returns what nobody has judged."""
    document = root / listed.DOCUMENT
    judged = read(document)
    files = listed.results(root)
    listed.write(document, files, judged)
    return [key for file in files for key in file.survivors if judged.get(key, listed.OPEN) == listed.OPEN]


def main() -> int:
    """Run it; the exit code. mutmut goes on where it was stopped, and tries again only functions that have changed."""
    binaries = Path(sys.executable).parent
    command = ["prlimit", f"--as={MEMORY_BYTES}", str(binaries / "mutmut"), "run", "--max-children=1"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}, check=True)
    left = note(ROOT)
    for path, place, line, change in left:
        print(f"nothing notices, and {listed.DOCUMENT} does not say why: {path} {place}: {line} ({change})")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())

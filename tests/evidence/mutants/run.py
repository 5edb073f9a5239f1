"""Lets mutmut change the core's guarding modules, and writes into tests/evidence/mutants.json what nothing notices.

``make mutants``. Judgements that are written there stay, as long as the function keeps its shape. The exit code is 0 if a
reason is given for each mutant that survives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.evidence.mutants import results

ROOT = Path(__file__).parents[3]
MEMORY_BYTES = 5 * 2**30
"""Of one run of mutmut: a loop that lost its end may well collect things for ever."""


def note(root: Path) -> list[tuple[str, str]]:
    """Write down what the last run of mutmut has left; returns what nobody has judged, and where it is."""
    file = root / results.FILE
    known = results.read(file)
    functions = results.results(root)
    results.write(file, functions, known)
    return [
        (function.place, what) for function in functions for what, why in results.judged(function, known) if why == results.OPEN
    ]


def main() -> int:
    """Run it; the exit code. mutmut goes on where it was stopped, and tries again only functions that have changed."""
    results.modules(ROOT)  # it raises now, and not after hours
    binaries = Path(sys.executable).parent
    command = ["prlimit", f"--as={MEMORY_BYTES}", str(binaries / "mutmut"), "run", "--max-children=1"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}, check=True)
    left = note(ROOT)
    for place, what in left:
        print(f"nothing notices, and {results.FILE} does not say why: {place}: {what}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())

"""Leaves out each check of the code that guards, one at a time, and finds the test that fails: ``make deletions``.

By default the checks of the functions that have another shape than any in the commit BASE (HEAD, if none is named): what was
only renamed, moved or worded anew is not tried again. ``ALL=1`` tries every check, ``NEW=1`` those for which no test is known.

A check whose test is known has this test run; any other, and those whose test does not notice any more, the tests in the
module's own files, and then all that execute it, the quickest first. What fails is written into tests/evidence/deletions.json.
The exit code is 0 if for each check that was tried a test fails, or a comment says why none does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from queue import Queue

from tests.evidence.deletions import data
from tests.evidence.deletions.checks import EXCUSE, Check, Unit, additions, find
from tests.evidence.deletions.record import BATCHES, Record, inside, own_files, record
from tests.evidence.deletions.worker import PRELOAD

ROOT = Path(__file__).parents[3]
STAGES = "stages.py"
PLUGIN = (
    *("filters", "classify", "mark", "inside", "iqs", "adapter", "outbox", "switchboard"),
    *("trust", "own", "callers", "presences", "absent", "namespaces", "watch", "discovery", "proofs"),
)
"""Of the plugin, what stands between slixmpp and its stream; and what that asks."""
MODULES = (
    *("xmpp_e2e/tls/*.py", "xmpp_e2e/authenticate/*.py", "xmpp_e2e/trust/*.py"),
    *(f"xmpp_e2e/{name}.py" for name in ("session", "inner", "runs", "wishes", "progress", "standing", "stages")),
    "xmpp_e2e/negotiate/*.py",
    *(f"plugins/slixmpp_e2e/{name}.py" for name in PLUGIN),
)
"""What guards: TLS, hello, authenticators, trust, the session with its parts and its table, the signalling; and the plugin's as
above."""
TESTS = ("tests/xmpp_e2e", "tests/slixmpp_e2e", "tests/attacks", "tests/docs")
SECONDS = 8
"""For a test that takes a second at most without a deletion."""


def units(root: Path, modules: Sequence[str] = MODULES) -> list[Unit]:
    """All that has checks in the modules, which are paths and patterns from the root."""
    found = []
    for pattern in modules:
        paths = sorted(root.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"no module is called {pattern}: where is it now?")
        for path in paths:
            found += _of_source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    return found


def changed(root: Path, base: str, today: list[Unit]) -> list[Check]:
    """The checks of what has a shape that nothing had in the commit ``base``, in any module of the same packages."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout

    packages = {PurePath(unit.path).parts[0] for unit in today}
    paths = git("ls-tree", "-r", "--name-only", base, "--", *packages).splitlines()
    then = [unit for path in paths if path.endswith(".py") for unit in _of_source(path, git("show", f"{base}:{path}"))]
    left = Counter(unit.shape for unit in then)
    left.subtract(unit.shape for unit in today)
    return [check for unit in today if left[unit.shape] < 0 for check in unit.checks]


def _of_source(path: str, source: str) -> list[Unit]:
    found = find(path, source)
    return [*found, additions(path, source)] if PurePath(path).name == STAGES else found


class Workers:
    """Workers of both kinds, each in a copy of the repository."""

    def __init__(self, root: Path, folder: Path, count: int, tests: Sequence[str], preload: Sequence[str]) -> None:
        self._all: list[subprocess.Popen[str]] = []
        self._quick: Queue[subprocess.Popen[str]] = Queue()
        self._slow: Queue[subprocess.Popen[str]] = Queue()
        for number in range(count):
            self._quick.put(self._start(root, folder / f"quick{number}", "quick", *tests))
            self._slow.put(self._start(root, folder / f"slow{number}", "slow", *preload))

    def first_failure(self, check: Check, tests: list[str], seconds: int = SECONDS) -> tuple[str | None, bool]:
        """The test that fails first without the check, or does not end; and whether it failed, rather. A file stands for all
        that is in it."""
        said = self._ask(self._quick, check, tests, seconds) if check.lines or check.how == "added" else ""
        test, failed = json.loads(said if said.strip() else self._ask(self._slow, check, tests, seconds))
        return test, failed

    def close(self) -> None:
        """End the workers, after what they are at."""
        for worker in self._all:
            worker.communicate()

    def _start(self, root: Path, where: Path, *arguments: str) -> subprocess.Popen[str]:
        shutil.copytree(root, where, ignore=shutil.ignore_patterns(".*", "build", "dist", "venv"))
        command = [sys.executable, "-m", "tests.evidence.deletions.worker", *arguments]
        worker = subprocess.Popen(command, **inside(where), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._all.append(worker)
        return worker

    def _ask(self, idle: Queue[subprocess.Popen[str]], check: Check, tests: list[str], seconds: int) -> str:
        worker = idle.get()
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            job = {"path": check.path, "source": check.without, "tests": tests, "seconds": seconds}
            print(json.dumps(job), file=worker.stdin, flush=True)
            if not (said := worker.stdout.readline()):
                raise RuntimeError("a worker has ended: do the tests import?")
            return said
        finally:
            idle.put(worker)


@contextmanager
def workers(root: Path, count: int, tests: Sequence[str], preload: Sequence[str]) -> Iterator[Workers]:
    """Workers for a while, in folders where nothing but they changes anything."""
    with tempfile.TemporaryDirectory(prefix="deletions-") as folder:
        made = Workers(root, Path(folder), count, tests, preload)
        try:
            yield made
        finally:
            made.close()


def search(made: Workers, recorded: Record, most: int, check: Check) -> str:
    """What fails without the check, of so many tests at ``most``: a test, or `data.NOTHING`."""
    endless = None
    for batch in recorded.batches(check, most):
        while batch:
            test, failed = made.first_failure(check, batch)
            if test is None:
                break
            if failed:
                return test
            # prefer one that says what is wrong
            endless = endless or test
            if test not in batch:
                break
            batch = batch[batch.index(test) + 1 :]
            batch = batch[: BATCHES[0]]
        if endless:
            break
    return endless or data.NOTHING


class Run:
    """What is known of the checks, and becomes known."""

    def __init__(
        self,
        root: Path = ROOT,
        modules: Sequence[str] = MODULES,
        tests: Sequence[str] = TESTS,
        preload: Sequence[str] = PRELOAD,
        *,
        most: int = sum(BATCHES),
    ) -> None:
        """``most``: so many tests are tried for a check, when none in the module's own files fails."""
        self._root = root
        self._tests = tests
        self._preload = preload
        self._most = most
        self.units = units(root, modules)
        self.outcomes = data.read(root / data.FILE, self.units)
        """What fails without each check that was tried."""

    @property
    def checks(self) -> list[Check]:
        """Every check."""
        return [check for unit in self.units for check in unit.checks]

    def over(self, chosen: list[Check], count: int) -> None:
        """Try these checks with so many workers, and write down what fails."""
        if not chosen:
            return
        with workers(self._root, count, self._tests, self._preload) as made, ThreadPoolExecutor(count) as pool:
            open_ = []
            for check, test in zip(chosen, pool.map(partial(self._near, made), chosen), strict=True):
                if test is None:
                    open_.append(check)
                else:
                    self._note(check, test)
            if open_:
                recorded = record(self._root, self._tests)
                for check, test in zip(open_, pool.map(partial(search, made, recorded, self._most), open_), strict=True):
                    self._note(check, test)

    def survivors(self, chosen: list[Check]) -> list[Check]:
        """Those of them that no test notices, and no comment excuses: one comment excuses one check."""
        found, excused = [], set()
        for check in chosen:
            if not self.outcomes.get(check):
                comment = (check.path, check.excuse)
                if check.excuse and comment not in excused:
                    excused.add(comment)
                else:
                    found.append(check)
        return found

    def _near(self, made: Workers, check: Check) -> str | None:
        """What fails of the tests that need no search: the one that is known, and the module's own."""
        for tests in ([self.outcomes.get(check)], own_files(self._root, check, self._tests)):
            named = [test for test in tests if test]
            if named and (test := made.first_failure(check, named)[0]):
                return test
        return None

    def _note(self, check: Check, test: str) -> None:
        self.outcomes[check] = test
        data.write(self._root / data.FILE, self.units, self.outcomes)
        print(f"{check.path}:{min(check.lines, default=0)} {check.text} | {check.how} | {test or 'nothing'}", flush=True)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these (paths from the top of the repository)")
    parser.add_argument("--base", default="HEAD", help="the commit with which functions are compared")
    parser.add_argument("--all", action="store_true", help="every check")
    parser.add_argument("--new", action="store_true", help="every check for which no test is known")
    parser.add_argument("--totals", action="store_true", help="only say what is known")
    parser.add_argument("--most", type=int, default=sum(BATCHES), help="so many tests are searched for a check")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    run = Run(most=options.most)
    chosen = run.checks
    if options.new:
        chosen = [check for check in chosen if not run.outcomes.get(check)]
    elif not (options.all or options.totals):
        chosen = changed(ROOT, options.base, run.units)
    chosen = [check for check in chosen if not options.modules or check.path in options.modules]
    if not options.totals:
        print(f"{len(chosen)} of {len(run.checks)} checks", flush=True)
        run.over(chosen, options.workers)
    left = run.survivors(chosen)
    for check in left:
        print(f"no test notices: {check.path} {check.place}: {check.text} ({check.how})")
    if left:
        print(f"write the test; or the comment, above the line: `# {EXCUSE} this: …`, with the reason")
    noticed = sum(map(bool, run.outcomes.values()))
    print(f"{len(run.checks)} checks; for {noticed} a test fails, {len(run.outcomes) - noticed} are noticed by nothing")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())

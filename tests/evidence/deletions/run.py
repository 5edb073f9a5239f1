"""Leaves out each check of the code that guards, one at a time, and finds the test that fails: ``make deletions``.

By default the checks of the functions that have another shape than any in the commit BASE (HEAD, if none is named): what was
only renamed, moved or worded anew is not tried again. ``ALL=1`` tries every check, ``NEW=1`` those that were not tried, and
those that nothing notices and no comment excuses.

First comes the test that is known to notice, if one is; then the files of tests that are called after the module, or have
changed since BASE; then the tests that notice any other check of the module; then those that notice any check at all. What
fails is written into tests/evidence/deletions.json. The exit code is 0 if for each check that was tried a test fails, or a
comment says why none does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from queue import Queue
from typing import Any

from tests.evidence.deletions import data
from tests.evidence.deletions.checks import EXCUSE, Check, Unit, additions, find
from tests.evidence.deletions.worker import PRELOAD

ROOT = Path(__file__).parents[3]
STATES = "states.py"
MODULES = (
    *(f"xmpp_e2e/{name}/*.py" for name in ("tls", "authenticate", "negotiate", "inner")),
    *(f"xmpp_e2e/{name}.py" for name in ("session", "state_machine", "states", "key_decision")),
    *(f"plugins/slixmpp_e2e/{name}/*.py" for name in ("xmpp", "messages", "trust", "verification", "sessions/admission")),
    *("plugins/slixmpp_e2e/client.py", "plugins/slixmpp_e2e/policy.py"),
)
"""The modules that guard. Of the core: TLS, what is said inside it, the authenticators, the signalling, the decision about a
key, the session and its states. Of the plugin: the filters, and what they ask before a stanza leaves or comes in."""
TESTS = ("tests/xmpp_e2e", "tests/slixmpp_e2e", "tests/attacks", "tests/docs")
SECONDS = 8
"""For a test that takes a second at most without a deletion."""
TOGETHER = 60
"""So many tests are tried together: more take long to import, where that has to be done anew."""
MORE = 3
"""After so many tests that did not end, one of them is the answer."""
PATIENCE = 3.0
"""Seconds that a test of the plugin waits for what may never happen without a check."""


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
    packages = {PurePath(unit.path).parts[0] for unit in today}
    paths = _git(root, "ls-tree", "-r", "--name-only", base, "--", *packages).splitlines()
    modules = ((path, _git(root, "show", f"{base}:{path}")) for path in paths if path.endswith(".py"))
    left = Counter(unit.shape for path, source in modules for unit in _of_source(path, source))
    left.subtract(unit.shape for unit in today)
    return [check for unit in today if left[unit.shape] < 0 for check in unit.checks]


def changed_tests(root: Path, base: str) -> list[str]:
    """The files of tests that are new or other than in the commit ``base``."""
    said = _git(root, "diff", "--name-only", "--diff-filter=d", base) + _git(root, "ls-files", "--others", "--exclude-standard")
    return [path for path in said.splitlines() if path.startswith(TESTS) and PurePath(path).match("test_*.py")]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def _of_source(path: str, source: str) -> list[Unit]:
    found = find(path, source)
    return [*found, additions(path, source)] if PurePath(path).name == STATES else found


class Workers:
    """Workers of both kinds, each in a copy of the repository."""

    def __init__(self, root: Path, folder: Path, count: int, tests: Sequence[str], preload: Sequence[str]) -> None:
        self._root = root
        self._all: list[subprocess.Popen[str]] = []
        self._quick: Queue[subprocess.Popen[str]] = Queue()
        self._slow: Queue[subprocess.Popen[str]] = Queue()
        for number in range(count):
            self._quick.put(self._start(root, folder / f"quick{number}", "quick", *tests))
            self._slow.put(self._start(root, folder / f"slow{number}", "slow", *preload))

    def first_failure(self, check: Check, tests: list[str], but: Sequence[str] = ()) -> tuple[str | None, bool]:
        """The test that fails first without the check, or does not end; and whether it failed, rather. A file stands for all
        that is in it, ``but`` for some."""
        job = {"path": check.path, "source": check.without, "tests": tests, "but": but, "seconds": SECONDS}
        said = self._ask(self._quick, job) if check.lines or check.how == "added" else ""
        test, failed = json.loads(said if said.strip() else self._ask(self._slow, job))
        return test, failed

    def confirmed(self, check: Check, test: str) -> bool:
        """Does the test pass with the check, and again not without it? On a busy machine a slow one fails anyway."""
        with_it = replace(check, without=(self._root / check.path).read_text(encoding="utf-8"))
        return self.first_failure(with_it, [test])[0] is None and self.first_failure(check, [test])[0] is not None

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

    def _ask(self, idle: Queue[subprocess.Popen[str]], job: dict[str, Any]) -> str:
        worker = idle.get()
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
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


def inside(where: Path) -> dict[str, Any]:
    """How a process is started that takes the project from this folder, however it is installed, and waits for nothing long."""
    path = f"{where}{os.pathsep}{where / 'plugins'}"
    return {"cwd": where, "env": {**os.environ, "PYTHONPATH": path, "PATIENCE": str(PATIENCE)}}


def search(made: Workers, check: Check, batches: Iterable[list[str]]) -> str:
    """What fails without the check: a test, or `data.NOTHING`. One that does not end is the answer if none is found soon that
    fails: that one says what is wrong."""
    endless = None
    tried: list[str] = []
    for batch in batches:
        while not (endless and len(tried) > MORE):
            test, failed = made.first_failure(check, batch, tried)
            if test is None:
                break
            tried.append(test)
            if made.confirmed(check, test):
                if failed:
                    return test
                endless = endless or test
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
        changed: Sequence[str] = (),
    ) -> None:
        """``changed``: files of tests that may notice what is new."""
        self._root = root
        self._tests = tests
        self._preload = preload
        self._changed = list(changed)
        self._noticing = data.noticing(root / data.FILE)
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
            found = pool.map(lambda check: search(made, check, self._batches(check)), chosen)
            for check, test in zip(chosen, found, strict=True):
                self.outcomes[check] = test
                data.write(self._root / data.FILE, self.units, self.outcomes)
                where = f"{check.path}:{min(check.lines, default=0)}"
                print(f"{where} {check.text} | {check.how} | {test or 'nothing'}", flush=True)

    def survivors(self, chosen: list[Check]) -> list[Check]:
        """Those of them that no test notices, and no comment excuses: one comment excuses one check."""
        found, excused = [], set()
        for check in chosen:
            if self.outcomes.get(check) == data.NOTHING:
                comment = (check.path, check.excuse)
                if check.excuse and comment not in excused:
                    excused.add(comment)
                else:
                    found.append(check)
        return found

    def _batches(self, check: Check) -> Iterator[list[str]]:
        """What may notice, the most promising first."""
        if known := self.outcomes.get(check):
            yield [known]
        own = (self._root / folder for folder in self._tests)
        files = (path for folder in own for path in sorted(folder.rglob(f"test_{PurePath(check.path).stem}*.py")))
        yield [*(path.relative_to(self._root).as_posix() for path in files), *self._changed]
        outcomes = list(self.outcomes.items())  # at once: they change meanwhile
        here = self._noticing.get(check.path, Counter())
        here = here + Counter(test for other, test in outcomes if test and other.path == check.path)
        anywhere = sum(self._noticing.values(), Counter())
        tests = list(dict.fromkeys([*(test for test, _ in here.most_common()), *(test for test, _ in anywhere.most_common())]))
        for start in range(0, len(tests), TOGETHER):
            yield tests[start : start + TOGETHER]


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these (paths from the top of the repository)")
    parser.add_argument("--base", default="HEAD", help="the commit with which functions are compared")
    parser.add_argument("--all", action="store_true", help="every check")
    parser.add_argument("--new", action="store_true", help="what was not tried, or is noticed by nothing and not excused")
    parser.add_argument("--totals", action="store_true", help="only say what is known")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    run = Run(changed=changed_tests(ROOT, options.base))
    chosen = run.checks
    if options.new:
        chosen = [check for check in chosen if check not in run.outcomes] + run.survivors(chosen)
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
    nothing = len(run.outcomes) - noticed
    untried = len(run.checks) - len(run.outcomes)
    print(f"{len(run.checks)} checks: for {noticed} a test fails, {nothing} are noticed by nothing, {untried} were not tried")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())

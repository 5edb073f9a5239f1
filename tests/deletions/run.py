"""Leaves out each check of the code that guards, one at a time, and lists what fails: ``python -m tests.deletions.run``.

A check that is listed has its test run; any other, and those whose test does not notice any more, all tests that execute it:
those of its own module first, then the attacks, the quickest first. The exit code is 0 if none is left that no test notices.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Queue

from tests.deletions import listed
from tests.deletions.checks import Check, additions, find
from tests.deletions.record import BATCHES, Record, inside, record
from tests.deletions.worker import PRELOAD

ROOT = Path(__file__).parents[2]
STAGES = "xmpp_e2e/stages.py"
PLUGIN = (
    *("filters", "classify", "mark", "inside", "iqs", "adapter", "outbox", "switchboard"),
    *("trust", "own", "callers", "presences", "absent", "namespaces", "watch", "discovery", "proofs"),
)
"""Of the plugin, what stands between slixmpp and its stream; and what that asks."""
MODULES = (
    *("xmpp_e2e/tls/*.py", "xmpp_e2e/authenticate/*.py", "xmpp_e2e/trust/*.py"),
    *(f"xmpp_e2e/{name}.py" for name in ("session", "inner", "runs", "wishes", "progress", "standing")),
    *(STAGES, "xmpp_e2e/negotiate/*.py"),
    *(f"plugins/slixmpp_e2e/{name}.py" for name in PLUGIN),
)
"""What guards: TLS, hello, authenticators, trust, the session with its parts and its table, the signalling; and the plugin's as
above."""
TESTS = ("tests/xmpp_e2e", "tests/slixmpp_e2e", "tests/attacks", "tests/docs")
SECONDS = 8
"""For a test that takes a second at most without a deletion."""


def checks(root: Path, modules: Sequence[str] = MODULES) -> list[Check]:
    """Every check of the modules, which are paths and patterns from the root."""
    found = []
    for path in (path for pattern in modules for path in sorted(root.glob(pattern))):
        name, source = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        found += find(name, source)
        if name == STAGES:
            found += additions(name, source)
    return found


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
        """The test that fails first without the check, or does not end; and whether it failed, rather."""
        said = self._ask(self._quick, check, tests, seconds) if check.lines or check.how == "added" else ""
        test, failed = json.loads(said if said.strip() else self._ask(self._slow, check, tests, seconds))
        return test, failed

    def close(self) -> None:
        """End the workers, after what they are at."""
        for worker in self._all:
            worker.communicate()

    def _start(self, root: Path, where: Path, *arguments: str) -> subprocess.Popen[str]:
        shutil.copytree(root, where, ignore=shutil.ignore_patterns(".*", "build", "dist", "venv"))
        command = [sys.executable, "-m", "tests.deletions.worker", *arguments]
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
    """What fails without the check, of so many tests at ``most``: a test, as it is listed, or `listed.SURVIVED`."""
    endless = None
    for batch in recorded.batches(check, most):
        while batch:
            test, failed = made.first_failure(check, batch)
            if test is None:
                break
            if failed:
                return listed.named(test)
            # prefer one that says what is wrong
            endless = endless or test
            if test not in batch:
                break
            batch = batch[batch.index(test) + 1 :]
            batch = batch[: BATCHES[0]]
        if endless:
            break
    return listed.named(endless) if endless else listed.SURVIVED


class Run:
    """What is known of the checks, and becomes known."""

    def __init__(
        self,
        root: Path = ROOT,
        modules: Sequence[str] = MODULES,
        tests: Sequence[str] = TESTS,
        preload: Sequence[str] = PRELOAD,
        *,
        new: bool = False,
        judged: bool = False,
        most: int = sum(BATCHES),
    ) -> None:
        """``new``: only what is not listed, or as noticed by nothing. ``judged``: what is judged, too. ``most``: tests that are
        tried for what is not listed."""
        self._root = root
        self._tests = tests
        self._preload = preload
        self._document = root / listed.DOCUMENT
        self._new = new
        self._judged = judged
        self._most = most
        self.checks = checks(root, modules)
        self._known = listed.read(self._document)
        self._results = {check.key: self._known[check.key] for check in self.checks if check.key in self._known}
        listed.write(self._document, self.checks, self._results)

    def over(self, chosen: list[Check], count: int) -> None:
        """Try these checks with so many workers, and write down what fails."""
        with workers(self._root, count, self._tests, self._preload) as made, ThreadPoolExecutor(count) as pool:
            open_ = []
            for check, confirmed in zip(chosen, pool.map(partial(self._confirmed, made), chosen), strict=True):
                if confirmed:
                    self._note(check, self._known[check.key])
                else:
                    open_.append(check)
            if open_:
                recorded = record(self._root, list(dict.fromkeys(check.path for check in self.checks)), self._tests)
                for check, fails in zip(open_, pool.map(partial(search, made, recorded, self._most), open_), strict=True):
                    judgement = self._known.get(check.key, listed.SURVIVED)
                    self._note(check, judgement if fails == listed.SURVIVED and not listed.test_of(judgement) else fails)

    def survivors(self) -> list[Check]:
        """The checks that no test notices, and nobody has judged."""
        return [check for check in self.checks if self._results.get(check.key, listed.SURVIVED) == listed.SURVIVED]

    def _confirmed(self, made: Workers, check: Check) -> bool:
        """Is there nothing to search for?"""
        fails = self._known.get(check.key, listed.SURVIVED)
        test = listed.test_of(fails)
        if test is None:
            return fails != listed.SURVIVED and not self._judged
        return self._new or made.first_failure(check, [test])[0] is not None

    def _note(self, check: Check, fails: str) -> None:
        self._results[check.key] = fails
        listed.write(self._document, self.checks, self._results)
        print(f"{check.path}:{min(check.lines, default=0)} {check.text} | {check.how} | {fails}", flush=True)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these (paths from the top of the repository)")
    parser.add_argument("--new", action="store_true", help="only checks that are not listed, or listed as noticed by nothing")
    parser.add_argument("--judged", action="store_true", help="those too that are judged to make no difference")
    parser.add_argument("--most", type=int, default=sum(BATCHES), help="so many tests are tried for a check that is not listed")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    run = Run(new=options.new, judged=options.judged, most=options.most)
    run.over([check for check in run.checks if not options.modules or check.path in options.modules], options.workers)
    for check in run.survivors():
        print(f"no test notices: {check.path} {check.place}: {check.text} ({check.how})")
    print(f"{len(run.checks)} checks, {len(run.survivors())} of them noticed by nothing")
    return 1 if run.survivors() else 0


if __name__ == "__main__":
    sys.exit(main())

"""Which tests execute which functions, and how long each takes; kept, and recorded anew where a file of tests has changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import coverage
import pytest
from hypothesis import is_hypothesis_test

from tests.evidence.deletions.checks import Check, places
from tests.evidence.deletions.worker import OPTIONS, deterministic

RECORD = ".deletions.json"
BATCHES = (12, 60, 240)
"""How many tests are tried together. One of the first notices nearly always; more than these, and it takes minutes to say that
nothing does."""
PATIENCE = 3.0
"""Seconds that a test of the plugin waits for what may never happen without a check."""
QUICK_SECONDS = 1.0
"""What takes longer is tried last, unless it is of the module's own tests."""

Test = dict[str, Any]
"""``seconds``, ``property`` (does it try many examples?), ``places``: by module, the functions that it executes."""


class Record:
    """Knows which tests may notice that a check is left out."""

    def __init__(self, tests: dict[str, Test]) -> None:
        self._tests = tests
        self._by_place: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, test in tests.items():
            for module, executed in test["places"].items():
                for place in ("", *executed):
                    self._by_place[module, place].append(name)

    def batches(self, check: Check, most: int = sum(BATCHES)) -> Iterator[list[str]]:
        """Tests that execute its function; if it is in none, or in a new one, anything of its module, or that are the module's
        own; all tests, if it is in a new module: the most promising first, ``most`` in all."""
        names = set(self._by_place.get((check.path, check.place), ()) if check.lines else ())
        if not names:
            names = {name for name in self._tests if name.startswith(_own(check))}
            names.update(self._by_place.get((check.path, ""), self._tests))
        promising = sorted(names, key=lambda name: self._rank(check, name))[:most]
        for size in BATCHES:
            if batch := promising[:size]:
                yield batch
            promising = promising[size:]

    def _rank(self, check: Check, name: str) -> tuple[bool, int, bool, float, str]:
        test = self._tests[name]
        seconds, many = test["seconds"], test["property"]
        package = _own(check).split("/")[1]
        near = 0 if name.startswith(_own(check)) else 1 if name.split("/")[1] in (package, "attacks") else 2
        return near > 0 and (many or seconds > QUICK_SECONDS), near, many, seconds, name


def _own(check: Check) -> str:
    """How the names begin of the tests of its module."""
    folder, _, module = f"tests/{check.path.removeprefix('plugins/').removesuffix('.py')}".rpartition("/")
    return f"{folder}/test_{module}"


def own_files(root: Path, check: Check, folders: Sequence[str]) -> list[str]:
    """The files of tests that are called after its module."""
    pattern = f"test_{PurePath(check.path).stem}*.py"
    return [path.relative_to(root).as_posix() for folder in folders for path in sorted((root / folder).rglob(pattern))]


def record(root: Path, folders: Sequence[str]) -> Record:
    """What is recorded, and of the files of tests that have changed since, what is recorded now."""
    kept = root / RECORD
    old = json.loads(kept.read_text()) if kept.exists() else {"files": {}, "tests": {}}
    paths = sorted(path for folder in folders for path in (root / folder).rglob("test_*.py"))
    files = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    changed = [path for path in files if files[path] != old["files"].get(path)]
    same = set(files) - set(changed)
    tests = {name: test for name, test in old["tests"].items() if name.partition("::")[0] in same}
    if changed:
        print(f"recording what {len(changed)} files of tests execute …", flush=True)
        tests |= _recorded(root, changed)
        kept.write_text(json.dumps({"files": files, "tests": tests}))
    return Record(tests)


def inside(where: Path) -> dict[str, Any]:
    """How a process is started that takes the project from this folder, however it is installed, and waits for nothing long."""
    path = f"{where}{os.pathsep}{where / 'plugins'}"
    return {"cwd": where, "env": {**os.environ, "PYTHONPATH": path, "PATIENCE": str(PATIENCE)}}


# --- in a process of its own: coverage must see the modules imported ---------------------------------------------------


def _recorded(root: Path, files: Sequence[str]) -> dict[str, Test]:
    command = [sys.executable, "-m", "tests.evidence.deletions.record", *files]
    done = subprocess.run(command, **inside(root), check=True, stdout=subprocess.PIPE, text=True)
    tests: dict[str, Test] = json.loads(done.stdout.splitlines()[-1])
    return tests


class Recorder:
    """A plugin of pytest: coverage by test."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.tests: dict[str, Test] = {}
        """Those that passed."""
        self._measured = measured
        self._failed: set[str] = set()
        self._seconds = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._measured.switch_context(item.nodeid)
        self._seconds = 0.0
        result = yield
        self._measured.switch_context("")
        if item.nodeid not in self._failed:
            is_property = is_hypothesis_test(getattr(item, "obj", None))
            self.tests[item.nodeid] = {"seconds": round(self._seconds, 3), "property": is_property, "places": {}}
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds += report.duration
        if not report.passed:
            self._failed.add(report.nodeid)


def main(files: Sequence[str]) -> None:
    """Run the files and say, in the last line, what they execute: in the working directory, all that is no test."""
    here = Path.cwd()
    omit = [str(here / "tests" / "*"), str(here / ".*" / "*")]
    measured = coverage.Coverage(data_file=None, include=[str(here / "*")], omit=omit, config_file=False)
    recorder = Recorder(measured)
    deterministic()
    measured.start()
    pytest.main([*OPTIONS, *files], plugins=[recorder])
    measured.stop()
    executed = measured.get_data()
    for path in executed.measured_files():
        module = Path(path).relative_to(here).as_posix()
        place_of = places(Path(path).read_text(encoding="utf-8"))
        for line, tests in executed.contexts_by_lineno(path).items():
            for name in set(tests) & set(recorder.tests) if line in place_of else ():
                recorder.tests[name]["places"].setdefault(module, {})[place_of[line]] = True
    print(f"\n{json.dumps(recorder.tests)}")


if __name__ == "__main__":
    main(sys.argv[1:])

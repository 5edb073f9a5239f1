"""Runs tests in a copy of the repository with one module changed, once for each line of JSON on its standard input.

Each run is a fork. A *quick* worker has collected all tests, and changes the functions of the module in the fork; what is read
when a module is imported (a table, a constant) is for a *slow* one, which has imported nothing of the project before.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, Phase, settings

MEMORY_BYTES = 4 * 2**30
"""Of one run: without its check, a loop may well collect things for ever."""
IMPORT_SECONDS = 60
"""For the collection of tests in a slow run."""
PRELOAD = ("OpenSSL.SSL", "alembic.command", "cryptography.x509", "pytest_asyncio", "slixmpp", "sqlalchemy")
"""What the project imports and takes long, none of it the project's own."""
OPTIONS = (
    "-q",
    "--capture=no",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # pytest is not the first here to import its plugins
    *(f"-pno:{name}" for name in ("cacheprovider", "cov", "xdist")),
)
_OWN_FILES = "--basetemp=basetemp"
BROKEN = 10
"""Exit code of a run that raised itself, and not in a test: nothing was noticed."""
UNCHANGED = 9
"""Exit code of a quick run: the check is not in a function that could be found."""


class Watch:
    """A plugin of pytest: gives each test so many seconds, and notes which begins and which fails."""

    def __init__(self, seconds: int, told: int) -> None:
        self.failed = False
        self._seconds = seconds
        self._told = told
        """A file descriptor: a line for each test that begins, `+` and its name, and for the one that fails, `-`."""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say("+", nodeid)
        signal.alarm(self._seconds)  # its default action ends the process

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = True
            self._say("-", report.nodeid if "::" in report.nodeid else f"{report.nodeid}::")

    def _say(self, sign: str, nodeid: str) -> None:
        os.write(self._told, f"{sign}{nodeid}\n".encode())


class Selection:
    """A plugin of pytest: those tests only that the job names."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = chosen(items, self._job)


def chosen(items: list[pytest.Item], job: dict[str, Any]) -> list[pytest.Item]:
    """The tests that the job names, in its order, and those of the files that it names."""
    by_name: dict[str, list[pytest.Item]] = {}
    for item in items:
        names = {item.nodeid, item.nodeid.partition("::")[0]}
        for name in names if names.isdisjoint(job["but"]) else ():
            by_name.setdefault(name, []).append(item)
    return [item for test in job["tests"] for item in by_name.get(test, ())]


class Quick:
    """A plugin of pytest: has everything collected, and then does jobs instead of running it."""

    def __init__(self, jobs: IO[str], answers: IO[str]) -> None:
        self._jobs = jobs
        self._answers = answers

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        gc.freeze()

        def run(job: dict[str, Any], watch: Watch) -> int:
            if not change(job["path"], job["source"]):
                return UNCHANGED
            session.config.pluginmanager.register(watch)
            items = chosen(session.items, job)
            for item, following in zip(items, (*items[1:], None), strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if watch.failed:
                    return 1
            return 0

        answer(self._jobs, self._answers, run)
        return True


def slow_run(job: dict[str, Any], watch: Watch) -> int:
    """Import everything anew, with the module changed."""
    Path(job["path"]).write_text(job["source"])
    signal.alarm(IMPORT_SECONDS)
    files = dict.fromkeys(test.partition("::")[0] for test in job["tests"])
    return pytest.main(["-x", _OWN_FILES, *OPTIONS, *files], plugins=[Selection(job), watch])


def answer(jobs: IO[str], answers: IO[str], run: Callable[[dict[str, Any], Watch], int]) -> None:
    """Do the jobs (``path`` and ``source`` of the module, ``tests`` ``but`` some, ``seconds`` for each), a line for a line: the
    test that fails first, or ends the process, or does not end in time (its module, if that cannot be imported), or null; and
    whether it failed, rather. An empty line if nothing could be changed."""
    for line in jobs:
        job = json.loads(line)
        module = Path(job["path"])
        original = module.read_bytes()
        with tempfile.TemporaryFile() as told:
            pid = os.fork()
            if pid == 0:
                _be_alone()
                watch = Watch(job["seconds"], told.fileno())
                code = BROKEN
                try:
                    code = run(job, watch)
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # whatever it has started
            module.write_bytes(original)
            told.seek(0)
            said = told.read().decode().splitlines()
        code = os.waitstatus_to_exitcode(status)
        print("" if code == UNCHANGED else json.dumps(_outcome(code, said, job["tests"])), file=answers, flush=True)


def _be_alone() -> None:
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silence, standard)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _outcome(code: int, said: list[str], tests: list[str]) -> tuple[str | None, bool]:
    if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, BROKEN):
        return None, False
    failed = [line[1:] for line in said if line.startswith("-")]
    begun = [line[1:] for line in said if line.startswith("+")]
    return (failed or begun[-1:] or tests)[0], bool(failed)


# --- changing the functions of a module --------------------------------------------------------------------------------


def change(path: str, source: str) -> bool:
    """Give the functions of an imported module the code that they have in ``source``, or execute what ``source`` has more at
    its end; False if no function that differs is found."""
    file = str(Path(path).resolve())
    module = next(module for module in sys.modules.values() if getattr(module, "__file__", None) == file)
    before = Path(path).read_text()
    if source.startswith(before):
        exec(compile(source.removeprefix(before), file, "exec"), vars(module))
        return True
    original, changed = (dict(_codes(compile(text, file, "exec"))) for text in (before, source))
    functions: dict[tuple[str, int], list[FunctionType]] = {}
    for function in _functions(module, file):
        functions.setdefault((function.__code__.co_qualname, function.__code__.co_firstlineno), []).append(function)
    done = False
    for key, code in changed.items():
        if code != original.get(key):
            for function in functions.get(key, ()):
                if code.co_freevars != function.__code__.co_freevars:
                    return False
                function.__code__ = code
                done = True
    return done


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Of functions that are in no other one."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & inspect.CO_OPTIMIZED:
                yield (inner.co_qualname, inner.co_firstlineno), inner
            else:
                yield from _codes(inner)


def _functions(holder: ModuleType | type, file: str) -> Iterator[FunctionType]:
    for value in list(vars(holder).values()):
        if isinstance(value, type) and value.__module__ == getattr(holder, "__module__", getattr(holder, "__name__", "")):
            yield from _functions(value, file)
            continue
        parts = (value.fget, value.fset) if isinstance(value, property) else (getattr(value, "__func__", value),)
        for part in parts:
            function = inspect.unwrap(part) if callable(part) else None
            if isinstance(function, FunctionType) and function.__code__.co_filename == file:
                yield function


# --- the process -------------------------------------------------------------------------------------------------------


def deterministic() -> None:
    """Let property tests try the same examples each time, and not look for the smallest that fails."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "deletions", derandomize=True, database=None, phases=phases, suppress_health_check=list(HealthCheck), deadline=None
    )
    settings.load_profile("deletions")


def main(kind: str, arguments: list[str]) -> None:
    """``quick`` and what to collect, or ``slow`` and what to import."""
    jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    deterministic()
    if kind == "quick":
        silence = os.open(os.devnull, os.O_RDWR)
        os.dup2(silence, 1)
        pytest.main([_OWN_FILES, *OPTIONS, *arguments], plugins=[Quick(jobs, answers)])
    else:
        sys.dont_write_bytecode = True
        for name in arguments:
            importlib.import_module(name)
        gc.freeze()
        answer(jobs, answers, slow_run)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

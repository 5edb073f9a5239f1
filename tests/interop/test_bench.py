"""The benchmark runs and writes its results; whatever makes a number worthless is an error; a target is met or missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interop.bench import __main__ as command
from interop.bench import figure, wire
from interop.bench.client import Worker, Wrong, bodies
from interop.bench.clients import E2E, Plaintext
from interop.bench.kinds import KINDS
from interop.bench.results import BUSY, machine, markdown, spread
from interop.bench.rows import TABLES, How, Row, Verdict, at_least, at_most
from interop.bench.sizes import FULL
from interop.bench.stage import MEASURES, SERVERS, Choice, Samples
from interop.bench.worker import ROOT, ClientFailed, WorkerProcess, WrongResult
from interop.chaos.proxy import Link

ROWS = [row for rows in TABLES.values() for row in rows]


class Client:
    """As much of a client as `Worker` uses."""

    def add_event_handler(self, *_: object) -> None:
        """Never call."""


class Message(dict[str, Any]):
    """As much of a message as `Worker` uses."""

    def __init__(self, session: object = None) -> None:
        super().__init__(e2e={"session": session})


def create_worker(kind: type[Plaintext] = Plaintext) -> Worker:
    """Create a worker with a client that talks so."""
    made = Worker()
    made.talk = kind(Client(), made.hear)
    return made


def sampled(**values: tuple[list[float], list[float]]) -> Samples:
    """Return samples of plaintext and ours on Prosody."""
    kinds = ("plaintext", "e2e")
    return {"prosody": {kind: {name: pair[place] for name, pair in values.items()} for place, kind in enumerate(kinds)}}


@pytest.mark.slow
def test_a_part_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was chosen has a number for both kinds, and the results are told and written."""
    monkeypatch.setattr("interop.bench.wire.QUIET_SECONDS", 0.01)
    only = [f"--only={name}" for name in ("echo", "rate", "bytes", "bulk", "memory")]
    kinds = [f"--kind={kind}" for kind in ("plaintext", "e2e", "ibb")]
    assert command.main(["--rounds=1", "--quick", "--server=prosody", *only, *kinds, f"--into={tmp_path}"]) == 0
    written = (tmp_path / "RESULTS.md").read_text()
    assert written in capsys.readouterr().out
    samples = json.loads((tmp_path / "results.json").read_text())["samples"]["prosody"]
    assert samples.keys() == {"plaintext", "e2e", "ibb"}
    for name in ("echo", "echo_p90", "rate", "rate_cpu_receiver", "bytes_alone"):
        assert all(len(samples[kind][name]) == 1 and samples[kind][name][0] > 0 for kind in ("plaintext", "e2e"))
    assert len(samples["e2e"]["bulk"]) == len(samples["ibb"]["bulk"]) == 1
    assert len(samples["e2e"]["memory_opener_4"]) == 1
    assert "| a message and its answer | ms |" in written
    assert "python -m interop.bench --rounds=1 --quick --only=echo" in written
    assert os.uname().nodename not in written
    assert "/tmp" not in written


@pytest.mark.slow
def test_delays_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interop.bench.wire.QUIET_SECONDS", 0.01)
    assert command.main(["--rounds=1", "--quick", "--only=far", "--kind=plaintext", f"--into={tmp_path}"]) == 0
    values = json.loads((tmp_path / "results.json").read_text())["samples"]["prosody"]["plaintext"]
    for name, seconds in FULL.far_seconds:
        assert values[f"first_new_{name}"][0] > 2_000 * seconds  # two links
        assert values[f"echo_{name}"][0] > 4_000 * seconds


@pytest.mark.parametrize("error", [WrongResult("a message was lost"), ClientFailed("it ended")])
def test_a_wrong_result_fails_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(command, "measure", fail)
    assert command.main(["--into", str(tmp_path)]) == 1
    assert str(error) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["--only=echo"], ["--quick"], ["--kind=e2e"], ["--server=ejabberd"]])
def test_a_part_leaves_the_results_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    """Only the whole is written by default, and slow results are written like any other."""

    async def measured(*_: object) -> tuple[Samples, list[str]]:
        return sampled(echo=([1.0], [100.0])), ["Server 1"]

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(command, "HERE", tmp_path)
    assert command.main(words) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == (set() if words else {"RESULTS.md", "results.json"})
    assert words or "**missed**" in (tmp_path / "RESULTS.md").read_text()


async def test_what_came_must_be_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost, altered or reordered messages are wrong."""
    monkeypatch.setattr("interop.bench.client.PATIENCE", 0.01)
    said = bodies("words", 2)
    for came in ([said[0]], [said[0], said[0]], said[::-1], [said[0], said[1] + "!"]):
        someone = create_worker()
        for body in came:
            someone.hear(body, Message())
        with pytest.raises(Wrong):
            await someone.heard("words", 2)
    someone = create_worker()
    for body in said:
        someone.hear(body, Message())
    assert "last" in await someone.heard("words", 2)


@pytest.mark.parametrize(("kind", "session", "right"), [(Plaintext, None, True), (E2E, None, False), (E2E, "s", True)])
async def test_with_encryption_it_must_come_inside(kind: type[Plaintext], session: object, right: bool) -> None:
    """With encryption, a plaintext message is wrong."""
    someone = create_worker(kind)
    someone.hear(bodies("words", 1)[0], Message(session))
    if right:
        await someone.heard("words", 1)
    else:
        with pytest.raises(Wrong, match="inside"):
            await someone.heard("words", 1)


async def test_words_on_the_wire_are_seen() -> None:
    """Readable encrypted words are wrong, and so is plaintext that cannot be found."""
    readable, unreadable = Link(0), Link(0)
    readable.sent += bodies("words", 1)[0].encode()
    wire.check_wire("plaintext", readable)
    for kind in ("e2e", "e2e_sm", "omemo"):
        wire.check_wire(kind, unreadable)
        with pytest.raises(WrongResult, match="could be read"):
            wire.check_wire(kind, unreadable, readable)
    with pytest.raises(WrongResult, match="at all"):
        wire.check_wire("plaintext", unreadable)


async def test_a_client_that_ends_is_told_of() -> None:
    async with WorkerProcess() as worker:
        worker.process.kill()
        with pytest.raises(ClientFailed, match="ended"):
            await worker("cost")


@pytest.mark.parametrize(
    ("row", "samples", "compared", "verdict"),
    [
        (Row("", "", "x", at_most(2)), sampled(x=([1, 2, 2], [2, 4, 9])), [2, 2, 4.5], Verdict.MET),
        (Row("", "", "x", at_most(1.9)), sampled(x=([1, 2, 2], [2, 4, 9])), [2, 2, 4.5], Verdict.MISSED),
        (Row("", "", "x", at_least(2)), sampled(x=([1], [2])), [2], Verdict.MET),
        (Row("", "", "x", at_least(2.1)), sampled(x=([1], [2])), [2], Verdict.MISSED),
        (Row("", "", "x", at_most(8), how=How.DIFFERENCE), sampled(x=([1], [9])), [8], Verdict.MET),
        (Row("", "", "x", at_most(8), how=How.ALONE), sampled(x=([1], [9])), [9], Verdict.MISSED),
        (Row("", "", "x", at_least(2), other_value="y"), sampled(x=([0], [4]), y=([2], [0])), [2], Verdict.MET),
        (Row("", "", "x"), sampled(x=([1], [9])), [9], Verdict.NO_TARGET),
        (Row("", "", "x", at_most(8)), sampled(y=([1], [9])), [], Verdict.NOT_MEASURED),
    ],
)
def test_the_median_of_what_is_compared_meets_a_target_or_not(
    row: Row, samples: Samples, compared: list[float], verdict: Verdict
) -> None:
    assert row.compared(samples) == compared
    assert row.verdict(samples) is verdict


def test_every_row_can_be_measured() -> None:
    """Its server measures both kinds, in the same measurement; and no two rows are the same."""
    measured: dict[str, set[tuple[str, str]]] = {}
    for name, server, kind in Choice().tasks():
        measured.setdefault(name, set()).add((server, kind))
    for row in ROWS:
        if row.other == "e2e" or row.how is How.ALONE:
            continue  # it is about many sessions
        needed = {(row.server, row.ours), (row.server, row.other)}
        assert any(needed <= places for places in measured.values()), row
    assert len({(row.title, row.server, row.value, row.ours, row.other) for row in ROWS}) == len(ROWS)
    assert {kind for measure in MEASURES.values() for kinds in measure.kinds.values() for kind in kinds} == KINDS.keys()
    assert Choice().grounds == list(SERVERS)


def test_what_has_a_target_and_is_missing_is_said() -> None:
    """Not the rest of what was not asked for."""
    samples = sampled(rate=([2.0], [3.0]))
    written = markdown(samples, machine(["Server 1"], 0.0), "make bench")
    assert "| the same by `session.send_message` | messages/s | 2 | - | - | ≥ 2.5 times | not measured |" in written
    assert "180 KB" not in written


def test_what_is_made_of_samples() -> None:
    assert spread([3.0, 1.0, 1002.0], 1) == "3.0 (1.0 to 1,002.0)"
    assert spread([3.0], 1) == "3.0"
    assert spread([], 1) == "-"


def test_a_client_in_plaintext_loads_nothing_of_ours() -> None:
    """It would make it slower."""
    loads = "import sys, interop.bench.client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", loads], capture_output=True, check=True, text=True, cwd=ROOT).stdout.split()
    assert "slixmpp" in loaded
    assert not {"slixmpp_e2e", "xmpp_e2e", "xmpp_loopback", "sqlalchemy", "omemo"} & set(loaded)


@pytest.mark.parametrize(("load", "told"), [(0.1, False), (3.0, True)])
def test_a_busy_machine_is_told_of(load: float, told: bool) -> None:
    assert (BUSY in markdown(sampled(echo=([1.0], [1.0])), machine(["Server 1"], load), "make bench")) == told


def test_a_picture_needs_all_that_it_shows(tmp_path: Path) -> None:
    """Of a part there is none."""
    assert not figure.draw(sampled(echo=([1.0], [1.0])), tmp_path / "results.png")
    if figure.can_draw():
        names = {name: [1.0, 2.0] for panel in figure.PANELS for _, name in panel.values}
        assert figure.draw({"prosody": dict.fromkeys(figure.NAMES, names)}, tmp_path / "results.png")
        assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")

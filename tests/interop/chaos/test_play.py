"""The chaos harness itself: it breaks nothing of its own, finds what is broken on purpose, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from interop.chaos import play as module
from interop.chaos import run
from interop.chaos.check import Broken
from interop.chaos.faults import QUIET, SHORT
from interop.chaos.play import Outcome, Plan, play
from interop.chaos.results import markdown
from interop.chaos.stage import STAGES, embedded
from tests.interop.test_run import children
from xmpp_loopback import Hook, hostile

FEW = replace(QUIET, stanzas=20, seconds=1.0)
PLAIN = Plan("loopback", 1, FEW, plain=True)
"""Twenty messages each way, without any fault."""


def says(*numbers: int) -> hostile.Matches:
    """Match Alice's messages with these numbers."""

    def matches(stanza: Element, sender: str) -> bool:
        words = (stanza.findtext("{jabber:client}body") or "").split()
        return sender.startswith("alice") and words[:1] in [[str(number)] for number in numbers]

    return matches


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes late on a machine that is ours."""
    monkeypatch.setattr(module, "PLAIN_SECONDS", 1)


async def attacked(monkeypatch: pytest.MonkeyPatch, folder: Path, hooks: Sequence[Hook]) -> Outcome:
    """Play on an embedded server with these hooks."""
    monkeypatch.setitem(STAGES, "loopback", lambda: embedded(hooks))
    return await play(PLAIN, folder)


async def test_it_breaks_nothing_itself(tmp_path: Path) -> None:
    """Plain XMPP without faults keeps every promise, and all processes end."""
    before = children()
    outcome = await play(PLAIN, tmp_path)
    assert outcome.good, outcome
    assert [direction.arrived for direction in outcome.verdict.values()] == [20, 20]
    assert children() == before


@pytest.mark.parametrize(
    ("hook", "broken"),
    [
        (hostile.drop(says(7)), {Broken.LOST: [7]}),
        (hostile.duplicate(says(7)), {Broken.REPEATED: [7]}),
        (hostile.reorder(says(7, 8)), {Broken.REORDERED: [7]}),
    ],
    ids=["drop", "duplicate", "reorder"],
)
async def test_it_finds_what_is_broken_on_purpose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hook: Hook, broken: dict[Broken, list[int]]
) -> None:
    """Control: a server that attacks one stanza, or two."""
    outcome = await attacked(monkeypatch, tmp_path, [hook])
    assert {name: dict(direction.broken) for name, direction in outcome.verdict.items()} == {"alice": broken, "bob": {}}
    assert not outcome.good


@pytest.mark.slow
async def test_plain_xmpp_does_not_pass(tmp_path: Path) -> None:
    """Control: through these faults, plain XMPP with stream management loses stanzas."""
    outcome = await play(Plan("loopback", 1, SHORT, plain=True), tmp_path)
    assert any(Broken.LOST in direction.broken for direction in outcome.verdict.values())
    assert all(direction.given == SHORT.stanzas for direction in outcome.verdict.values())
    assert not any(Broken.CRASHED in direction.broken for direction in outcome.verdict.values())


async def test_it_leaves_no_process_when_it_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the programs nor a server."""

    before = children()

    async def fail(*_: object) -> None:
        assert len(children() - before) == 3
        raise OSError("the harness has a fault")

    monkeypatch.setattr(module, "_run", fail)
    with pytest.raises(OSError, match="has a fault"):
        await play(replace(PLAIN, server="prosody"), tmp_path)
    assert children() == before


def test_the_command_prints_and_tells_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seed that broke a promise keeps its files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = ["--server", "loopback", "--profile", "quiet", "--stanzas", "5", "--seconds", "0.5", "--plain"]
    assert run.main([*words, "--seeds", "1-2", "--jobs", "2", "--into", str(tmp_path / "figures.md")]) == 0
    assert "2 kept every promise, 0 did not, 0 could not be played" in capsys.readouterr().out
    assert list(tmp_path.glob("xmpp-e2e-chaos-*")) == []
    assert "| all |  | 20 | 20 |" in (tmp_path / "figures.md").read_text()

    monkeypatch.setitem(STAGES, "loopback", lambda: embedded([hostile.drop(says(3))]))
    assert run.main(words) == 1
    printed = capsys.readouterr().out
    assert "alice: 5 given, 4 arrived, 0 delivered, 0 failed; 1 lost, and nobody was told: 3" in printed
    assert "BROKEN" in printed
    (folder,) = tmp_path.glob("xmpp-e2e-chaos-*")
    assert str(folder) in printed
    assert {path.name for path in folder.iterdir()} >= {"alice.jsonl", "bob.jsonl", "alice.txt"}


def test_a_failure_of_the_harness_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and no success."""

    async def fail_once(plan: Plan, folder: Path) -> Outcome:
        if plan.seed == 1:
            raise OSError("the port is taken")
        return Outcome(plan, (), (), {}, 1.0, 0)

    monkeypatch.setattr(run, "play", fail_once)
    assert run.main(["--seeds", "1-2"]) == 1
    printed = capsys.readouterr().out
    assert "the port is taken" in printed
    assert "1 kept every promise, 0 did not, 1 could not be played" in printed


async def test_the_figures_have_a_row_for_each_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the sums of all."""
    outcome = await attacked(monkeypatch, tmp_path, [hostile.drop(says(7))])
    text = markdown([outcome, outcome], ["--plain"])
    assert "interop.chaos.run --plain`" in text
    assert f"Servers: {outcome.software[0]}." in text
    assert text.count("| loopback | 1 | 40 | 39 | 0 | 0 | 0 | 0 | 0 | 1 | 0 | 0 | 0 |") == 2
    assert "| all |  | 80 | 78 | 0 | 0 | 0 | 0 | 0 | 2 | 0 | 0 | 0 |" in text

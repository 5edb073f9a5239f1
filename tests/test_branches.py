"""What is uncovered is told by its words, and only what is judged is let pass."""

from __future__ import annotations

from pathlib import Path

from tests.branches import DOCUMENT, ROOT, judged, uncovered


def test_what_is_missing(tmp_path: Path) -> None:
    """A line that is not executed, and a branch that is not taken, are named by their source; a line counts once."""
    (tmp_path / "a.py").write_text("if x:\n    y = a | b\nz = 1\n")
    report = {"files": {"a.py": {"missing_lines": [2], "missing_branches": [[1, 2], [1, 3], [3, -1]]}}}
    assert set(uncovered(report, tmp_path)) == {
        ("a.py", "y = a \\| b", "nothing"),
        ("a.py", "if x:", "z = 1"),
        ("a.py", "z = 1", "the end"),
    }


def test_a_judgement_has_a_reason() -> None:
    """A row without a reason judges nothing."""
    row = "| `a.py` | `if x:` | `the end` | never \\o/ |\n"
    assert judged(row) == {("a.py", "if x:", "the end")}
    assert not judged("| `a.py` | `if x:` | `the end` |  |\n".replace("|  |", "||"))


def test_judgements_are_of_lines_that_are_there() -> None:
    """docs/coverage.md names lines of today's core."""
    for file, before, after in judged(DOCUMENT.read_text()):
        lines = {line.strip() for line in (ROOT / file).read_text().splitlines()}
        assert before in lines
        assert after in {*lines, "nothing", "the end"}

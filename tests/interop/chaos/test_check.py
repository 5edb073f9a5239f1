"""The verdict of the chaos harness on journals written by hand: each broken promise is found, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from interop.chaos import check
from interop.chaos.check import Broken, Line, What, holds, judge

START, END, KILLED = What.START, What.END, What.KILLED
GIVEN, SENT, DELIVERED, FAILED = What.GIVEN, What.SENT, What.DELIVERED, What.FAILED
HEARD, CLEAR = What.HEARD, What.CLEAR

Note = tuple[float, What, int]


def journal(*notes: Note) -> list[Line]:
    """Return a journal, between the program's start and its end."""
    return [Line(0, START), *(Line(at, what, number, "no way" * (what is FAILED)) for at, what, number in notes), Line(99, END)]


def told(number: int, last: What = DELIVERED) -> list[Note]:
    """Return what a sender notes of a stanza: given at its number, told half a second later."""
    return [(number, GIVEN, number), (number + 0.1, SENT, number), (number + 0.5, last, number)]


def broken(alice: Sequence[Line], bob: Sequence[Line], *, events: bool = True) -> dict[Broken, list[int]]:
    """Return the faults of what Alice sent; Bob's are none."""
    verdict = judge({"alice": alice, "bob": bob}, 0, events=events)
    assert not verdict["bob"].broken
    assert holds(verdict) == (not verdict["alice"].broken)
    return dict(verdict["alice"].broken)


THREE = [*told(1), *told(2), *told(3)]


def test_what_arrives_once_and_in_order_is_well() -> None:
    """Three stanzas, and a fourth of which the sender is told that it failed."""
    alice = journal(*THREE, (4, GIVEN, 4), (5, FAILED, 4))
    bob = journal((1.2, HEARD, 1), (2.2, HEARD, 2), (3.2, HEARD, 3))
    assert broken(alice, bob) == {}
    direction = judge({"alice": alice, "bob": bob}, 0)["alice"]
    assert (direction.given, direction.arrived, direction.delivered, direction.failed) == (4, 3, 3, 1)
    assert direction.reasons == {"no way": 1}
    assert str(direction) == "4 given, 3 arrived, 3 delivered, 1 failed"


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([HEARD, 1, HEARD, 3], {Broken.BELIED: [2]}),
        ([HEARD, 1, HEARD, 2, HEARD, 2, HEARD, 3], {Broken.REPEATED: [2]}),
        ([HEARD, 1, HEARD, 3, HEARD, 2], {Broken.REORDERED: [2]}),
        ([HEARD, 1, HEARD, 2, HEARD, 3, HEARD, 4], {Broken.FOREIGN: [4]}),
        ([HEARD, 1, CLEAR, 2, HEARD, 3], {Broken.IN_CLEAR: [2]}),
    ],
)
def test_what_arrives_otherwise_is_found(heard: list[object], expected: dict[Broken, list[int]]) -> None:
    """Dropped, duplicated, reordered, invented, uncovered."""
    notes = [(4.0 + at, What(str(heard[at])), int(str(heard[at + 1]))) for at in range(0, len(heard), 2)]
    assert broken(journal(*THREE), journal(*notes)) == expected


@pytest.mark.parametrize(
    ("of_alice", "arrived", "expected"),
    [
        ([(1, GIVEN, 1)], False, Broken.LOST),
        ([(1, GIVEN, 1), (2, SENT, 1)], False, Broken.LOST),
        ([(1, GIVEN, 1), (2, SENT, 1)], True, Broken.NO_FINAL),
        ([*told(1), (3, DELIVERED, 1)], True, Broken.TWO_FINALS),
        ([*told(1), (3, FAILED, 1)], True, Broken.TWO_FINALS),
        ([(1, GIVEN, 1), (2, DELIVERED, 1)], True, Broken.NOT_SENT),
        ([(1, GIVEN, 1), (2, FAILED, 1)], True, Broken.CAME_UNSENT),
        (told(1), False, Broken.BELIED),
    ],
)
def test_each_stanza_has_one_true_final_event(of_alice: list[Note], arrived: bool, expected: Broken) -> None:
    """Every other tale of one stanza is a fault."""
    assert broken(journal(*of_alice), journal(*[(1.2, HEARD, 1)] * arrived)) == {expected: [1]}


def test_what_was_under_way_may_arrive_though_it_failed() -> None:
    """It is counted, for whoever would send it again."""
    verdict = judge({"alice": journal(*told(1, FAILED)), "bob": journal((1.2, HEARD, 1))}, 0)
    assert holds(verdict)
    assert verdict["alice"].failed_but_arrived == 1


class TestKilledSender:
    """Alice is killed at 5: what was given and not final then may stay without a final event."""

    def lives(self, *before: Note, after: Sequence[Note] = ()) -> list[Line]:
        return [*journal(*before)[:-1], Line(5, KILLED), *journal(*after)]

    @pytest.mark.parametrize("arrived", [False, True])
    def test_what_was_open_is_excused(self, arrived: bool) -> None:
        """Whether it arrived or not, and whether or not it is told of later."""
        bob = journal(*[(4.5, HEARD, 1)] * arrived)
        assert broken(self.lives((4, GIVEN, 1), (4, SENT, 1)), bob) == {}
        verdict = judge({"alice": self.lives((4, GIVEN, 1), (4, SENT, 1)), "bob": bob}, 0)
        assert verdict["alice"].cut_off == 1
        told_later = self.lives((4, GIVEN, 1), (4, SENT, 1), after=[(6, DELIVERED if arrived else FAILED, 1)])
        assert broken(told_later, bob) == {}

    def test_what_was_final_may_not_be_told_again(self) -> None:
        """Nor may what was open arrive twice, as Bob's memory was not lost."""
        assert broken(self.lives(*told(1), after=[(6, DELIVERED, 1)]), journal((1.2, HEARD, 1))) == {Broken.TWO_FINALS: [1]}
        alice = self.lives((4, GIVEN, 1), (4, SENT, 1), after=[(7, DELIVERED, 1)])
        assert broken(alice, journal((4.5, HEARD, 1), (6, HEARD, 1))) == {Broken.REPEATED: [1]}

    def test_what_came_later_is_not_excused(self) -> None:
        """Nor what was delivered before."""
        assert broken(self.lives(after=[(6, GIVEN, 1)]), journal()) == {Broken.LOST: [1]}
        assert broken(self.lives(*told(1)), journal()) == {Broken.BELIED: [1]}


class TestKilledReceiver:
    """Bob is killed at 5: what he had heard, and Alice did not know of, may come once more, in order."""

    ALICE = journal(*told(1), (2, GIVEN, 2), (2, SENT, 2), (3, GIVEN, 3), (3, SENT, 3), (7, DELIVERED, 2), (7, DELIVERED, 3))

    def lives(self, *after: Note, last: What = KILLED, why: str = "") -> list[Line]:
        before = journal((1.2, HEARD, 1), (2.2, HEARD, 2), (3.2, HEARD, 3))[:-1]
        return [*before, Line(5, last, why=why), *journal(*after)]

    def test_what_was_open_may_come_again(self) -> None:
        """All of it, or the rest."""
        assert broken(self.ALICE, self.lives((6, HEARD, 2), (6, HEARD, 3))) == {}
        assert broken(self.ALICE, self.lives((6, HEARD, 3))) == {}
        assert judge({"alice": self.ALICE, "bob": self.lives((6, HEARD, 3))}, 0)["alice"].repeated == 1

    def test_nothing_else_may(self) -> None:
        """What was final; what comes a third time, out of order, or after an end in order."""
        assert broken(self.ALICE, self.lives((6, HEARD, 1))) == {Broken.REPEATED: [1]}
        assert broken(self.ALICE, self.lives((6, HEARD, 2), (6.1, HEARD, 2))) == {Broken.REPEATED: [2]}
        assert broken(self.ALICE, self.lives((6, HEARD, 3), (6.1, HEARD, 2))) == {Broken.REORDERED: [2]}
        assert broken(self.ALICE, self.lives((6, HEARD, 2), (6, HEARD, 3), last=END)) == {Broken.REPEATED: [2, 3]}

    def test_who_ends_in_order_hears_nothing_again(self) -> None:
        """Though it had no connection, and could tell nobody: it has noted what it has handled."""
        again = self.lives((6, HEARD, 2), (6, HEARD, 3), last=END, why="no connection")
        assert broken(self.ALICE, again) == {Broken.REPEATED: [2, 3]}

    def test_what_came_earlier_is_noted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kill excuses the last moment alone."""
        monkeypatch.setattr(check, "LAST_MOMENT", 2.0)
        assert broken(self.ALICE, self.lives((6, HEARD, 2), (6, HEARD, 3))) == {Broken.REPEATED: [2]}

    def test_what_is_new_must_come_after_what_is_repeated(self) -> None:
        """The order of one life is strict."""
        alice = [*self.ALICE[:-1], *journal(*told(9))[1:]]
        assert broken(alice, self.lives((9.1, HEARD, 9), (9.2, HEARD, 3))) == {Broken.REORDERED: [3]}


def test_a_program_that_falls_silent_is_found() -> None:
    """Else nobody would notice that nothing was tried."""
    assert set(judge({"alice": journal(*THREE), "bob": journal()}, 5)["alice"].broken) == {Broken.BELIED, Broken.NOT_GIVEN}
    assert judge({"alice": journal(*THREE), "bob": journal()}, 5)["bob"].broken == {Broken.NOT_GIVEN: [1, 2, 3, 4, 5]}


@pytest.mark.parametrize("lives", [1, 2])
def test_a_program_that_ends_by_itself_is_found(lives: int) -> None:
    """Which life it was, is told."""
    ended = [*journal(), *journal()] if lives == 2 else journal()
    assert broken(ended[:-1], journal()) == {Broken.CRASHED: [lives]}
    assert broken([*ended[:-1], *journal()], journal()) == {Broken.CRASHED: [lives]}


def test_in_plain_xmpp_what_does_not_arrive_is_lost() -> None:
    """There are no events, and all is in clear."""
    alice = journal((1, GIVEN, 1), (2, GIVEN, 2), (3, GIVEN, 3))
    assert broken(alice, journal((4, CLEAR, 1), (4, CLEAR, 2), (4, CLEAR, 3)), events=False) == {}
    assert broken(alice, journal((4, CLEAR, 1), (4, CLEAR, 1), (4, CLEAR, 3)), events=False) == {
        Broken.REPEATED: [1],
        Broken.LOST: [2],
    }


def test_the_text_quotes_some_numbers() -> None:
    """A verdict on ten thousand lost stanzas stays one line."""
    alice = journal(*((number, GIVEN, number) for number in range(1, 9)))
    verdict = judge({"alice": alice, "bob": journal()}, 0)
    assert "8 lost, and nobody was told: 1, 2, 3, 4, 5 …" in str(verdict["alice"])

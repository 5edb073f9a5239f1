"""The verdict: what two programs noted, against what was promised. It is a function of their journals alone.

Promised is, for each stanza that a program gave to the plugin: it arrives once, in order, and inside a session, or its
sender is told that it failed; and it has exactly one final event, `e2e_delivered` or `e2e_send_failed`.

A program that ends in order (SIGTERM) gets no discount, whether or not it could take leave. This is permitted, and nothing
else, for stanzas that were given and had no final event at that time:

- the program that sent them was killed (SIGKILL): they may be without a final event, whether they arrived or not;
- the program that they are for was killed, in the `LAST_MOMENT` after it had heard them: they may arrive once more after its
  return, in their order. It had handled them, and had yet to note so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

LAST_MOMENT = 5.0
"""Seconds: a program notes within one what it has heard, and later on a machine that has much else to do."""
SHOWN = 5
"""Numbers that the text of a verdict quotes of each kind of problem."""


class What(StrEnum):
    """What a line of a journal notes."""

    START = "start"
    """The program starts."""
    GIVEN = "given"
    """It is about to give a stanza to slixmpp."""
    SENT = "sent"
    """`e2e_sent`."""
    DELIVERED = "delivered"
    """`e2e_delivered`."""
    FAILED = "failed"
    """`e2e_send_failed`."""
    HEARD = "heard"
    """A stanza has arrived, inside a session."""
    CLEAR = "clear"
    """A stanza has arrived outside."""
    END = "end"
    """The program has ended in order. ``why`` says so if it could not take leave of its peer, which excuses nothing."""
    KILLED = "killed"
    """The harness has killed the program. It notes that itself, in the program's journal."""


@dataclass(frozen=True)
class Line:
    """One line of a journal."""

    at: float
    """Seconds of the machine's monotonic clock, which all processes share."""
    what: What
    number: int = 0
    """The stanza's number, from 1 in each direction; 0 for what concerns the program."""
    why: str = ""
    """The error of a stanza that failed, or what kept a program from a farewell."""


FINAL = (What.DELIVERED, What.FAILED)
ARRIVED = (What.HEARD, What.CLEAR)


class Broken(StrEnum):
    """How a promise can be broken."""

    LOST = "lost, and nobody was told"
    BELIED = "told as delivered, and never arrived"
    REPEATED = "arrived twice"
    REORDERED = "arrived after a later one"
    FOREIGN = "arrived, and nobody had given it"
    IN_CLEAR = "arrived outside a session"
    NO_FINAL = "arrived, and has no final event"
    TWO_FINALS = "has several final events"
    NOT_SENT = "told as delivered without e2e_sent"
    CAME_UNSENT = "told as failed without e2e_sent, and arrived"
    NOT_GIVEN = "never given: the program did not come so far"
    CRASHED = "the program did not end in order"


@dataclass
class Direction:
    """The verdict on the stanzas of one program."""

    given: int = 0
    delivered: int = 0
    failed: int = 0
    arrived: int = 0
    failed_but_arrived: int = 0
    """Told as failed, and arrived all the same: nobody can know of what was under way when its time was up."""
    cut_off: int = 0
    """Without a final event, as their sender was killed."""
    repeated: int = 0
    """Arrived twice, as their receiver was killed."""
    reasons: Counter[str] = field(default_factory=Counter)
    """The errors of those that failed."""
    broken: dict[Broken, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The numbers of the stanzas for which a promise was broken."""

    def __str__(self) -> str:
        told = f"{self.given} given, {self.arrived} arrived, {self.delivered} delivered, {self.failed} failed"
        more = {
            "failed but arrived": self.failed_but_arrived,
            "cut off by a kill": self.cut_off,
            "repeated after a kill": self.repeated,
        }
        broken = [f"{len(them)} {promise}: {_quote(them)}" for promise, them in sorted(self.broken.items())]
        return "; ".join([told, *(f"{count} {name}" for name, count in more.items() if count), *broken])


def judge(journals: Mapping[str, Sequence[Line]], stanzas: int, *, events: bool = True) -> dict[str, Direction]:
    """Return the verdict on each of two programs as a sender, by its name.

    ``journals`` are complete: both programs have ended, and each should have given so many ``stanzas``. Without ``events``
    the programs speak plain XMPP: there are no sessions and no events, and whatever did not arrive was lost.
    """
    first, second = journals
    return {
        sender: _judge(journals[sender], journals[receiver], stanzas, events)
        for sender, receiver in ((first, second), (second, first))
    }


def holds(verdict: Mapping[str, Direction]) -> bool:
    """Return whether every promise was kept."""
    return not any(direction.broken for direction in verdict.values())


def _judge(sender: Sequence[Line], receiver: Sequence[Line], stanzas: int, events: bool) -> Direction:
    given = {line.number: line.at for line in sender if line.what is What.GIVEN}
    finals: dict[int, list[Line]] = defaultdict(list)
    for line in sender:
        if line.what in FINAL:
            finals[line.number].append(line)
    open_at = _Open(given, {number: lines[0].at for number, lines in finals.items()})
    result = Direction(given=len(given))
    _check_arrivals(receiver, open_at, result, events)
    arrived = {line.number for line in receiver if line.what in ARRIVED}
    result.arrived = len(arrived & given.keys())
    if events:
        kills = [line.at for line in sender if line.what is What.KILLED]
        left = {line.number for line in sender if line.what is What.SENT}
        for number in given:
            cut_off = any(open_at(number, kill) for kill in kills)
            _check_finals(number, finals[number], number in arrived, number in left, cut_off, result)
    else:
        _note(result, Broken.LOST, sorted(given.keys() - arrived))
    _note(result, Broken.NOT_GIVEN, [number for number in range(1, stanzas + 1) if number not in given])
    _note(result, Broken.CRASHED, _crashes(sender))
    return result


@dataclass(frozen=True)
class _Open:
    """Whether a stanza was given, and had no final event, at some time."""

    given: Mapping[int, float]
    final: Mapping[int, float]

    def __call__(self, number: int, at: float) -> bool:
        return number in self.given and self.given[number] <= at <= self.final.get(number, at)


def _check_arrivals(receiver: Sequence[Line], was_open: _Open, result: Direction, events: bool) -> None:
    """Check that what arrived was given, once and in order.

    Each life of the receiver hears rising numbers. All are greater than any of an earlier life, but for the repetition that
    a kill permits.
    """
    heard: dict[int, float] = {}
    kill, highest, last = 0.0, 0, 0
    for line in receiver:
        if line.what is What.KILLED:
            kill, last = line.at, 0
        if line.what not in ARRIVED:
            continue
        number, before = line.number, heard.get(line.number)
        heard[number] = line.at
        if line.what is What.CLEAR and events:
            result.broken[Broken.IN_CLEAR].append(number)
        if number not in was_open.given:
            result.broken[Broken.FOREIGN].append(number)
        elif before is None:
            if number < highest:
                result.broken[Broken.REORDERED].append(number)
            highest, last = max(highest, number), max(last, number)
        elif events and kill - LAST_MOMENT <= before <= kill and was_open(number, kill):
            result.repeated += 1
            if number < last:
                result.broken[Broken.REORDERED].append(number)
            last = max(last, number)
        else:
            result.broken[Broken.REPEATED].append(number)


def _check_finals(number: int, finals: Sequence[Line], arrived: bool, left: bool, cut_off: bool, result: Direction) -> None:
    """Check what the sender was told of one stanza."""
    whats = [line.what for line in finals]
    if not whats:
        if cut_off:
            result.cut_off += 1
        else:
            result.broken[Broken.NO_FINAL if arrived else Broken.LOST].append(number)
    if len(whats) > 1:
        result.broken[Broken.TWO_FINALS].append(number)
    if What.DELIVERED in whats:
        result.delivered += 1
        if not arrived:
            result.broken[Broken.BELIED].append(number)
        if not left:
            result.broken[Broken.NOT_SENT].append(number)
    elif whats:
        result.failed += 1
        result.reasons[finals[0].why] += 1
        if arrived:
            result.failed_but_arrived += 1
            if not left:
                result.broken[Broken.CAME_UNSENT].append(number)


def _crashes(journal: Iterable[Line]) -> list[int]:
    """Return which lives of a program, counted from 1, ended neither in order nor by our hand."""
    crashes, life, running = [], 0, False
    for line in journal:
        if line.what is What.START:
            if running:
                crashes.append(life)
            life, running = life + 1, True
        elif line.what in (What.END, What.KILLED):
            running = False
    return [*crashes, life] if running else crashes


def _note(result: Direction, how: Broken, numbers: Sequence[int]) -> None:
    if numbers:
        result.broken[how].extend(numbers)


def _quote(numbers: Sequence[int]) -> str:
    more = " …" if len(numbers) > SHOWN else ""
    return ", ".join(str(number) for number in numbers[:SHOWN]) + more

"""The rows of the result: what is compared with what, and which target it has."""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from interop.bench.sizes import FULL
from interop.bench.stage import Samples


class How(enum.Enum):
    """How two numbers of one round are compared."""

    RATIO = enum.auto()
    """Ours divided by the other."""
    DIFFERENCE = enum.auto()
    """Ours less the other."""
    ALONE = enum.auto()
    """Ours as it is."""


class Verdict(enum.Enum):
    """What became of a target."""

    MET = "met"
    MISSED = "**missed**"
    NO_TARGET = ""
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """A bound for the median of what is compared."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Return whether ``value`` is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One measurement of ours, beside another."""

    title: str
    unit: str
    value: str
    """Its name among the samples."""
    target: Target | None = None
    ours: str = "e2e"
    other: str = "plaintext"
    other_value: str = ""
    """The name of the other number, if it is not the same."""
    server: str = "prosody"
    how: How = How.RATIO
    digits: int = 0
    """Digits after the decimal point."""

    def numbers(self, samples: Samples) -> tuple[Sequence[float], Sequence[float]]:
        """Return the other's numbers and ours, one for each round; empty if not measured."""
        of: Any = samples.get(self.server, {})
        other = of.get(self.other, {}).get(self.other_value or self.value, ())
        return other, of.get(self.ours, {}).get(self.value, ())

    def compared(self, samples: Samples) -> list[float]:
        """Return the comparison of each round; empty if something was not measured."""
        other, ours = self.numbers(samples)
        if self.how is How.ALONE:
            return list(ours)
        do = operator.truediv if self.how is How.RATIO else operator.sub
        return [do(b, a) for a, b in zip(other, ours, strict=bool(other and ours))]

    def verdict(self, samples: Samples) -> Verdict:
        """Return whether the median meets the target."""
        if not (compared := self.compared(samples)):
            return Verdict.NOT_MEASURED
        if self.target is None:
            return Verdict.NO_TARGET
        return Verdict.MET if self.target.met(median(compared)) else Verdict.MISSED


def at_most(bound: float) -> Target:
    """The less the better."""
    return Target(bound)


def at_least(bound: float) -> Target:
    """The more the better."""
    return Target(bound, at_least=True)


FLAT = at_most(1.25)
"""A cost does not grow with what else there is; a tenth more or less is chance, and so is what the caches do not hold."""
TRIPS = at_most(3.1)
"""One-way trips: a plaintext message is one."""


def _with_cpu(row: Row, sender: Target | None = None, receiver: Target | None = None) -> Iterator[Row]:
    """Yield a rate, and what a message costs both: rates depend on how the server reads, and CPU does not."""
    yield row
    for side, target in (("sender", sender), ("receiver", receiver)):
        yield Row(
            f"… CPU of the {side}", "µs a message", f"{row.value}_cpu_{side}", target, row.ours, row.other,
            row.other_value and f"{row.other_value}_cpu_{side}", row.server, digits=1,
        )  # fmt: skip


def _rates() -> Iterator[Row]:
    small, per_second = "one way, pipelined, bodies of 200 bytes", "messages/s"
    yield from _with_cpu(Row(small, per_second, "rate", at_least(1.6)), at_most(0.75), at_most(1.5))
    yield Row(
        "… CPU of the receiver, beside plaintext with XEP-0115", "µs a message", "rate_cpu_receiver", at_most(1.3),
        other="caps", digits=1,
    )  # fmt: skip
    yield from _with_cpu(Row("the same, both with XEP-0198", per_second, "rate", at_least(1.9), "e2e_sm", "sm"))
    yield from _with_cpu(Row("the same, Prosody without Nagle", per_second, "rate", server="prompt"))
    yield from _with_cpu(Row("the same, ejabberd", per_second, "rate", at_least(4), server="ejabberd"))
    yield from _with_cpu(
        Row("the same by `session.send_message`", per_second, "direct", at_least(2.5), other_value="rate")
    )
    yield Row("the same, under Debian's limit of 10 kB/s, a hundred messages", per_second, "rate", server="limits", digits=1)
    yield from _with_cpu(Row("bodies of 16 KB", per_second, "large_16k", at_least(0.8)), receiver=at_most(3))
    yield from _with_cpu(
        Row("bodies of 180 KB", per_second, "large_180k", at_least(0.8), digits=1), receiver=at_most(3)
    )
    yield Row("20 MB in stanzas, beside slixmpp's IBB of 4-KiB blocks", "MB/s", "bulk", at_least(3), other="ibb", digits=2)


def _echoes() -> Iterator[Row]:
    target = at_most(1.8)
    for title, ours, other, server in (
        ("a message and its answer", "e2e", "plaintext", "prosody"),
        ("both with XEP-0198: a message and its answer", "e2e_sm", "sm", "prosody"),
        ("Prosody without Nagle: a message and its answer", "e2e", "plaintext", "prompt"),
        ("ejabberd: a message and its answer", "e2e", "plaintext", "ejabberd"),
    ):
        aim = target if server == "prosody" else None
        parts = (("", ""), (", 90th percentile", "_p90"), (", answered after 15 ms (not counted)", "_late"))
        for more, name in parts:
            yield Row(f"{title}{more}", "ms", f"echo{name}", aim, ours, other, server=server, digits=2)
        for side in ("asker", "answerer"):
            aim_cpu = at_most(2) if (ours, server) == ("e2e", "prosody") else None
            yield Row(
                f"… CPU of the {side}", "µs an echo", f"echo_cpu_{side}", aim_cpu, ours, other, server=server
            )
    for delay in ("50", "150"):
        yield Row(f"a message and its answer, {delay} ms a link", "ms", f"echo_{delay}")


def _openings() -> Iterator[Row]:
    yield Row("first message to a new peer", "ms", "first_new", at_most(0.5), digits=1)
    yield Row("first message, keys known", "ms", "first_known", at_most(8), how=How.DIFFERENCE, digits=1)
    for name, server in (("Prosody without Nagle", "prompt"), ("ejabberd", "ejabberd"), ("Debian's limit", "limits")):
        yield Row(f"{name}: first message to a new peer", "ms", "first_new", None, server=server, digits=1)
        yield Row(f"{name}: first message, keys known", "ms", "first_known", None, server=server, how=How.DIFFERENCE, digits=1)
    for delay in ("50", "150"):
        yield Row(f"first message to a new peer, {delay} ms a link", "ms", f"first_new_{delay}", TRIPS)
        yield Row(f"first message, keys known, {delay} ms a link", "ms", f"first_known_{delay}", TRIPS)


def _beside_omemo() -> Iterator[Row]:
    yield from _with_cpu(Row("rate, beside OMEMO", "messages/s", "rate", at_least(40), other="omemo"))
    yield Row("a message and its answer, beside OMEMO", "ms", "echo", at_most(0.2), other="omemo", digits=2)
    yield Row("first message to a new peer, beside OMEMO", "ms", "first_new", at_most(0.3), other="omemo", digits=1)
    for delay in ("50", "150"):
        yield Row(f"the same, {delay} ms a link", "ms", f"first_new_{delay}", other="omemo")
    for name in ("pipelined", "alone"):
        yield Row(f"bytes of a message, {name}, beside OMEMO", "bytes", f"bytes_{name}", other="omemo")


def _sessions() -> Iterator[Row]:
    few, *many = FULL.sessions
    for count in many:
        for side, who in (("opener", "who opened them"), ("accepter", "who accepted them")):
            title = f"{count:,} sessions, {who}"
            yield Row(f"{title}: memory of each", "KiB", f"memory_{side}_{count}", at_most(64), how=How.ALONE, digits=1)
            yield Row(
                f"{title}: idle CPU of 1,000", "ms/s", f"idle_{side}_{count}", at_most(0.5), how=How.ALONE, digits=2
            )
        for value, what in (
            ("stanza_cpu_sender", "CPU to send a stanza"),
            ("stanza_cpu_receiver", "CPU to receive a stanza"),
            ("presence_cpu", "CPU of a presence that comes"),
        ):
            yield Row(
                f"{count:,} sessions: {what}, beside {few} sessions", "µs", f"{value}_{count}", FLAT,
                other="e2e", other_value=f"{value}_{few}", digits=1,
            )  # fmt: skip
        for side in ("opener", "accepter"):
            yield Row(
                f"{count:,} sessions: CPU of an opening, {side}", "ms", f"opening_cpu_{side}_{count}",
                other="e2e", other_value=f"opening_cpu_{side}_{few}", digits=1,
            )  # fmt: skip


def _extended() -> Iterator[Row]:
    for kind, name in (("caps", "XEP-0115"), ("sm", "XEP-0198")):
        yield from _with_cpu(Row(f"plaintext with {name}: one way, pipelined", "messages/s", "rate", ours=kind))
        yield Row(f"plaintext with {name}: a message and its answer", "ms", "echo", ours=kind, digits=2)
        yield Row(f"plaintext with {name}: the same, 90th percentile", "ms", "echo_p90", ours=kind, digits=2)


TABLES: dict[str, tuple[Row, ...]] = {
    "Messages and answers": tuple(_echoes()),
    "Messages one way": tuple(_rates()),
    "First messages": tuple(_openings()),
    "Bytes, of both clients, both ways": tuple(
        Row(f"a message, {name}", "bytes", f"bytes_{name}", at_most(bound))
        for name, bound in (("pipelined", 1.35), ("alone", 2.0))
    ),
    "Beside slixmpp-omemo": tuple(_beside_omemo()),
    "Many sessions in one process": tuple(_sessions()),
    "What plugins of slixmpp cost plaintext": tuple(_extended()),
}
"""The rows by heading. Ratios are to plaintext unless a row says otherwise."""

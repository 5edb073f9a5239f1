"""Sessions open, crossed or one after the other, and break at any byte, and programs start again, while both sides send:
whatever happens, each stanza is delivered once and in order, and acknowledged once."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.resumed import NAMES, World

who = st.sampled_from(NAMES)
which = st.integers(0, 1)


class Machine(RuleBasedStateMachine):
    """Everything that can happen to two hosts and their paths."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(name=who, count=st.integers(1, 3))
    def send(self, name: str, count: int) -> None:
        for _ in range(count):
            self.world.send(name)

    @precondition(lambda self: len(self.world.paths) < 2)
    @rule(name=who, holder=st.sampled_from([None, None, *NAMES]))
    def open(self, name: str, holder: str | None) -> None:
        self.world.open(name, holder=holder)

    @precondition(lambda self: not self.world.paths)
    @rule(name=who)
    def open_whole(self, name: str) -> None:
        self.world.open(name)
        self.world.carry_all()

    @precondition(lambda self: self.world.paths)
    @rule(name=who, which=which, size=st.one_of(st.none(), st.none(), st.integers(1, 2000)))
    def carry(self, name: str, which: int, size: int | None) -> None:
        self.world.carry(self.world.paths[which % len(self.world.paths)], name, size)

    @precondition(lambda self: self.world.paths)
    @rule()
    def carry_all(self) -> None:
        self.world.carry_all()

    @precondition(lambda self: self.world.paths)
    @rule(name=who, which=which, last_words=st.booleans())
    def cut(self, name: str, which: int, last_words: bool) -> None:
        self.world.cut(self.world.paths[which % len(self.world.paths)], name, last_words=last_words)

    @precondition(lambda self: self.world.paths)
    @rule(name=who, which=which)
    def close(self, name: str, which: int) -> None:
        self.world.paths[which % len(self.world.paths)].ends[name].session.close(self.world.now)
        self.world.settle()

    @precondition(lambda self: self.world.paths)
    @rule(name=who, which=which)
    def pin(self, name: str, which: int) -> None:
        self.world.pin(self.world.paths[which % len(self.world.paths)], name)

    @rule(seconds=st.sampled_from([0.1, 0.3, 6.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(name=who, which=st.integers(0, 7))
    def give_up(self, name: str, which: int) -> None:
        host = self.world.hosts[name]
        if host.sent and which < len(host.sent):
            number = list(host.sent)[which]
            host.given_up.add(number)
            host.sent[number].give_up()

    @rule(name=who)
    def restart(self, name: str) -> None:
        self.world.restart(name)

    @invariant()
    def nothing_twice_and_all_in_order(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.finish()


def test_whatever_happens() -> None:
    """Long by ``make hostile``."""
    run_state_machine_as_test(
        Machine, settings=settings(stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None)
    )

"""Play one seed: two programs talk while everything around them fails, and the verdict on what they noted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interop.chaos.check import Broken, Direction, holds, judge
from interop.chaos.client import Orders
from interop.chaos.faults import Fault, Kind, Profile, schedule
from interop.chaos.stage import CLIENTS, STAGES, Program, Stage, until

PLAIN_SECONDS = 10
"""After the last number, the most time for what is on its way in plain XMPP, where nothing waits and much is lost."""
UNSETTLED = {Broken.LOST, Broken.NO_FINAL}


@dataclass(frozen=True)
class Plan:
    """What is played. The same plan has the same faults at the same times."""

    server: str
    """A name in `STAGES`."""
    seed: int
    profile: Profile
    plain: bool = False
    """Speak plain XMPP, with stream management (XEP-0198)."""

    @property
    def to_full_jid(self) -> bool:
        """Programs write to bare and to full JIDs: every second seed does either."""
        return bool(self.seed % 2)

    def __str__(self) -> str:
        kind = "plain XMPP" if self.plain else "encrypted"
        addresses = "full" if self.to_full_jid else "bare"
        return f"{self.server}, seed {self.seed}: {self.profile.stanzas} each way, {kind}, to {addresses} JIDs"


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    plan: Plan
    software: tuple[str, ...]
    """Names and versions of the servers."""
    faults: Sequence[Fault]
    verdict: dict[str, Direction]
    seconds: float
    tracebacks: int
    """In what the programs have printed."""

    @property
    def good(self) -> bool:
        """Return whether every promise was kept."""
        return holds(self.verdict)

    def __str__(self) -> str:
        lines = [f"  {name}: {direction}" for name, direction in self.verdict.items()]
        reasons = [f"    {count} times {why}" for d in self.verdict.values() for why, count in d.reasons.most_common()]
        last = f"  {self.seconds:.0f} s, {self.tracebacks} tracebacks: {'kept' if self.good else 'BROKEN'}"
        return "\n".join([str(self.plan), *(f"  {fault}" for fault in self.faults), *lines, *reasons, last])


async def play(plan: Plan, folder: Path) -> Outcome:
    """Play ``plan`` with the programs' files in ``folder``."""
    start = asyncio.get_running_loop().time()
    async with STAGES[plan.server]() as stage:
        programs = {name: Program(_orders(plan, stage, name, folder), folder / f"{name}.txt") for name in CLIENTS}
        faults = schedule(plan.seed, plan.profile, clients=CLIENTS, servers=list(stage.servers), links=list(stage.links))
        try:
            for program in programs.values():
                program.start()
            await _run(plan, faults, stage, programs)
            await asyncio.gather(*(program.stop() for program in programs.values()))
        finally:
            for program in programs.values():
                program.kill()
        verdict = _verdict(plan, programs)
    tracebacks = sum(program.console().count("Traceback") for program in programs.values())
    return Outcome(plan, stage.software, faults, verdict, asyncio.get_running_loop().time() - start, tracebacks)


def _orders(plan: Plan, stage: Stage, name: str, folder: Path) -> Orders:
    jid, password, ca = stage.accounts[name]
    peer = next(stage.accounts[other][0] for other in CLIENTS if other != name)
    return Orders(
        jid=f"{jid}/chaos",
        password=password,
        peer=f"{peer}/chaos" if plan.to_full_jid else peer,
        port=stage.links[name].port,
        ca=ca,
        journal=str(folder / f"{name}.jsonl"),
        stanzas=plan.profile.stanzas,
        seconds=plan.profile.seconds,
        e2e=None if plan.plain else {"store_path": str(folder / f"{name}.db"), "policy": "require"},
        management=plan.plain,
        seed=plan.seed,
    )


async def _run(plan: Plan, faults: Sequence[Fault], stage: Stage, programs: dict[str, Program]) -> None:
    """Let everything happen, until all is said and all has settled."""
    start = asyncio.get_running_loop().time()
    one_at_a_time = asyncio.Lock()
    async with asyncio.TaskGroup() as tasks:
        for fault in faults:
            tasks.create_task(_happen(fault, start, stage, programs, one_at_a_time))
    await until(plan.profile.seconds, start)
    await _until_none(plan, programs, {Broken.NOT_GIVEN}, plan.profile.settle)
    await _until_none(plan, programs, UNSETTLED, PLAIN_SECONDS if plan.plain else plan.profile.settle)


async def _until_none(plan: Plan, programs: dict[str, Program], broken: set[Broken], seconds: int) -> None:
    """Return when nothing is broken in one of these ways, or after so many seconds."""
    for _ in range(seconds):
        if not any(broken & direction.broken.keys() for direction in _verdict(plan, programs).values()):
            return
        await asyncio.sleep(1)


def _verdict(plan: Plan, programs: dict[str, Program]) -> dict[str, Direction]:
    journals = {name: program.journal() for name, program in programs.items()}
    return judge(journals, plan.profile.stanzas, events=not plan.plain)


async def _happen(fault: Fault, start: float, stage: Stage, programs: dict[str, Program], processes: asyncio.Lock) -> None:
    """Do it at its time, and undo it. A process that takes its time to end delays the next fault of a process."""
    await until(fault.at, start)
    if fault.kind in (Kind.CUT, Kind.DELAY, Kind.DROP):
        await _break_link(fault, stage)
        return
    async with processes:
        if fault.target in programs:
            await _break_program(fault, programs[fault.target])
        else:
            await _break_server(fault, stage)


async def _break_link(fault: Fault, stage: Stage) -> None:
    link = stage.links[fault.target]
    if fault.kind is Kind.CUT:
        link.cuts.extend(fault.cuts)
    link.delay, link.dropping = fault.delay, fault.kind is Kind.DROP
    await asyncio.sleep(fault.seconds)
    link.delay, link.dropping = 0.0, False
    link.cuts.clear()
    if fault.kind is Kind.DROP:
        link.cut_all()


async def _break_program(fault: Fault, program: Program) -> None:
    if fault.kind is Kind.SUSPEND_CLIENT:
        program.suspend()
        await asyncio.sleep(fault.seconds)
        program.resume()
        return
    if fault.kind is Kind.KILL_CLIENT:
        program.kill()
    else:
        await program.stop()
    await asyncio.sleep(fault.seconds)
    program.start()


async def _break_server(fault: Fault, stage: Stage) -> None:
    server = stage.servers[fault.target]
    if fault.kind is Kind.SUSPEND_SERVER:
        server.suspend()
        await asyncio.sleep(fault.seconds)
        server.resume()
        return
    if fault.kind is Kind.KILL_SERVER:
        server.kill()
    else:
        await server.stop()
    await asyncio.sleep(fault.seconds)
    await server.start_again()


def with_stanzas(profile: Profile, stanzas: int | None, seconds: float | None) -> Profile:
    """Return ``profile`` with another number of stanzas, and another time for them."""
    return replace(profile, stanzas=stanzas or profile.stanzas, seconds=seconds or profile.seconds)

"""Attack 54: a server poses as Bob's devices, begins one proof by password after another, and cuts each before the first tag.

It learns nothing, so none is a guess; yet each makes Alice compute. After a few she computes no more for Bob for a while.
"""

from __future__ import annotations

import pytest

from slixmpp_e2e.errors import TooManyRuns
from slixmpp_e2e.verification.run_limiter import RUNS, RunLimiter
from slixmpp_e2e.verification.tasks import SessionTasks
from tests.attacks.impostors import Impostors
from tests.attacks.proof_mitm import SECRETS
from tests.pair import identity
from tests.slixmpp_e2e.env import ALICE, Env, Events, e2e
from xmpp_e2e.authenticate.base import AttemptStarted, Prompt
from xmpp_e2e.negotiate.jingle import Reason
from xmpp_e2e.states import State
from xmpp_e2e.types import Role
from xmpp_loopback.mitm import NOW, MitmSide

BOBS = "bob@localhost"


class Device(MitmSide):
    """One of Bob's, as the server has it. It stops before its tag if it is to cut the run."""

    cuts = True
    at_tag = False

    def _asked(self, question: Prompt) -> None:
        if isinstance(question, AttemptStarted) and self.cuts:
            self.at_tag = True
        else:
            super()._asked(question)


class Scene:
    """Alice, who shares a password with Bob, and the server that is Bob to her."""

    def __init__(self, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
        self._env, self._devices, self.computed = env, Impostors[Device](env), 0
        compute = SessionTasks.compute

        def counted(*call: object) -> None:
            self.computed += 1
            compute(*call)

        monkeypatch.setattr(SessionTasks, "compute", counted)

    async def begin(self) -> None:
        self.alice = await self._env.client(ALICE)
        self.failed = Events(self.alice, "e2e_session_failed")
        e2e(self.alice)._client._store.put_secret(BOBS, "srp", "1", SECRETS["srp"])

    async def run(self, *, cut: bool) -> Device:
        """One run: to its first tag, where it is cut off, or to its end."""
        jid = f"{BOBS}/{len(self._devices.ends)}"
        terms = {"required_methods": ("srp",), "shared_secrets": {"srp": SECRETS["srp"]}}
        device = Device(self._env.server.inject, Role.INITIATOR, jid, ALICE, identity("bob"), **terms)
        device.cuts, device.other = cut, device
        self._devices.ends[jid] = device
        device.session.offer(NOW)
        device.pump()
        while device.failure is None and not device.at_tag and device.session.state is not State.OPEN:
            await self._env.settle(self.alice)
        if device.at_tag:
            device.session.close(NOW, Reason.GONE)
            device.pump()
            await self._env.settle(self.alice)
        return device


async def test_runs_cut_before_a_guess_are_bounded(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no guesses. Bob, who comes half a minute later, is let in."""
    scene = Scene(env, monkeypatch)
    await scene.begin()
    verifier = e2e(scene.alice)._client._verifier
    errors = []
    for _ in range(RUNS.burst + 4):
        await scene.run(cut=True)
        errors.append((await scene.failed.take()).error)
    assert [isinstance(error, TooManyRuns) for error in errors] == [False] * RUNS.burst + [True] * 4
    assert scene.computed == RUNS.burst
    assert not verifier._attempts.is_locked(BOBS, "alice@localhost")
    assert e2e(scene.alice)._client._store.failed_attempts(BOBS, "srp") == 0

    clock = verifier._runs._clock
    monkeypatch.setattr(verifier._runs, "_clock", lambda: clock() + 1 / RUNS.per_second + 1)
    assert (await scene.run(cut=False)).session.state is State.OPEN


async def test_control_unbounded_each_is_computed(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the count there is no end to it."""
    monkeypatch.setattr(RunLimiter, "begin", lambda *_: None)
    scene = Scene(env, monkeypatch)
    await scene.begin()
    for _ in range(RUNS.burst + 4):
        await scene.run(cut=True)
    assert scene.computed == RUNS.burst + 4

"""The event loop's longest pause while Alice and twenty peers prove passwords to each other, all in one process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from slixmpp_e2e.trust import passwords
from tests.attacks.pauses import RUNS, Scene, peers
from tests.slixmpp_e2e.env import ACCOUNTS, Env
from xmpp_e2e.authenticate import power
from xmpp_loopback import LoopbackServer

_power = power.power
TRIES = 3
"""The best of them counts: this machine does other things, too."""


@pytest.mark.slow
async def test_twenty_proofs_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Powers are computed beside the loop. Control: side by side, with Python's, which hold the interpreter there, too."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
    computing: set[int] = set()

    def compute(base: int, exponent: int, modulus: int) -> int:
        computing.add(threading.get_ident())
        return _power(base, exponent, modulus)

    with peers() as jids:
        async with LoopbackServer(accounts=ACCOUNTS) as server:
            env = Env(server, tmp_path)
            scene = Scene(env, jids)
            await scene.begin()
            by_python = await scene.pause(pow)
            by_openssl = [await scene.pause(compute)]
            while min(by_openssl) >= by_python / 2 and len(by_openssl) < TRIES:
                by_openssl.append(await scene.pause(compute))
            await env.end()
    assert len(jids) == RUNS
    assert min(by_openssl) < by_python / 2
    assert computing
    assert threading.get_ident() not in computing

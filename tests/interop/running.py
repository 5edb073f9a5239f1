"""Run scenes as tests, shorter than `make interop` does. Several test files use it, so that they run in parallel."""

from __future__ import annotations

import pytest

from interop.runner import Runner, Scene, scenes
from interop.scenes import (
    debian_limits,
    long_text_then_close,
    many_at_once,
    many_stanzas,
    restarted_bot,
    send_command,
    server_restarts,
    server_stalls,
    suspended_program,
    tie_break,
)
from slixmpp_e2e.trust import passwords
from slixmpp_e2e.trust.trust_file import watcher as declared
from slixmpp_e2e.verification import attempt_limiter
from slixmpp_e2e.xmpp import presence as presences

LIMITED = {"changed_key", "debian_limits", "echo_bot", "first_message", "presence_and_iq", "require_without_e2e"}
LIMITED |= {"long_text_then_close", "many_at_once", "send_command"}
"""The scenes that also run under Debian's limits here. `make interop` runs all of them."""
SWAPPED = {"accept_from", "changed_key", "compare_strings", "cut_connection", "first_message", "key_and_password"}
SWAPPED |= {"peer_offline", "presence_and_iq", "resumed_stream", "shared_key", "shared_password", "stranger", "tie_break"}
SWAPPED |= {"server_restarts", "server_stalls"}
"""The scenes that also run with swapped servers here. `make interop` runs all of them."""


def on_servers(*servers: str) -> pytest.MarkDecorator:
    """Parametrize a test with ``scene`` and ``server``: each scene on each of these servers."""
    combinations = [
        pytest.param(scene, server, id=f"{scene.name}-{server}{'-limited' if scene.setup.limits else ''}")
        for server in servers
        for scene in sorted(scenes(), key=lambda scene: repr(scene.setup))
        if server not in scene.not_on
        and not (scene.setup.limits and scene.name not in LIMITED)
        and not (server == "swapped" and scene.name not in SWAPPED)
    ]
    return pytest.mark.parametrize(("scene", "server"), combinations)


async def run_shortened(monkeypatch: pytest.MonkeyPatch, runner: Runner, scene: Scene, server: str) -> None:
    """Run a scene, shortened if it is a long one."""
    monkeypatch.setattr(tie_break, "TIMES", 3)
    monkeypatch.setattr(many_stanzas, "COUNT", 100)
    monkeypatch.setattr(many_stanzas, "EVERY", 50)
    monkeypatch.setattr(debian_limits, "LETTER", debian_limits.LETTER[:8000])
    monkeypatch.setattr(debian_limits, "COUNT", 10)
    monkeypatch.setattr(long_text_then_close, "TEXT", long_text_then_close.TEXT[:25_000])
    monkeypatch.setattr(many_at_once, "TO_MANY", 12)
    monkeypatch.setattr(many_at_once, "FROM_MANY", 8)
    monkeypatch.setattr(restarted_bot, "CONTACTS", 40)
    monkeypatch.setattr(restarted_bot, "USERS", 40)
    monkeypatch.setattr(send_command, "LENGTHS", send_command.LENGTHS[:1])
    monkeypatch.setattr(suspended_program, "STILL_SECONDS", 9.0)
    monkeypatch.setattr(suspended_program, "SETTINGS", {"step_seconds": 2.0})
    monkeypatch.setattr(server_restarts, "AWAY_SECONDS", 1.0)
    monkeypatch.setattr(server_stalls, "STILL_SECONDS", 6.5)
    monkeypatch.setattr(server_stalls, "STALL_SECONDS", 1.5)
    monkeypatch.setattr(attempt_limiter, "MAX_PASSWORD_ATTEMPTS", 2)
    monkeypatch.setattr(passwords, "MEMORY_KIB", 64)
    monkeypatch.setattr(declared, "POLL_SECONDS", 0.1)
    if scene.name == "peer_offline":
        monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.2)  # wait only briefly for presence that never comes
    await run_scene(runner, scene, server)


async def run_scene(runner: Runner, scene: Scene, server: str) -> None:
    """Run a scene; raise its error with the server's log."""
    result = await runner.run(scene, server)
    if result.error is not None:
        result.error.add_note(result.log)
        raise result.error

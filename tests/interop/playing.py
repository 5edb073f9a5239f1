"""Scenes as tests, shorter than `make interop` plays them; in several files, which run at the same time."""

from __future__ import annotations

import pytest

from interop.scenes import debian_limits, many_stanzas, tie_break
from interop.theatre import Scene, Theatre, scenes
from slixmpp_e2e.trust import passwords
from slixmpp_e2e.trust.trust_file import watcher as declared
from slixmpp_e2e.verification import verifier as proofs
from slixmpp_e2e.xmpp import presence as presences

LIMITED = {"changed_key", "debian_limits", "echo_bot", "first_message", "presence_and_iq", "require_without_e2e"}
"""What is played under Debian's limits here; `make interop` plays everything."""
EXCHANGED = {"accept_from", "changed_key", "compare_strings", "cut_connection", "first_message", "key_and_password"}
EXCHANGED |= {"peer_offline", "presence_and_iq", "resumed_stream", "shared_key", "shared_password", "stranger", "tie_break"}
"""What is played with Alice and Bob in each other's place; the same."""


def played_on(*servers: str) -> pytest.MarkDecorator:
    """A mark for a test of ``scene`` and ``server``: each scene on each of these servers."""
    played = [
        pytest.param(scene, server, id=f"{scene.name}-{server}{'-limited' if scene.setup.limits else ''}")
        for server in servers
        for scene in sorted(scenes(), key=lambda scene: repr(scene.setup))
        if server not in scene.not_on
        and not (scene.setup.limits and scene.name not in LIMITED)
        and not (server == "exchanged" and scene.name not in EXCHANGED)
    ]
    return pytest.mark.parametrize(("scene", "server"), played)


async def play(monkeypatch: pytest.MonkeyPatch, theatre: Theatre, scene: Scene, server: str) -> None:
    """Perform a shorter one, if need be."""
    monkeypatch.setattr(tie_break, "TIMES", 3)
    monkeypatch.setattr(many_stanzas, "COUNT", 100)
    monkeypatch.setattr(many_stanzas, "EVERY", 50)
    monkeypatch.setattr(debian_limits, "LETTER", debian_limits.LETTER[:8000])
    monkeypatch.setattr(debian_limits, "COUNT", 10)
    monkeypatch.setattr(proofs, "GUESSES", 2)
    monkeypatch.setattr(passwords, "MEMORY_KIB", 64)
    monkeypatch.setattr(declared, "LOOK_SECONDS", 0.1)
    if scene.name == "peer_offline":
        monkeypatch.setattr(presences, "ARRIVAL_SECONDS", 0.2)  # who never comes is not waited for
    await perform(theatre, scene, server)


async def perform(theatre: Theatre, scene: Scene, server: str) -> None:
    """Raise what the scene raises, with all that is known of it."""
    result = await theatre.play(scene, server)
    if result.error is not None:
        result.error.add_note(result.log)
        raise result.error

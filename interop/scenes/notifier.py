"""The notifier in docs/examples loses nothing, exits 0 when its peer has acknowledged, and tells when nobody has."""

from __future__ import annotations

from pathlib import Path

from interop import programs
from interop.harness import Harness
from interop.helpers import Events

EXAMPLE = Path(__file__).parents[2] / "docs/examples/notifier.py"
NOT_ON = dict.fromkeys(("federation", "swapped"), "one server is enough for how a program ends")
NOT_LIMITED = "sends little: limits change only how long it takes"


async def run(harness: Harness) -> None:
    """Alice's notifier writes to Bob: at his full and at his bare JID, and when he is offline."""
    bob = await harness.e2e_client("bob")
    heard, ended = Events(bob, "message"), Events(bob, "e2e_session_closed")
    for number, to in enumerate((bob.boundjid.full, bob.boundjid.bare)):
        code, logged = await notify(harness, to, f"The backup is done: {number}")
        assert (code, "Traceback" in logged) == (0, False), logged
        message = await heard.take()
        assert message["body"] == f"The backup is done: {number}"
        assert str(message["e2e"]["assurance"]) == ("known" if number else "vouched")
        assert (await ended.take()).clean
    await harness.log_out(bob)
    code, logged = await notify(harness, bob.boundjid.bare, "Nobody is there")
    assert (code, "Not sent" in logged, "Traceback" in logged) == (1, True, False), logged
    assert harness.find_text("The backup is done", "Nobody is there") == []


async def notify(harness: Harness, to: str, text: str) -> tuple[int, str]:
    """Run the notifier. Return its exit code, and what it has logged."""
    words, password = (harness.jid("alice"), to, text), harness.server.accounts["alice"]
    environment = {"NOTIFIER_PASSWORD": password, "SETTINGS": '{"disconnect_seconds": 5}'}
    async with programs.running(harness, "alice", EXAMPLE, *words, **environment) as program:
        code, _, logged = await program.end()
    return code, logged

"""Who comes back with the same key is known, also after a restart: no longer merely vouched for by the server."""

from __future__ import annotations

from interop.props import Heard, e2e, session
from interop.stage import Stage


async def play(stage: Stage) -> None:
    """Alice meets Bob, meets him again, and meets him once more after he has restarted."""
    alice, bob = await stage.encrypted("alice"), await stage.encrypted("bob")
    changed = Heard(alice, "e2e_key_changed")
    first, theirs = await session(alice, bob)
    assert (str(first.assurance), str(theirs.assurance)) == ("vouched", "vouched")
    assert first.fingerprint == e2e(bob).fingerprint
    await first.close()
    await theirs.ended()

    second, theirs = await session(alice, bob)
    assert (str(second.assurance), str(theirs.assurance)) == ("known", "known")
    await second.close()

    await stage.leave(bob)
    bob = await stage.encrypted("bob")
    third, theirs = await session(bob, alice)
    assert (str(third.assurance), str(theirs.assurance)) == ("known", "known")
    assert theirs.fingerprint == first.fingerprint
    assert not len(changed)

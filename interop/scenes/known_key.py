"""A peer that returns with the same key, even after a restart, is `known` and no longer only `vouched`."""

from __future__ import annotations

from interop.harness import Harness
from interop.helpers import Events, e2e, session


async def run(harness: Harness) -> None:
    """Alice meets Bob, once more, and again after a restart of Bob's."""
    alice, bob = await harness.e2e_client("alice"), await harness.e2e_client("bob")
    changed = Events(alice, "e2e_key_changed")
    first, theirs = await session(alice, bob)
    assert (str(first.assurance), str(theirs.assurance)) == ("vouched", "vouched")
    assert first.fingerprint == e2e(bob).fingerprint
    await first.close()
    await theirs.wait_closed()

    second, theirs = await session(alice, bob)
    assert (str(second.assurance), str(theirs.assurance)) == ("known", "known")
    await second.close()

    await harness.log_out(bob)
    bob = await harness.e2e_client("bob")
    third, theirs = await session(bob, alice)
    assert (str(third.assurance), str(theirs.assurance)) == ("known", "known")
    assert theirs.fingerprint == first.fingerprint
    assert not len(changed)

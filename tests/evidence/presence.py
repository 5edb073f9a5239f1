"""Prints the memory that presence takes when every place is taken: ``python -m tests.evidence.presence``."""

from __future__ import annotations

import time
import tracemalloc
from sys import getsizeof

from slixmpp import Presence

from slixmpp_e2e.xmpp.presence import ADDRESS_BYTES, PLACES, RESOURCES, WRITTEN, PresenceCache

OURS = "bot@bots.example.org"
_MIB = 1024 * 1024


def filled(number: int, size: int = 0, resources: int = 1) -> tuple[PresenceCache, float]:
    """Return what keeps the presence of so many accounts, each with so many resources, and the MiB that it takes.

    ``size``: the bytes of each address, together with ours; 0 for such as people have. The accounts are written to.
    """
    known = PresenceCache(time.monotonic, lambda account: False, places_of_strangers=PLACES)
    tracemalloc.start()
    for account in range(number):
        for resource in range(resources):
            presence = Presence()
            name = f"user-{account}@example.org/device-{resource}."
            presence["from"] = name + "x" * (size - 1 - getsizeof(name) - getsizeof(OURS))
            known.update(OURS, presence)
        known.note_written_to(OURS, f"user-{account}@example.org")
    used = tracemalloc.get_traced_memory()[0] / _MIB
    tracemalloc.stop()
    return known, used


def main() -> None:
    """Print it for the shapes that a crowd has, and for those that an attacker would choose."""
    print("accounts  resources    bytes   MiB")
    for number, size, resources in (
        (25_000, 0, 1),
        (25_000, 0, 2),
        (PLACES, 0, 1),
        (PLACES, ADDRESS_BYTES, 1),
        (PLACES // RESOURCES, ADDRESS_BYTES, RESOURCES),
    ):
        _, used = filled(number, size, resources)
        print(f"{number:8,}  {resources:9}  {size or 'usual':>7}  {used:4.0f}")
    print(f"with {WRITTEN:,} accounts remembered to which we have written")


if __name__ == "__main__":
    main()

"""Measures what a peer can make us keep, and adds it up: ``python -m tests.evidence.memory``, or ``make memory``.

It writes memory.json beside this file, and the table in docs/bounds.md. Each thing is made many times over in a
process of its own, and what the process has grown by is divided (Linux).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from slixmpp import JID, Message

from slixmpp_e2e.messages import queue_limits
from slixmpp_e2e.messages.iq_tracking import (
    ID_BYTES,
    OWED_AFTER_END,
    OWED_AFTER_END_PER_ACCOUNT,
    OWED_PLAINTEXT_PER_ACCOUNT,
    OWED_PLAINTEXT_REPLIES,
)
from slixmpp_e2e.messages.queued import QueuedStanza
from slixmpp_e2e.messages.room_questions import HELD_BYTES, HELD_BYTES_PER_DOMAIN
from slixmpp_e2e.messages.rooms import ROOMS
from slixmpp_e2e.messages.routing import ROUTES
from slixmpp_e2e.session import ENDED_SESSIONS
from slixmpp_e2e.sessions import memory
from slixmpp_e2e.sessions.admission import limits
from slixmpp_e2e.sessions.admission.allow_list import OFFERED
from slixmpp_e2e.sessions.admission.rate_limit import NAMES
from slixmpp_e2e.sessions.driver import SessionDriver
from slixmpp_e2e.sessions.registry import ENDED
from slixmpp_e2e.trust.peer_settings import CACHED_PEERS
from slixmpp_e2e.xmpp.emitter import TOLD
from slixmpp_e2e.xmpp.presence import PLACES, WRITTEN
from tests import pair
from tests.pair import Side, config, identity, talk
from tests.slixmpp_e2e.sessions.test_driver import Harness
from xmpp_e2e.session import Session
from xmpp_e2e.stream import reader
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.connection import HANDSHAKE_BYTES
from xmpp_e2e.types import KnownKeys, Role

KEPT = Path(__file__).with_name("memory.json")
DOCUMENT = Path(__file__).parents[2] / "docs" / "bounds.md"
_SHOWN = re.compile(r"^\| MiB \| one account .*\n(\|.*\n)+", re.MULTILINE)
NUMBER = 200
"""Things of each kind."""
KIB, MIB = 1024, 1024 * 1024
JID_BYTES = 3071
"""The longest JID (RFC 7622 §3.1)."""
PLACE = 750
"""Bytes for a resource whose presence is kept, with addresses as long as one place holds (``tests.evidence.presence``)."""
TREE = 40
"""Bytes of memory for a byte of XML, at most, as ElementTree has it (``test_reader_memory``)."""

SHARES = (memory.STRANGERS_PER_DOMAIN, memory.STRANGERS, memory.EVERYBODY)
QUEUE_SHARES = (queue_limits.FULL_STRANGERS_PER_DOMAIN, queue_limits.FULL_STRANGERS, queue_limits.FULL_ACCOUNTS)
TABLES = (5 * NAMES, OFFERED, ROUTES, CACHED_PEERS, WRITTEN, 2 * ROOMS, TOLD, 2 * ENDED)
"""Names in tables that strangers can fill."""

Made = list[object]
"""What is kept in memory while it is measured."""


def large_identity(size: int) -> OwnKey:
    """A key in a certificate with ``size`` bytes that nobody needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "large")])
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(size))
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).add_extension(extra, False)
    made = builder.not_valid_after(datetime(2050, 1, 1, tzinfo=UTC)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return OwnKey(made.public_bytes(serialization.Encoding.DER), private)


def names(number: int) -> bytes:
    """Whole stanzas that make a reader hold as much as it ever does between two of them."""
    long = b"n" * 250
    kept = b"".join(b"<a%x/>" % (number * 100 + each) for each in range(reader.RENEWAL_MEMORY // 900))
    stanzas = b"<message><q xmlns='" + long + b"'>" + kept + b"</q></message>"
    attributes = count()
    while len(stanzas) < reader.RENEWAL_BYTES - 1500:
        stanzas += b"<message a%x=''/>" % next(attributes)
    return stanzas


def alone(harness: Harness, said: bytes = b"") -> SessionDriver:
    """An open session that has read this, without its peer's end."""
    driver = harness.open()
    if said:
        talk(harness.bob.session).out._write(said)
        harness.answer()
        harness.loop.pass_time(0)
    assert driver.is_open
    harness.bob = Side(Session(Role.RESPONDER, config("bob"), KnownKeys()))
    harness.heard.clear()
    return driver


async def open_session(number: int) -> object:
    """An open session with an honest peer."""
    return alone(Harness())


async def hostile_session(number: int) -> object:
    """One whose peer has a certificate as large as may be, and has sent ever new names."""
    return hostile(names(number), memory.MemoryBudget(lambda account: True))


def hostile(said: bytes, budget: memory.MemoryBudget) -> SessionDriver:
    """An open session whose peer has a certificate as large as may be, and has said this."""
    harness = Harness()
    harness.bob.session = Session(Role.RESPONDER, config("bob", own_key=LARGE, fast_open=False), KnownKeys())
    harness.driver._budget = budget
    return alone(harness, said)


async def hostile_account(number: int) -> object:
    """As many sessions as one account may have, of which as many as may hold a stanza that never ends."""
    budget = memory.MemoryBudget(lambda account: True)
    drivers = [hostile(names(each), budget) for each in range(limits.SESSIONS_PER_PEER)]
    for driver in drivers:
        if budget.used < memory.ACCOUNT_MEMORY - 2 * MIB:
            talk(driver.core)._reader.feed(b"<message>" + b"<a b=''/>" * 4000)
            assert talk(driver.core)._reader.next_event() is None
            budget.update(driver)
    assert budget.used > memory.ACCOUNT_MEMORY - 4 * MIB
    return drivers


async def half_open_session(number: int) -> object:
    """One in whose handshake the peer has sent as much as may be, and nothing that is complete."""
    alice = Session(Role.INITIATOR, config("alice", fast_open=False), KnownKeys())
    bob = Session(Role.RESPONDER, config("bob"), KnownKeys())
    alice.offer(0)
    bob.receive_jingle(alice.jingle_to_send()[0], 0)
    bob.next_event()
    bob.accept_offer(0)
    bob.jingle_to_send()
    bob.bytestream_ready(0)
    hello = b"\x01" + (120_000).to_bytes(3) + b"\x03\x03" + bytes(HANDSHAKE_BYTES - 300)
    for start in range(0, len(hello), 16_000):
        piece = hello[start : start + 16_000]
        bob.receive_data(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece, 0)
    assert bob.state.value == "handshaking"
    return bob


async def ended_session(number: int) -> object:
    """What is left of a session that has ended."""
    harness = Harness()
    driver = harness.open()
    driver.close()
    harness.loop.pass_time(0)
    harness.assert_nothing_is_left()
    harness.bob = Side(Session(Role.RESPONDER, config("bob"), KnownKeys()))
    harness.heard.clear()
    return driver


async def queued_stanza(number: int) -> object:
    """A short message that waits for a session."""
    stanza = Message()
    stanza["to"], stanza["body"], stanza["id"] = JID(f"bob{number}@localhost/b"), f"hello {number}", f"{number:032x}"
    item = QueuedStanza(stanza, "alice@localhost/a", f"bob{number}@localhost/b", 150, ())
    item.deadline = asyncio.get_running_loop().call_later(10_000, print)
    return item


LARGE = large_identity(50_000)
MAKERS: dict[str, tuple[Callable[[int], Coroutine[Any, Any, object]], float]] = {
    "session": (open_session, 1),
    "hostile session": (hostile_session, 1),
    "half-open session": (half_open_session, 1),
    "hostile account": (hostile_account, 1 / 40),
    "ended session": (ended_session, 1),
    "queued stanza": (queued_stanza, 100),
}
"""How to make one, and how many times as many are made."""


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def _grow(name: str, number: int) -> int:
    pair.dice = lambda seed: os.urandom  # the tests' own dice keep what they have thrown
    maker, times = MAKERS[name]
    number = int(number * times)
    made: Made = [await maker(each) for each in range(1 + number // 4)]  # what the first ones load is shared
    before = _resident()
    made += [await maker(each) for each in range(number)]
    return (_resident() - before) // number


def measure(number: int = NUMBER) -> dict[str, int]:
    """Bytes for each thing."""
    identity("mallory")
    command = [sys.executable, "-m", "tests.evidence.memory", str(number)]
    root = Path(__file__).parents[2]
    return {
        name: int(subprocess.run([*command, name], cwd=root, check=True, capture_output=True, text=True).stdout)
        for name in MAKERS
    }


class Row(NamedTuple):
    """What is kept, and how much of it in MiB for one account, the strangers of one domain, all strangers, and in all."""

    what: str
    mib: tuple[int, int, int, int]


def _row(what: str, *sizes: float) -> Row:
    account, domain, strangers, everybody = (-int(-size // MIB) for size in sizes)
    return Row(what, (account, domain, strangers, everybody))


def rows(cost: dict[str, int]) -> list[Row]:
    """All that peers can make us keep, with the sum as the last."""
    session = max(cost["hostile session"], cost["half-open session"])
    counts = (limits.SESSIONS_PER_PEER, limits.SESSIONS_PER_DOMAIN, limits.SESSIONS // 2, limits.SESSIONS)
    waiting = queue_limits.QUEUE_BYTES + queue_limits.QUEUE_STANZAS * cost["queued stanza"]
    ended = ENDED_SESSIONS * cost["ended session"]
    owed = 200 + 4 * ID_BYTES + 2 * JID_BYTES
    name = 400 + JID_BYTES
    strangers = name * sum(TABLES)
    found = [
        _row("sessions that they open", *(session * each for each in counts)),
        _row("sessions that we open with them", *(session * each for each in counts)),
        _row("what these hold", *(memory.ACCOUNT_MEMORY * each for each in (1, *SHARES))),
        _row("what waits for a session", *(waiting * each for each in (1, *QUEUE_SHARES))),
        _row("sessions that have ended", *[ended] * 4),
        _row("answers owed in plaintext", OWED_PLAINTEXT_PER_ACCOUNT * owed, *[OWED_PLAINTEXT_REPLIES * owed] * 3),
        _row("answers owed after a session", OWED_AFTER_END_PER_ACCOUNT * owed, *[OWED_AFTER_END * owed] * 3),
        _row("messages that may be a room's", *(TREE * each for each in (*[HELD_BYTES_PER_DOMAIN] * 2, *[HELD_BYTES] * 2))),
        _row("presence", 16 * PLACE, *[PLACES * PLACE] * 3),
        _row("other names, as long as may be", len(TABLES) * 16 * name, *[strangers] * 3),
    ]
    sums = [sum(row.mib[column] for row in found) for column in range(4)]
    return [*found, Row("**in all**", (sums[0], sums[1], sums[2], sums[3]))]


def table(cost: dict[str, int]) -> str:
    """As docs/bounds.md shows it."""
    lines = ["| MiB | one account | strangers of one domain | all strangers | everybody |", "|---|--:|--:|--:|--:|"]
    return "\n".join([*lines, *(f"| {what} | {' | '.join(f'{each:,}' for each in mib)} |" for what, mib in rows(cost))])


def kept() -> dict[str, int]:
    """What was measured last."""
    cost: dict[str, int] = json.loads(KEPT.read_text(encoding="utf-8"))
    return cost


def main() -> None:
    """Measure one thing, in a process of its own; or all of them."""
    if len(sys.argv) > 2:
        print(asyncio.run(_grow(sys.argv[2], int(sys.argv[1]))))
        return
    cost = measure()
    KEPT.write_text(json.dumps(cost, indent=2) + "\n", encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_SHOWN.sub(lambda shown: table(cost) + "\n", document), encoding="utf-8")
    for name, size in cost.items():
        print(f"{name}: {size / 1000:.1f} kB")
    print(table(cost))


if __name__ == "__main__":
    main()

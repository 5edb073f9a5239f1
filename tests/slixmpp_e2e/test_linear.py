"""What one session more costs does not depend on how many there are: operations are counted, not seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP, Iq, Message

from slixmpp_e2e.messages import queue as outbox
from slixmpp_e2e.messages.iq_tracking import InsideIqs
from slixmpp_e2e.messages.queue import Outbox, Route
from slixmpp_e2e.sessions.admission.limits import Limits
from slixmpp_e2e.sessions.registry import Sessions
from slixmpp_e2e.xmpp.iq_channel import OwnIqs
from tests.slixmpp_e2e.world import ALICE
from xmpp_e2e.errors import TransportFailed
from xmpp_e2e.identity import Role
from xmpp_e2e.stages import Stage
from xmpp_loopback import no_tls

FEW, MANY = 30, 240


def operations(act: Callable[[], object]) -> int:
    """How many instructions of Python the plugin executes in ``act``."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "slixmpp_e2e" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


class Fake:
    """As much of a link, and of a core session, as the registry looks at."""

    is_open, is_writable, stage, role = False, False, Stage.OFFERED, Role.INITIATOR

    def __init__(self, number: int) -> None:
        self.ours, self.peer, self.sid = ALICE, f"user{number}@host{number % 7}.test/x", f"sid{number}"

    def offer(self) -> None:
        """Nothing is sent."""


class Host:
    """As much of the plugin as these need."""

    hold_seconds, hold_bytes = 300.0, outbox.HOLD_BYTES
    loop: Any = None

    def __init__(self) -> None:
        self.made = 0

    def new_session(self, *args: Any) -> Any:
        """The next one."""
        self.made += 1
        return Fake(self.made - 1)

    def new_link(self, session: Any) -> Any:
        """The same."""
        return session

    def send_failed(self, stanza: Any, error: Any) -> None:
        """Nobody hears it."""


def registry(number: int) -> tuple[Sessions, list[Any]]:
    """So many sessions that we offer."""
    host: Any = Host()
    sessions = Sessions(host, host, host, lambda: 0.0, Limits())
    links: list[Any] = [sessions.ensure(ALICE, f"user{i}@host{i % 7}.test/x") for i in range(number)]
    for link in links:
        sessions.connected(link, link.sid)
        sessions.capacity.enter(link, link.peer, acquainted=True)
    return sessions, links


def looking_up(number: int) -> Callable[[], object]:
    """Each session is found to be sent through."""
    sessions, links = registry(number)
    return lambda: [sessions.between(link.ours, link.peer) for link in links]


def opening(number: int) -> Callable[[], object]:
    """Each session opens."""
    sessions, links = registry(number)

    def act() -> None:
        for link in links:
            sessions.opened(link)

    return act


def ending(number: int) -> Callable[[], object]:
    """Each session ends."""
    sessions, links = registry(number)

    def act() -> None:
        for link in links:
            sessions.ended(link)
            sessions.finished(link)
        assert not list(sessions)
        left = (sessions._streams, sessions._stream_of, sessions._accounts, sessions.capacity)
        assert [len(kept) for kept in left] == [0, 0, 0, 0]

    return act


def admitting(number: int) -> Callable[[], object]:
    """One more knocks for each that is there."""
    sessions, links = registry(number)
    everybody = sessions.capacity
    for link in links:
        everybody.arrive(link)

    def act() -> None:
        for link in links:
            everybody.listens(link.peer, 0.0, contact=False)
            everybody.make_room(link.peer, acquainted=False)

    return act


def unanswered_iqs(number: int) -> Callable[[], object]:
    """Each who asked is gone, with two questions unanswered."""
    iqs = OwnIqs(ClientXMPP(ALICE, "", ssl_context=no_tls()))
    owners = [object() for _ in range(number)]
    for owner in owners * 2:
        iqs.request(ALICE, "bob@b.test/x", Element("{urn:x}x"), lambda condition: None, owner)

    def act() -> None:
        for owner in owners:
            iqs.gone(owner)
        assert (iqs._waiting, iqs._asked_by) == ({}, {})

    return act


def answers_inside(number: int) -> Callable[[], object]:
    """Each session's peer has asked something inside, and is answered; then the session is over."""
    inside = InsideIqs()
    links: list[Any] = [Fake(i) for i in range(number)]
    answers = []
    for link in links:
        request, answer = Iq(), Iq()
        request["type"], request["id"], answer["type"], answer["id"], answer["to"] = "get", "i", "result", "i", link.peer
        inside.came(request, link)
        answers.append(answer)

    def act() -> None:
        for answer, link in zip(answers, links, strict=True):
            assert inside.owes(answer) is link
            inside.forget(link)
        assert not inside._owed

    return act


def failing_routes(number: int) -> Callable[[], object]:
    """Each session to which a way leads fails."""
    host: Any = Host()
    box = Outbox(host)
    targets = [(ALICE, Fake(i).peer) for i in range(number)]
    for target in targets:
        box._routes[target] = box._routes[ALICE, target[1].partition("/")[0]] = Route(False, (target,))

    def act() -> None:
        for target in targets:
            box.fail(target, TransportFailed("x"))
        assert not box._routes

    return act


class Clock:
    """As much of an event loop as keeps timers."""

    def __init__(self) -> None:
        self.timers: list[tuple[Callable[..., None], Any]] = []

    def call_later(self, seconds: float, act: Callable[..., None], item: Any) -> Any:
        """Keep it."""
        self.timers.append((act, item))
        return self

    def time(self) -> float:
        """It stands still."""
        return 0.0

    def cancel(self) -> None:
        """Nothing happens any more anyway."""


def expiring(number: int) -> Callable[[], object]:
    """Each stanza has waited too long, each for another address."""
    host: Any = Host()
    host.loop = clock = Clock()
    host.link_to = lambda target: Fake(0)
    box = Outbox(host)
    for i in range(number):
        to = Fake(i).peer
        box._routes[ALICE, to] = Route(False, ((ALICE, to), (ALICE, to + "y")))
        message = Message()
        message["to"] = to
        box.send(message, ALICE, to)

    def act() -> None:
        for expire, item in clock.timers:
            expire(item)
        assert not any(box._queues.values())
        assert (box._held, box._held_in_all) == ({}, (0, 0))

    return act


@pytest.mark.parametrize(
    "prepare",
    [looking_up, opening, ending, admitting, unanswered_iqs, answers_inside, failing_routes, expiring],
)
async def test_so_many_times_as_many_cost_so_many_times_as_much(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Eight times as many cost about eight times as much, not sixty-four."""
    operations(prepare(FEW))  # Python 3.12 and 3.13 count from the second time on that a function is traced
    few, many = operations(prepare(FEW)), operations(prepare(MANY))
    assert few > 0
    assert many < few * MANY / FEW * 1.25

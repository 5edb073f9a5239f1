"""How often a stanza on its way out goes from one module of the plugin to another: each is a step for its reader, too."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

from slixmpp import ClientXMPP

import slixmpp_e2e
from slixmpp_e2e.messages.outgoing import OutgoingFilter
from slixmpp_e2e.sessions.driver import SessionDriver
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events

OPEN_SESSION, FIRST_MESSAGE = 8, 160
"""So many calls at most."""
_PLUGIN = f"{Path(slixmpp_e2e.__file__).parent}/"
_BEGIN, _END = OutgoingFilter.filter_outgoing.__code__, SessionDriver.send.__code__

is_peer: ContextVar[bool] = ContextVar("is_peer", default=False)
"""True in all that the peer's client does: its tasks and callbacks inherit the context in which it was made."""


class Calls:
    """Counts the calls of one client from one file of the plugin to another, from the filter until a session has a stanza."""

    def __init__(self) -> None:
        self.between: Counter[str] = Counter()
        self.has_begun = self.is_over = False

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or self.is_over or is_peer.get():
            return
        self.has_begun |= frame.f_code is _BEGIN
        if not self.has_begun or frame.f_back is None:
            return
        codes = (frame.f_back.f_code, frame.f_code)
        files = {code.co_filename for code in codes}
        if len(files) == 2 and all(name.startswith(_PLUGIN) for name in files):
            self.between[" -> ".join(f"{code.co_filename.removeprefix(_PLUGIN)} {code.co_name}" for code in codes)] += 1
        self.is_over = frame.f_code is _END

    def __str__(self) -> str:
        lines = (f"{count:4} {names}" for names, count in self.between.most_common())
        return "\n".join((f"{self.between.total()} calls between modules:", *lines))


@contextmanager
def counted() -> Iterator[Calls]:
    calls, before = Calls(), sys.getprofile()
    sys.setprofile(calls.profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)
    assert calls.is_over


async def two(env: Env) -> tuple[ClientXMPP, Events]:
    async def peer() -> ClientXMPP:
        is_peer.set(True)
        return await env.client(BOB)

    alice, bob = await env.client(ALICE), await asyncio.create_task(peer())
    await env.settle(alice, bob)
    return alice, Events(bob, "message")


async def test_a_message_through_an_open_session_passes_few_modules(env: Env) -> None:
    alice, heard = await two(env)
    for _ in range(2):  # the first opens the session, and with the second the route is known again
        alice.send_message(mto=BOB, mbody="hello", mtype="chat")
        await heard.take()
    with counted() as calls:
        alice.send_message(mto=BOB, mbody="hello", mtype="chat")
        await heard.take()
    assert calls.between.total() <= OPEN_SESSION, str(calls)


async def test_the_first_message_of_a_session_passes_not_many_modules(env: Env) -> None:
    alice, heard = await two(env)
    with counted() as calls:
        alice.send_message(mto=BOB, mbody="hello", mtype="chat")
        await heard.take()
    assert calls.between.total() <= FIRST_MESSAGE, str(calls)

"""Two clients on a server that delays, splits and merges, which a session survives, or that reorders, replays, loses and
flips, which ends it aloud: nothing partial, nothing in clear."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.alarms import words
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, block, e2e, echo, until
from xmpp_e2e.errors import BytestreamFailed, E2EError, TLSFailed
from xmpp_loopback import Direction, Hook, LoopbackServer, hostile, online, paths

SECRET = "the treasure is under the oak"
BIG = SECRET + "." * 40_000
"""Takes ten blocks."""

PATHS: dict[str, paths.BytePath] = {
    "split": paths.split(400),
    "merged": paths.merge,
    "merged, then split": paths.then(paths.merge, paths.split(1500)),
    "late": paths.late(0.001),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_a_session_does_not_care_how_bytes_come(env: Env, path: paths.BytePath) -> None:
    """Split in the middle of a stanza, many stanzas at once, a little late: messages come and go, in order, all inside."""
    env.server.path = path
    alice, bob = await env.pair(policy="require")
    echo(bob)
    replies = Events(alice, "message")
    said = [SECRET, BIG, f"{SECRET}!"]
    for body in said:
        alice.send_message(mto=BOB, mbody=body, mtype="chat")
    assert await replies.bodies(3) == [f"echo: {body}" for body in said]
    assert env.in_clear(SECRET) == []


async def until_heard(env: Env, delay: hostile.Delay, heard: Events, *clients: ClientXMPP) -> float:
    """Let time pass until something is heard; when that was."""
    while not len(heard):
        await env.settle(*clients)
        if len(heard):
            break
        delay.advance()
    return delay.now


@pytest.mark.parametrize(
    ("there", "back", "expected"), [(1.0, 1.0, 3.0), (1.0, 10.0, 12.0), (300.0, 300.0, 900.0)], ids=["even", "uneven", "moon"]
)
async def test_a_session_survives_delay_and_opens_in_three_trips(
    env: Env, there: float, back: float, expected: float
) -> None:
    """The first message to somebody whose features are known is there after three one-way trips, whichever way is slow; no
    real time passes, so the deadlines do not either."""
    alice, bob = await env.pair(policy="require")
    link, _ = await env.session(alice, bob)
    await until(link.close())
    await env.settle(alice, bob)
    delay = hostile.Delay(env.server, lambda sender, to: there if sender == ALICE else back)
    env.server.hooks.append(delay)
    heard, started = Events(bob, "message"), Events(bob, "e2e_session_opened")
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert await until_heard(env, delay, heard, alice, bob) == expected
    assert await heard.bodies(1) == [SECRET]
    assert (await started.take()).session.is_open
    assert env.in_clear(SECRET) == []


def from_alice(stanza: Element, sender: str) -> bool:
    return sender == ALICE and block(stanza, sender)


def third(hook: Callable[[hostile.Matches], Hook]) -> Callable[[], Hook]:
    """The hook for the third block of Alice's that comes by, and no other."""

    def fresh() -> Hook:
        passed = 0

        def matches(stanza: Element, sender: str) -> bool:
            nonlocal passed
            passed += from_alice(stanza, sender)
            return passed == 3 and from_alice(stanza, sender)

        return hook(matches)

    return fresh


ABUSES: dict[str, tuple[Callable[[], Hook], type[E2EError]]] = {
    "reordered": (lambda: hostile.reorder(from_alice), BytestreamFailed),
    "replayed": (third(hostile.duplicate), BytestreamFailed),
    "lost": (third(hostile.drop), BytestreamFailed),
    "flipped": (lambda: hostile.only(ALICE, hostile.flip_ibb_block(2)), TLSFailed),
    "without its number": (third(lambda hits: hostile.where(hits, hostile.strip_attribute(DATA, "seq"))), BytestreamFailed),
    "emptied": (third(lambda hits: hostile.where(hits, hostile.strip_element(DATA))), E2EError),
}
DATA = "{http://jabber.org/protocol/ibb}data"


@pytest.mark.parametrize(("abuse", "error"), ABUSES.values(), ids=ABUSES.keys())
async def test_an_abused_session_ends_aloud(env: Env, abuse: Callable[[], Hook], error: type[E2EError]) -> None:
    """What was said before has arrived; of the stanza under way nothing is delivered, Bob hears that the end was unclean and
    what it may be, and Alice that the session is over. Neither says a word in clear."""
    alice, bob = await env.pair(policy="require")
    await env.session(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="before", mtype="chat")
    assert await heard.bodies(1) == ["before"]
    ends = [Events(client, "e2e_session_closed") for client in (bob, alice)]
    env.server.hooks.append(abuse())
    alice.send_message(mto=BOB, mbody=BIG, mtype="chat")
    for number, end in enumerate(ends):
        detail = (await end.take())
        assert not detail.clean
        assert isinstance(detail.error, error if number == 0 else E2EError)
        assert words(detail.error).attack
    await env.settle(alice, bob)
    came = await heard.bodies(len(heard))
    assert came in ([], [BIG])  # what only lost its path comes in the next session, whole and once
    assert env.in_clear(SECRET) == []


@pytest.mark.parametrize("raw", [b"\xff\xfe<", b"</stream:stream>"], ids=["no text", "the end"])
async def test_garbage_on_the_clients_stream_ends_the_session_aloud(env: Env, raw: bytes) -> None:
    """Bytes that are no XMPP: the client's stream ends, and with it the session, which says so; what is said afterwards does
    not leave in clear."""
    alice, bob = await env.pair(policy="require")
    await env.session(alice, bob)
    ended, over = Events(alice, "e2e_session_closed"), Events(alice, "disconnected")
    env.server.inject(ALICE, raw)
    await over.take()
    assert not (await ended.take()).clean
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    await online(alice, env.server)
    await env.settle(alice, bob)
    assert env.in_clear(SECRET) == []


async def test_an_impersonated_peer_gets_nothing(env: Env) -> None:
    """Carol's stanzas come in Bob's name: the blocks end no session of Bob's, the offer opens none, the words are refused."""
    alice, bob = await env.pair(policy="require")
    carol = await env.client("carol@localhost/c", load=False)
    await env.session(alice, bob)
    env.server.hooks.append(hostile.only("carol@localhost", hostile.impersonate(BOB)))
    refused, heard = Events(alice, "e2e_plaintext_refused"), Events(alice, "message")
    carol.send_message(mto=ALICE, mbody="believe me", mtype="chat")
    forged = carol.make_iq_set(ito=ALICE)
    forged.xml.append(Element(DATA, {"sid": "guessed", "seq": "0"}))
    forged.send()
    assert (await refused.take()).stanza["body"] == "believe me"
    bob.send_message(mto=ALICE, mbody=SECRET, mtype="chat")
    assert await heard.bodies(1) == [SECRET]
    assert [link.is_open for link in e2e(alice).sessions()] == [True]
    assert env.in_clear(SECRET) == []


async def test_control_left_alone_it_arrives(env: Env) -> None:
    """Control: the same message on an honest server arrives, in ten blocks that the server saw."""
    alice, bob = await env.pair(policy="require")
    await env.session(alice, bob)
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody=BIG, mtype="chat")
    assert await heard.bodies(1) == [BIG]
    assert blocks(env.server) >= 10


def blocks(server: LoopbackServer) -> int:
    return sum(one.direction is Direction.SENT and one.client == BOB and "<data" in one.text for one in server.handled)

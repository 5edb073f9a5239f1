"""A peer who holds the right key and says whatever comes to mind: hypothesis puts streams together from pieces.

What must come of each is told by a model of docs/protocol.md §4 to §7 that is a dozen lines long: header, hello, done, then
stanzas, then a farewell; what is said in that order counts, up to the first thing that is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks import hostile_peer
from tests.attacks.test_38_out_of_turn import UNTRUSTED
from tests.pair import Pair, config, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.errors import E2EError
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.inner.gate import EARLY_BUFFER_BYTES
from xmpp_e2e.session import Session
from xmpp_e2e.states import TRANSITIONS, State, Trigger
from xmpp_e2e.stream import writer
from xmpp_e2e.types import Assurance, Role

HEADER, HELLO, DONE, STANZA, FAREWELL, SPACE = "header", "hello", "done", "stanza", "farewell", "space"
WORDS: dict[str, bytes] = {
    DONE: hostile_peer.DONE,
    FAREWELL: b"</stream:stream>",
    SPACE: b" \n\t",
    "abort": b"<abort xmlns='urn:x-xmpp-e2e:auth:0'/>",
    "step": b"<step xmlns='urn:x-xmpp-e2e:auth:0' method='psk'><x/></step>",  # a good one may be a question, and is answered
    "stream error": b"<stream:error><gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "empty error": b"<stream:error/>",
    "comment": b"<!-- -->",
    "instruction": b"<?x?>",
    "CDATA between": b"<![CDATA[]]>",
    "text": b"words ",  # with a blank: before a root, expat waits for the end of a word
    "entity": b"&x;",
    "DTD": b"<!DOCTYPE x>",
    "another's done": b"<done xmlns='urn:example'/>",
    "no namespace": b"<done xmlns=''/>",
    "a stanza of another namespace": b"<message xmlns='jabber:server'/>",
    "half a tag": b"<message",
    "half a stanza": b"<message><body>half",
    "an end too many": b"</message>",
    "bad UTF-8": b"\xff",
    "declaration": b"<?xml version='1.0'?>",
    "byte order mark": b"\xef\xbb\xbf",
}
MALFORMED = (*(f"hello: {what}" for what in ("role", "sid", "neg", "need", "no neg", "child")), "header: to", "header: ns")
ORDER = (HEADER, HELLO, DONE)


def pieces() -> st.SearchStrategy[list[str]]:
    """Streams: mostly in order up to some point, then anything."""
    anything = st.sampled_from([HEADER, HELLO, STANZA, STANZA, *WORDS, *MALFORMED])
    begun = st.integers(0, 3).map(lambda count: list(ORDER[:count]))
    talk = st.lists(st.sampled_from([STANZA, STANZA, SPACE]), max_size=4)
    return st.tuples(begun, talk, st.lists(anything, max_size=4)).map(lambda parts: [*parts[0], *parts[1], *parts[2]])


def spelt(piece: str, number: int, session: Session) -> bytes:
    """The bytes of a piece; stanzas are numbered."""
    if piece == STANZA:
        return b"<message from='x@y/z'><body>number %d</body></message>" % number
    if piece == HEADER:
        return hostile_peer.header(session)
    if piece == "header: to":
        return writer.header(session.config.own_jid, "carol@c.test/sofa", id=None)
    if piece == "header: ns":
        return hostile_peer.header(session).replace(b"jabber:client", b"jabber:server")
    if not piece.startswith(HELLO):
        return WORDS[piece]
    hello = talk(session)._our_hello()
    changed = {
        "hello: role": replace(hello, role=hello.role.other),
        "hello: sid": replace(hello, sid="another"),
        "hello: neg": replace(hello, neg=bytes(32)),
        "hello: need": replace(hello, methods=("psk",), need=("psk",)),
    }
    said = writer.element(auth.build_hello(changed.get(piece, hello)))
    if piece == "hello: no neg":
        return said.replace(b" neg=", b" gen=")
    return said.replace(b"/>", b"><x/></hello>") if piece == "hello: child" else said


@dataclass(frozen=True)
class Expected:
    """What must come of a stream."""

    stanzas: list[str]
    """Delivered, if the victim's own policy is met."""
    broken: bool
    """Does it break a rule?"""
    opens: bool
    farewell: bool


def model(said: list[str]) -> Expected:
    """docs/protocol.md §4 to §7."""
    stanzas: list[str] = []
    reached = 0
    farewell = False
    for number, piece in enumerate(said):
        if piece == SPACE:
            continue
        if farewell:
            return Expected(stanzas, True, True, True)
        if reached < len(ORDER) and piece == ORDER[reached]:
            reached += 1
        elif reached == len(ORDER) and piece == STANZA:
            stanzas.append(f"number {number}")
        elif reached == len(ORDER) and piece == FAREWELL:
            farewell = True
        else:  # behind half a stanza, too, nothing can be whole
            return Expected(stanzas, True, reached == len(ORDER), False)
    return Expected(stanzas, False, reached == len(ORDER), farewell)


def dangles(said: list[str]) -> bool:
    """Is something begun that may never end? A reader waits for its end, within bounds."""
    return any(piece.startswith("half") for piece in said)


def hears(said: list[str], cuts: list[int], role: Role, *, waits: bool) -> Pair:
    """``role`` says all that, in pieces that are cut anywhere; ``waits``: the victim's user has yet to decide."""
    victim = "alice" if role is Role.RESPONDER else "bob"
    pair = Pair(**{victim: config(victim, **(UNTRUSTED if waits else {}))})
    session = hostile_peer.silence(pair, role)
    pair.open()
    data = b"".join(spelt(piece, number, session) for number, piece in enumerate(said))
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    channel = session._tls
    assert channel is not None
    for start, end in pairwise(edges):
        if session.state is not State.CLOSED:
            channel.send(data[start:end])
            pair.run()
    return pair


SEARCH = settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STREAMS = given(said=pieces(), cuts=st.lists(st.integers(0, 2000), max_size=4), role=st.sampled_from(list(Role)))


@SEARCH
@STREAMS
def test_what_counts_is_what_came_in_order(said: list[str], cuts: list[int], role: Role) -> None:
    """Delivered is exactly what the model says; what breaks a rule ends the session, never cleanly."""
    expected = model(said)
    pair = hears(said, cuts, role, waits=False)
    victim = pair.side(role.other)
    assert victim.stanzas == expected.stanzas
    assert bool(victim.of(events.SessionOpened)) is expected.opens
    if expected.broken and not dangles(said):
        assert isinstance(victim.failure, E2EError)
    if expected.farewell and not expected.broken:
        # CLOSED, where the rest of the peer's own session, which is in another state, has ended TLS for this one
        assert victim.session.state in (State.PEER_CLOSING, State.CLOSED)
    if victim.session.state is not State.CLOSED:
        channel = pair.side(role).session._tls
        assert channel is not None
        channel.close()
        pair.run()
    assert victim.session.state is State.CLOSED
    clean = [end.clean for end in victim.of(events.SessionClosed)]
    assert clean == ([expected.farewell and not expected.broken] if expected.opens else [])
    assert victim.stanzas == expected.stanzas


@SEARCH
@STREAMS
def test_what_is_held_is_all_or_nothing(said: list[str], cuts: list[int], role: Role) -> None:
    """While the victim's user has not decided nothing is delivered; when they pin the key, all of it, and if anything has
    broken a rule by then, or was a farewell, nothing ever."""
    expected = model(said)
    pair = hears(said, cuts, role, waits=True)
    victim = pair.side(role.other)
    assert not victim.stanzas
    assert not victim.of(events.SessionOpened)
    assert talk(victim.session)._gate._early_bytes <= EARLY_BUFFER_BYTES
    victim.session.update_known_keys(
        remembers("bob" if role is Role.RESPONDER else "alice", Assurance.VERIFIED, "pin"), pair.now
    )
    pair.run()
    whole = expected.opens and not expected.farewell and not expected.broken
    if not dangles(said):
        assert victim.stanzas == (expected.stanzas if whole else [])
    else:
        assert victim.stanzas in ([], expected.stanzas)


def test_control_the_model_tells_a_lax_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with one line more in the table of states, the two differ on a short stream."""
    said = [HEADER, HELLO, STANZA, DONE]
    assert hears(said, [], Role.INITIATOR, waits=False).bob.stanzas == model(said).stanzas == []
    for stage in (State.HELLO_CHECKED, State.DONE_SENT):
        monkeypatch.setitem(TRANSITIONS, (stage, Trigger.STANZA), stage)
    assert hears(said, [], Role.INITIATOR, waits=False).bob.stanzas != model(said).stanzas

"""What the switchboard tells whom, when something happens: all that it knows is only written down. Nobody is connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import Iq, Message, Presence

from slixmpp_e2e.client import _PAST_BOUND
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, SessionGone
from slixmpp_e2e.messages.iq_tracking import Asked
from slixmpp_e2e.messages.queue import Route
from slixmpp_e2e.store import StoreError
from slixmpp_e2e.xmpp import adapter, discovery
from slixmpp_e2e.xmpp import marker as mark
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e
from xmpp_e2e import events
from xmpp_e2e.errors import PeerRefused
from xmpp_e2e.identity import Assurance, Fingerprint, Role

BARE, OTHER = "bob@localhost", "bob@localhost/other"
KEY = Fingerprint(bytes(32))
ERROR = PeerRefused("the end of the test")
PARTS = ("outbox", "sessions", "presences", "inside", "iqs", "_filters", "_watch")


class Told:
    """Writes down what it is told, and answers what the test says."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {"take_all": [], "of": (), "between": None, "unanswered": [], "came": True}
        self.answers |= dict.fromkeys(("asks", "not_asked"))
        self.links: list[Any] = []
        self.paused = False

    def __getattr__(self, verb: str) -> Any:
        def write_down(*words: Any) -> Any:
            self.words.append((verb, *words))
            answer = self.answers.get(verb)
            if isinstance(answer, Exception):
                raise answer
            return answer(*words) if callable(answer) else answer

        return write_down

    def __iter__(self) -> Iterator[Any]:
        return iter(self.links)

    def did(self, verb: str) -> list[tuple[Any, ...]]:
        """With what it was told to do this."""
        return [words for each, *rest in self.words if each == verb for words in [tuple(rest)]]


class Peer(Told):
    """A session."""

    def __init__(self, peer: str = BOB, *, is_open: bool = True, ours: str = ALICE) -> None:
        super().__init__()
        self.peer, self.ours, self.is_open, self.token = peer, ours, is_open, "token"
        self.assurance, self.fingerprint, self.proved = Assurance.VOUCHED, KEY, None


class Board:
    """The switchboard of a client, and what its parts are told."""

    def __init__(self, world: World) -> None:
        self.alice = world.make(ALICE)
        self.it: Any = e2e(self.alice).switchboard
        self.memory = e2e(self.alice).memory
        self.told = Told()
        self._own = dict(vars(self.it))
        vars(self.it).update(dict.fromkeys(PARTS, self.told))

    def heard(self, event: str) -> Heard:
        return Heard(self.alice, event)

    def restore(self) -> None:
        vars(self.it).update(self._own)


@pytest.fixture
async def board(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Board]:
    made = Board(world)
    for name in ("inject", "write", "remove_filters"):
        monkeypatch.setattr(adapter, name, lambda xmpp, *words, name=name: getattr(made.told, f"adapter_{name}")(*words))
    monkeypatch.setattr(discovery, "forget", lambda xmpp, peer: made.told.discovery_forget(peer.full))
    yield made
    made.restore()
    monkeypatch.undo()


def say(body: str) -> Message:
    message = Message()
    message["body"] = body
    return message


def iq(kind: str = "get") -> Any:
    return Iq(xml=fromstring(f"<iq xmlns='jabber:client' id='1' type='{kind}' from='{BOB}' to='{ALICE}'/>"))


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_is_over(board: Board) -> None:
    """Sessions are cut, our iqs forgotten, presence void; what waited fails."""
    failed = board.heard("e2e_send_failed")
    board.told.links = [Peer(), Peer(OTHER)]
    board.told.answers["take_all"] = [say("waits")]
    board.it.stream_lost(ERROR)
    assert [link.did("cut") for link in board.told.links] == [[(ERROR,)], [(ERROR,)]]
    assert [len(board.told.did(verb)) for verb in ("clear", "begin")] == [1, 1]
    report = await failed.take()
    assert (report.stanza["body"], report.error) == ("waits", ERROR)
    board.it.stream_started()
    assert not board.told.did("outgoing")


async def test_what_waits_for_the_next_stream(board: Board) -> None:
    """It comes to the filters again, once, and goes on if they let it; if the plugin is unloaded meanwhile it fails."""
    failed, passes, diverted = board.heard("e2e_send_failed"), say("passes"), say("diverted")
    board.told.answers |= {"take_all": [passes, diverted], "outgoing": lambda stanza: stanza if stanza is passes else None}
    board.it.stream_lost(ERROR, reopen=True)
    assert len(failed) == 0
    board.told.answers["take_all"] = []
    for _ in range(2):
        board.it.stream_started()
    assert board.told.did("outgoing") == [(passes,), (diverted,)]
    assert [stanza for stanza, *_ in board.told.did("adapter_write")] == [passes]
    board.told.answers["take_all"] = [passes]
    board.it.stream_lost(ERROR, reopen=True)
    board.told.answers["take_all"] = []
    board.it.unplug(ERROR)
    assert (await failed.take()).stanza is passes


async def test_unplugged(board: Board) -> None:
    """What is queued before the filters is judged by them, the stream is as good as over, and all of ours goes."""
    queue, passes, diverted = board.alice.waiting_queue, say("passes"), say("diverted")
    while not queue.empty():
        queue.get_nowait()
    board.told.answers["outgoing"] = lambda stanza: stanza if stanza is passes else None
    for stanza in (passes, diverted):
        queue.put_nowait((stanza, True))
    board.it.unplug(ERROR)
    assert [queue.get_nowait()[0] for _ in range(queue.qsize())] == [passes]
    assert [len(board.told.did(verb)) for verb in ("take_all", "stop", "adapter_remove_filters")] == [1, 1, 1]


async def test_a_decision_about_a_key(board: Board) -> None:
    """It comes to the sessions of that account, and to its routes."""
    link = Peer()
    board.told.answers["of"] = lambda bare: [link] if bare == BARE else []
    board.memory.pin(BARE, KEY, 1.0)
    board.it.trust_changed(BARE)
    [(remembered,)] = link.did("remember")
    assert [key.fingerprint for key in remembered.keys] == [KEY]
    assert board.told.did("forget_routes") == [(BARE,)]


async def test_what_is_decided_elsewhere_is_watched(board: Board) -> None:
    """From the first session on."""
    board.it.new_session(Role.RESPONDER, ALICE, BOB, Assurance.NONE)
    assert len(board.told.did("start")) == 1


# --- the way out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "capable", "advertised", "expected"),
    [
        ("off", [BOB], True, Route(clear=True)),
        ("prefer", [BOB], True, Route(clear=False, targets=((ALICE, BOB),))),
        ("prefer", [], False, Route(clear=True)),
        ("require", [], False, PeerWithoutE2E),
        ("require", [], None, PeerOffline),
    ],
)
async def test_ways(board: Board, policy: str, capable: list[str], advertised: bool | None, expected: Any) -> None:
    """By policy; who advertises is remembered, once: what is known is not written again."""
    e2e(board.alice).set_policy(BARE, policy)
    marked: list[str] = []
    mark_seen = board.memory.mark_seen

    def counted(bare: str, now: float) -> None:
        marked.append(bare)
        mark_seen(bare, now)

    board.it._store = SimpleNamespace(policy=board.memory.policy, seen=board.memory.seen, mark_seen=counted)

    async def asked(ours: str, to: str) -> tuple[list[str], bool | None]:
        return capable, advertised

    board.it._ask = asked
    for _ in range(2):
        if isinstance(expected, Route):
            assert await board.it.find_route(ALICE, BOB) == expected
        else:
            with pytest.raises(expected):
                await board.it.find_route(ALICE, BOB)
    assert marked == ([BARE] if advertised else [])
    del board.it._ask


@pytest.mark.parametrize(
    ("policy", "capable", "advertised", "expected"),
    [
        ("off", [BOB], True, PeerWithoutE2E),
        ("prefer", [BOB, OTHER], True, (ALICE, BOB)),
        ("prefer", [], False, PeerWithoutE2E),
        ("prefer", [], None, PeerOffline),
    ],
)
async def test_the_best(board: Board, policy: str, capable: list[str], advertised: bool | None, expected: Any) -> None:
    """The first who can, unless no session is wanted."""
    e2e(board.alice).set_policy(BARE, policy)

    async def asked(ours: str, to: str) -> tuple[list[str], bool | None]:
        return capable, advertised

    board.it._ask = asked
    if isinstance(expected, tuple):
        assert await board.it.best(ALICE, BARE) == expected
    else:
        with pytest.raises(expected):
            await board.it.best(ALICE, BARE)
    del board.it._ask


async def test_who_is_asked(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a bare JID those who are online and those with whom a session is open; who has one needs no question."""
    third, gone, theirs, mine = (f"bob@localhost/{name}" for name in ("third", "gone", "theirs", "mine"))
    links = [Peer(third), Peer(gone, is_open=False, ours=mine), Peer(theirs, ours="alice@localhost/x")]
    asked: list[list[str]] = []
    answers: dict[str, bool | None] = {BOB: True, OTHER: False, third: True, gone: False}

    async def online(ours: str, bare: str) -> list[str]:
        return [OTHER, BOB, mine]

    async def supporting(xmpp: Any, ours: Any, jids: list[str]) -> dict[str, bool | None]:
        asked.append(jids)
        return {jid: answers[jid] for jid in jids}

    monkeypatch.setattr(discovery, "supporting", supporting)
    board.told.answers |= {
        "online": online,
        "of": tuple(links),
        "between": lambda ours, peer: next((link for link in links if link.peer == peer), None),
    }
    assert await board.it._ask(mine, BARE) == ([BOB], True)
    assert asked == [[OTHER, BOB]]
    assert await board.it._ask(ALICE, third) == ([third], True)
    assert asked[1:] == [[]]
    assert await board.it._ask(ALICE, gone) == ([], False)
    answers[gone] = None
    assert await board.it._ask(ALICE, gone) == ([], None)
    assert asked[2:] == [[gone], [gone]]
    links[2].ours = mine
    assert await board.it._ask(mine, BARE) == ([BOB, theirs], True)


async def test_without_a_key_nobody_is_asked(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and what keeps it from us is told."""

    async def opened() -> None:
        raise StoreError(board.memory.path, "locked")

    board.it._own = SimpleNamespace(opened=opened)
    with pytest.raises(StoreError):
        await board.it._ask(ALICE, BOB)


async def test_too_many_questions(board: Board) -> None:
    """The oldest is answered here, by whom it was to."""
    board.it.asks(iq())
    assert not board.told.did("adapter_inject")
    board.told.answers["asks"] = Asked("old", "", BOB)
    board.it.asks(iq())
    [(answer,)] = board.told.did("adapter_inject")
    assert (answer["id"], answer["from"], answer["to"]) == ("old", BOB, ALICE)
    assert answer["error"]["condition"] == "resource-constraint"


async def test_only_questions_are_told_which_way_they_went(board: Board) -> None:
    """Messages are none."""
    question, link = iq(), Peer()
    for stanza in (question, say("x")):
        board.it.went(stanza, link)
    assert board.told.did("went") == [(question, link)]


@pytest.mark.parametrize(("paused", "encrypts", "again"), [(False, False, False), (True, False, True), (False, True, True)])
async def test_what_goes_in_clear(
    board: Board, monkeypatch: pytest.MonkeyPatch, paused: bool, encrypts: bool, again: bool
) -> None:
    """At once; by slixmpp's queue while there is no connection, or somebody else encrypts it. A question is not inside."""
    monkeypatch.setattr(adapter, "encrypts", lambda xmpp: encrypts)
    sent: list[Any] = []
    monkeypatch.setattr(board.alice, "send", sent.append)
    board.told.paused = paused
    stanzas = [iq(), say("x")]
    for stanza in stanzas:
        board.it.send_clear(stanza)
    assert sent == (stanzas if again else [])
    assert [stanza for stanza, *_ in board.told.did("adapter_write")] == ([] if again else stanzas)
    assert board.told.did("not_asked") == [(stanzas[0],)]


async def test_what_fails_is_told(board: Board) -> None:
    """And who asked has an answer, at the address from which he did; nobody who has not."""
    failed = board.heard("e2e_send_failed")
    board.it.send_failed(iq(), ERROR)
    assert (await failed.take()).error is ERROR
    assert not board.told.did("adapter_inject")
    board.told.answers["not_asked"] = Asked("1", "alice@localhost/x", BOB)
    board.it.send_failed(iq(), ERROR)
    [(answer,)] = board.told.did("adapter_inject")
    assert (answer["id"], answer["from"], answer["to"]) == ("1", BOB, "alice@localhost/x")
    assert (answer["error"]["condition"], answer["error"]["text"]) == ("service-unavailable", str(ERROR))
    board.it.send_failed(say("x"), ERROR)
    assert len(board.told.did("adapter_inject")) == 1


# --- the way in ------------------------------------------------------------------------------------------------------


def presence(kind: str = "", sender: str = BOB) -> Any:
    attribute = f" type='{kind}'" if kind else ""
    return Presence(xml=fromstring(f"<presence xmlns='jabber:client' from='{sender}' to='me@bots/x'{attribute}/>"))


@pytest.mark.parametrize("component", [False, True])
async def test_presence(board: Board, component: bool) -> None:
    """Whoever is there is noted, by which address of ours he told; rooms are not. All that was found out is void."""
    client: Any = board.alice
    client.is_component = component
    rooms, board.it.rooms = board.it.rooms, ["room@localhost"]
    there, in_room = presence(), presence(sender="room@localhost/x")
    for stanza in (there, in_room):
        board.it.presence(stanza)
    assert board.told.did("notice") == [("me@bots" if component else "alice@localhost", there)]
    assert board.told.did("discovery_forget") == [(BOB,), ("room@localhost/x",)]
    assert board.told.did("forget_routes") == [(BARE,), ("room@localhost",)]
    client.is_component, board.it.rooms = False, rooms


async def test_who_goes_offline_has_no_session(board: Board) -> None:
    """He, and not his other devices."""
    links = [Peer(), Peer(OTHER)]
    board.told.answers["of"] = tuple(links)
    board.it.presence(presence())
    assert not any(link.words for link in links)
    board.it.presence(presence("unavailable"))
    assert [[type(error) for (error,) in link.did("cut")] for link in links] == [[SessionGone], []]


async def test_reports(board: Board) -> None:
    """Each by its event."""
    names = ("e2e_plaintext_received", "e2e_plaintext_refused", "e2e_store_failed")
    heard = [board.heard(name) for name in names]
    message, error = say("x"), StoreError(board.memory.path, "full")
    board.it.plaintext("received", message, ERROR)
    board.it.plaintext("refused", message, ERROR)
    board.it.store_failed(error)
    assert [(await each.take()).error for each in heard] == [ERROR, ERROR, error]


async def test_what_comes_inside_is_handed_on(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marked, and by us; not what answers a question of another session, nor what comes through one that never began."""
    during: list[bool] = []
    board.told.answers["adapter_inject"] = lambda stanza: during.append(board.it.injecting)
    link = Peer()
    message, answer = say("x").xml, iq("result").xml
    for element in (message, answer):
        board.it.happened(link, events.StanzaReceived(element))
    injected = [stanza for (stanza,) in board.told.did("adapter_inject")]
    assert [type(stanza) for stanza in injected] == [Message, Iq]
    assert [stanza.xml.find(f"{mark.Mark.tag_name()}[@token='token']") is not None for stanza in injected] == [True, True]
    assert (during, board.it.injecting) == ([True, True], False)
    assert [each.xml for each, _ in board.told.did("came")] == [answer]
    board.told.answers["came"] = False
    board.it.happened(link, events.StanzaReceived(iq("result").xml))
    assert len(during) == 2
    board.it.happened(link, events.StanzaReceived(say("x").xml))
    assert len(during) == 3
    link.token = ""
    board.it.happened(link, events.StanzaReceived(say("x").xml))
    assert len(during) == 3


# --- what links tell -------------------------------------------------------------------------------------------------

SECURED = events.Secured("TLSv1.3", "cipher", "group", KEY)
START, END = events.SessionStart(Assurance.VOUCHED, KEY), events.SessionEnd(clean=True, error=None)
FAILED = events.SessionFailed(ERROR)
CHANGED = events.KeyChanged("new", KEY, (), "hold", "text")
NAMES = {"e2e_session_start": START, "e2e_session_end": END, "e2e_session_failed": FAILED, "e2e_key_changed": CHANGED}
OFFERED, AGREED = events.SessionOffered(("fingerprint",)), events.TransportAgreed("stream", 4096)
SILENT = ["e2e_session_offered", "e2e_transport_agreed", "e2e_secured", "e2e_stanza_received"]


@pytest.mark.parametrize(
    ("event", "parts", "session"),
    [
        (OFFERED, [], ["accept"]),
        (AGREED, ["connected"], []),
        (SECURED, [], []),
        (CHANGED, [], []),
        (START, ["forget_routes", "opened"], []),
        (END, ["ended", "lost", "between", "fail", "unanswered", "forget"], []),
        (FAILED, ["avoid", "ended", "lost", "between", "fail", "unanswered", "forget"], []),
    ],
)
async def test_events(board: Board, event: Any, parts: list[str], session: list[str]) -> None:
    """What each does, and which of them users hear of."""
    heard, link = {name: board.heard(name) for name in (*NAMES, *SILENT)}, Peer()
    board.it.happened(link, event)
    assert [verb for verb, *_ in board.told.words] == parts
    assert [verb for verb, *_ in link.words] == session
    told = [name for name, each in heard.items() if len(each)]
    assert told == [name for name, each in NAMES.items() if each is event]
    for name in told:
        happened = await heard[name].take()
        assert (happened.session, happened.detail) == (link, event)
    mark.retire(link.token)


async def test_the_parts_are_told_whom_it_is_about(board: Board) -> None:
    """The bytestream, and who is to be left out for a while."""
    link = Peer()
    for event in (AGREED, FAILED):
        board.it.happened(link, event)
    assert board.told.did("connected") == [(link, "stream")]
    assert board.told.did("avoid") == [((ALICE, BOB),)]


@pytest.mark.parametrize("known", [False, True])
async def test_a_session_starts(board: Board, known: bool) -> None:
    """A key that was never seen is remembered as vouched for; one that was stays what it is. From then on he is no stranger."""
    if known:
        board.memory.pin(BARE, KEY, 1.0)
    link = Peer()
    link.token = ""
    board.it.happened(link, START)
    [key] = board.memory.remembered(BARE).keys
    assert key.assurance is (Assurance.VERIFIED if known else Assurance.VOUCHED)
    assert board.memory.seen(BARE)
    assert (mark._sessions[link.token], board.told.did("opened")) == (link, [(link,)])
    assert link.token in mark._live
    board.it.finished(link)
    assert link.token not in mark._live
    assert board.told.did("finished") == [(link,)]


async def test_the_last_sessions_can_be_asked_after_their_end(board: Board) -> None:
    """What came through them is not forgotten at once; a session that never opened brought nothing."""
    links = [Peer() for _ in range(_PAST_BOUND + 2)]
    links[-1].token = ""
    for link in links:
        board.it.finished(link)
    assert list(board.it._past) == links[1:-1]


async def test_what_cannot_be_remembered_does_not_start(board: Board) -> None:
    """The session fails, and nobody hears that it began."""
    heard, link, error = board.heard("e2e_session_start"), Peer(), StoreError(board.memory.path, "full")
    told = Told()
    told.answers["remembered"] = error
    board.it._store = told
    board.it.happened(link, START)
    assert link.did("fail") == [(error,)]
    assert len(heard) == 0


@pytest.mark.parametrize("event", [END, FAILED])
@pytest.mark.parametrize("another", [False, True])
async def test_a_session_is_over(board: Board, event: Any, another: bool) -> None:
    """What went through it has an answer; what waits for the peer fails, unless another session has taken its place."""
    link = Peer()
    board.told.answers |= {"unanswered": [Asked("1", "", BOB)], "between": Peer() if another else None}
    board.it.happened(link, event)
    reason = ERROR if event is FAILED else SessionGone
    [(_, lost)] = board.told.did("lost")
    assert lost is reason if event is FAILED else isinstance(lost, SessionGone)
    assert board.told.did("fail") == ([] if another else [((ALICE, BOB), lost)])
    [(answer,)] = board.told.did("adapter_inject")
    assert (answer["id"], answer["error"]["condition"], answer["error"]["text"]) == ("1", "recipient-unavailable", str(lost))


async def test_there_is_room(board: Board) -> None:
    """What waits for the session is given to it."""
    link = Peer()
    board.it.writable(link)
    assert board.told.did("flush") == [(link,)]

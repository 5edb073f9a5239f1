"""Iqs inside a session: their answers come through the same session, or not at all (attack 17)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from slixmpp_e2e.errors import SessionGone
from slixmpp_e2e.messages import iq_tracking as inside
from slixmpp_e2e.sessions.driver import Link
from tests.slixmpp_e2e.test_switchboard import ask, refused
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, turns, until
from xmpp_e2e.stream import outflow


class Asked:
    """Takes the queries that come to a client, and answers none by itself."""

    def __init__(self, client: ClientXMPP) -> None:
        self._queue: asyncio.Queue[Iq] = asyncio.Queue()
        client.register_handler(Callback("asked", StanzaPath("iq@type=get"), self._queue.put_nowait))

    async def take(self) -> Iq:
        return await until(self._queue.get())


@pytest.mark.parametrize("impostor", [BOB, "bob@localhost", "localhost", ALICE, "alice@localhost"])
@pytest.mark.parametrize("kind", ["result", "error"])
async def test_an_answer_that_a_server_makes_up_is_dropped(world: World, impostor: str, kind: str) -> None:
    """Whoever it claims to be from (slixmpp would take three of these), and the true answer still counts."""
    alice, bob = await world.pair()
    await world.session(alice, bob)
    asked, told = Asked(bob), Heard(alice, "e2e_plaintext_refused")
    answer = ask(alice, BOB)
    request = await asked.take()
    world.server.inject(ALICE, f"<iq from='{impostor}' to='{ALICE}' id='{request['id']}' type='{kind}'/>")
    assert "asked inside" in str(await told.take())
    assert not answer.done()
    request.reply().send()
    assert str((await until(answer))["e2e"]["assurance"]) == "vouched"


async def test_control_without_the_check_the_made_up_answer_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack is real: slixmpp's own matcher takes a result from the domain of the peer."""
    monkeypatch.setattr(inside.InsideIqs, "forged", lambda self, iq: False)
    alice, bob = await world.pair()
    await world.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    request = await asked.take()
    world.server.inject(ALICE, f"<iq from='localhost' to='{ALICE}' id='{request['id']}' type='result'/>")
    assert (await until(answer))["from"].full == "localhost"


async def test_a_made_up_answer_is_dropped_while_the_question_is_held(world: World) -> None:
    """The id may be guessed before there is a session: the answer is as good as none."""
    alice, bob = await world.pair()
    asked, told = Asked(bob), Heard(alice, "e2e_plaintext_refused")
    request = alice.make_iq_get(queryxmlns="urn:example:query", ito=BOB)
    answer = request.send()
    await turns(3)
    assert e2e(alice).sessions() == ()
    world.server.inject(ALICE, f"<iq from='{BOB}' to='{ALICE}' id='{request['id']}' type='result'/>")
    await told.take()
    (await asked.take()).reply().send()
    await until(answer)


async def test_an_answer_from_another_session_is_dropped(world: World) -> None:
    """A second peer with a session of his own cannot answer what the first was asked, even with the right id."""
    alice, bob = await world.pair()
    carol = await world.client("carol@localhost/c")
    await world.settle(alice, bob, carol)
    await world.session(alice, bob)
    await world.session(alice, carol)
    asked = Asked(bob)
    results: list[Iq] = []
    alice.register_handler(Callback("results", StanzaPath("iq@type=result"), results.append))
    answer = ask(alice, BOB)
    request = await asked.take()
    forged = carol.make_iq_result(id=request["id"], ito=ALICE)
    forged.send()
    await world.settle(carol, alice)
    assert not [iq for iq in results if iq["from"].full == "carol@localhost/c"]
    request.reply().send()
    await until(answer)


async def test_an_answer_whose_session_has_ended_is_not_sent(world: World) -> None:
    """Neither in clear (even where that is allowed) nor through a newer session, and the handler's side is told."""
    alice, bob = await world.pair()
    ours, theirs = await world.session(alice, bob)
    asked, failed = Asked(bob), Heard(bob, "e2e_send_failed")
    answer = ask(alice, BOB)
    request = await asked.take()
    await until(ours.close())
    await until(theirs.ended())
    assert "ended" in await refused(answer)
    await world.session(alice, bob)
    e2e(bob).allow_plaintext(ALICE)
    e2e(bob).set_policy(ALICE, "off")
    request.reply().send()
    assert isinstance((await failed.take()).error, SessionGone)
    await world.settle(alice, bob)
    assert world.in_clear(request["id"]) == []


async def test_a_question_dies_with_its_session_although_another_one_is_open(world: World) -> None:
    """A session that takes the place of an older one does not inherit what was asked there."""
    alice, bob = await world.pair()
    ours, _ = await world.session(alice, bob)
    asked = Asked(bob)
    answer = ask(alice, BOB)
    await asked.take()
    newer = e2e(bob).switchboard
    link = newer.new_link(newer.new_session(ours.role.other.other, BOB, ALICE, ours.minimum))
    link.offer()
    newer.sessions._add(link)
    assert "ended" in await refused(answer)
    assert await until(ours.ended()) is None
    assert [link.is_open for link in e2e(alice).sessions()] == [True]


async def test_the_answer_goes_behind_what_was_sent_before_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that wait for room in the session are not overtaken by an answer, however small."""
    monkeypatch.setattr(outflow, "OUTBOX_BYTES", 100_000)
    alice, bob = await world.pair()
    await world.session(alice, bob)
    asked = Asked(bob)
    order: list[str] = []
    alice.add_event_handler("message", lambda message: order.append(message["id"]))
    answer = ask(alice, BOB)
    answer.add_done_callback(lambda done: order.append("answer"))
    request = await asked.take()
    for number in range(100):
        message = bob.make_message(mto=ALICE, mbody="z" * 20_000)
        message["id"] = str(number)
        message.send()
    request.reply().send()
    await until(answer)
    await turns()
    assert order == [*map(str, range(100)), "answer"]


async def test_requests_that_are_never_answered_do_not_pile_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest is answered by an error here, so that it cannot be answered by anybody else."""
    monkeypatch.setattr(inside, "ASKED_BOUND", 3)
    alice, bob = await world.pair()
    await world.session(alice, bob)
    Asked(bob)
    answers = [ask(alice, BOB) for _ in range(5)]
    for answer in answers[:2]:
        assert "too many" in await refused(answer)
    assert not any(answer.done() for answer in answers[2:])
    world.unload(alice)
    for answer in answers[2:]:
        with pytest.raises(IqError):
            await until(answer)


def test_what_we_owe_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer who asks and asks costs no memory without end; what is forgotten is answered nowhere."""
    monkeypatch.setattr(inside, "OWED_BOUND", 2)
    monkeypatch.setattr(inside, "ID_BOUND", 3)
    book, link = inside.InsideIqs(), _Peer("p@localhost/r")
    for iq_id in ("0", "1", "2", "long"):
        book.came(_iq(link.peer, iq_id, "get"), link)
    assert [book.owes(_answer(link.peer, iq_id)) for iq_id in ("0", "1", "1", "2", "long")] == [None, link, None, link, None]
    assert not any(book.may_go_outside(_answer(link.peer, iq_id)) for iq_id in ("0", "1", "2", "long"))
    book.forget(link)
    assert not book._owed


def test_only_what_was_asked_outside_is_answered_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, to the client that asked, and while it is remembered; an address without a resource can ask outside only."""
    monkeypatch.setattr(inside, "OUTSIDE_BOUND", 2)
    monkeypatch.setattr(inside, "ID_BOUND", 3)
    book, peer = inside.InsideIqs(), "p@localhost/r"
    for iq_id, kind in (("0", "get"), ("1", "get"), ("2", "set"), ("3", "result"), ("long", "get")):
        book.came_outside(_iq(peer, iq_id, kind))
    assert not book.may_go_outside(_answer("p@localhost/other", "1"))
    assert [iq_id for iq_id in ("0", "1", "1", "2", "3", "long") if book.may_go_outside(_answer(peer, iq_id))] == ["1", "2"]
    assert all(book.may_go_outside(_answer(server, "0")) for server in ("p@localhost", "localhost"))


async def test_beyond_the_bound_nothing_is_answered_in_clear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked inside, forgotten for too many others: the answer is reported, and not sent in clear where that is allowed."""
    monkeypatch.setattr(inside, "OWED_BOUND", 1)
    alice, bob = await world.pair()
    ours, theirs = await world.session(alice, bob)
    asked, failed = Asked(bob), Heard(bob, "e2e_send_failed")
    answers = [ask(alice, BOB) for _ in range(2)]
    requests = [await asked.take() for _ in answers]
    requests[1].reply().send()
    await until(answers[1])
    await until(ours.close())
    await until(theirs.ended())
    await refused(answers[0])
    world.unload(alice)
    await world.settle(alice, bob)
    e2e(bob).allow_plaintext(ALICE)
    requests[0].reply().send()
    assert isinstance((await failed.take()).error, SessionGone)
    await world.settle(bob, alice)
    assert world.in_clear(requests[0]["id"]) == []


async def test_what_was_asked_in_clear_is_answered(world: World) -> None:
    """By a client without encryption, whose question a handler took its time for; once, however often the handler says it."""
    alice, bob = await world.client(ALICE, load=False), await world.client(BOB)
    asked, failed = Asked(bob), Heard(bob, "e2e_send_failed")
    answer = ask(alice, BOB)
    reply = (await asked.take()).reply()
    reply.send()
    assert (await until(answer))["id"] == reply["id"]
    reply.send()
    assert isinstance((await failed.take()).error, SessionGone)


def test_the_book_of_what_we_ask() -> None:
    """Requests only, by the session that they went through: its answer settles one, and its end all."""
    book, peer = inside.InsideIqs(), "p@localhost/r"
    link, other = _Peer(peer), _Peer(peer)
    for iq_id, kind in (("a", "get"), ("b", "set"), ("c", "get"), ("r", "result")):
        assert book.asks(_iq(peer, iq_id, kind)) is None
        book.went(_iq(peer, iq_id, kind), link)
    book.went(_iq(peer, "b", "result"), other)  # an answer of ours, by chance with the same id
    book.went(_iq(peer, "unknown", "get"), other)
    assert [iq_id for iq_id in ("a", "b", "c", "r", "unknown") if book.forged(_iq(peer, iq_id, "result"))] == ["a", "b", "c"]
    assert not book.forged(_iq(peer, "a", "get"))
    assert book.came(_iq(peer, "a", "get"), other)
    assert book.came(_iq(peer, "unknown", "result"), other)
    assert [book.came(_iq(peer, "a", "error"), each) for each in (other, link)] == [False, True]
    assert not book.forged(_iq(peer, "a", "result"))
    assert book.not_asked(_iq(peer, "c", "result")) is None
    assert [asked and asked.id for asked in (book.not_asked(_iq(peer, "c", "get")) for _ in range(2))] == ["c", None]
    assert [[asked.id for asked in book.unanswered(each)] for each in (other, link, link)] == [[], ["b"], []]


def test_the_oldest_of_too_many_questions_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer counts for nothing any more, wherever it comes from."""
    monkeypatch.setattr(inside, "ASKED_BOUND", 2)
    book = inside.InsideIqs()
    assert [asked and asked.id for asked in (book.asks(_iq("p", iq_id, "get")) for iq_id in "abc")] == [None, None, "a"]
    assert [iq_id for iq_id in "abc" if book.forged(_iq("p", iq_id, "result"))] == ["b", "c"]


def test_what_a_session_owes_ends_with_it() -> None:
    """And not with another one of the same peer; an answer goes to the one that asked."""
    book, peer = inside.InsideIqs(), "p@localhost/r"
    links = [_Peer(peer) for _ in range(3)]
    for number, link in enumerate(links):
        book.came(_iq(peer, str(number), "get"), link)
    book.forget(links[0])
    assert [book.owes(_answer(peer, str(number))) for number in (0, 2, 1)] == [None, links[2], links[1]]
    for link in links:
        book.forget(link)
    assert not book._owed


class _Peer(Link):
    def __init__(self, peer: str) -> None:
        self._peer = peer

    @property
    def peer(self) -> str:
        return self._peer


def _iq(peer: str, iq_id: str, kind: str) -> Any:
    iq = Iq()
    iq["from"], iq["id"], iq["type"] = peer, iq_id, kind
    return iq


def _answer(peer: str, iq_id: str) -> Any:
    iq = Iq()
    iq["to"], iq["id"], iq["type"] = peer, iq_id, "result"
    return iq

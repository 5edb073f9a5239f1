"""Our own iqs keep their order, get their replies, and leave nothing behind."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, Iq

from slixmpp_e2e.xmpp.iq_channel import IqChannel, StrangerRefused
from tests.slixmpp_e2e.env import ALICE, BOB, Env, block, e2e, jingle, until
from xmpp_e2e.errors import JingleError
from xmpp_loopback import hostile, no_tls

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Queue(ClientXMPP):
    """A client that is never connected, and what is written to it."""

    def __init__(self) -> None:
        super().__init__(ALICE, "", ssl_context=no_tls())
        self._written: list[Any] = []
        self._channel: IqChannel | None = None

    @property
    def sent(self) -> list[Any]:
        """What has left, with what leaves at the end of this turn."""
        if self._channel is not None:
            self._channel.writer.flush()
        return self._written

    def channel(self) -> IqChannel:
        """Return a channel that writes here."""
        if self._channel is not None:
            self._channel.writer.flush()
        self._channel = IqChannel(self)
        self._channel.writer.write = lambda iqs: self._written.extend(Iq(self, xml=iq) for iq in iqs)
        return self._channel


@pytest.fixture
async def queue() -> Queue:
    return Queue()


def asked(queue: Any) -> tuple[IqChannel, list[str | None]]:
    """A channel that has sent Bob a request, and the replies."""
    iqs, replies = queue.channel(), list[str | None]()
    queue.boundjid.full = ALICE
    iqs.request(ALICE, BOB, Element("{urn:x}x"), replies.append)
    return iqs, replies


def test_they_leave_in_the_order_in_which_they_were_given(queue: Queue) -> None:
    iqs = queue.channel()
    for number in range(3):
        iqs.request(ALICE, BOB, Element("{urn:x}x", {"n": str(number)}), lambda condition: None)
    assert [iq.xml[0].get("n") for iq in queue.sent] == ["0", "1", "2"]


def test_without_a_connection_they_wait(queue: Queue) -> None:
    iqs = queue.channel()
    iqs.request(ALICE, BOB, Element("{urn:x}x", {"n": "0"}), lambda condition: None)
    iqs.pause()
    iqs.request(ALICE, BOB, Element("{urn:x}x", {"n": "1"}), lambda condition: None)
    assert queue.sent == []
    iqs.resume()
    assert [iq.xml[0].get("n") for iq in queue.sent] == ["0", "1"]


def test_nothing_of_an_old_stream_comes_into_a_new_one(queue: Queue) -> None:
    iqs, replies = asked(queue)
    [old] = queue.sent
    iqs.request(ALICE, BOB, Element("{urn:x}x"), replies.append)
    iqs.pause()
    iqs.clear()
    iqs.resume()
    assert queue.sent == [old]
    assert not iqs.take_reply(_reply(queue, BOB, old["id"], "result").xml)
    assert replies == []


@pytest.mark.parametrize(
    ("sender", "kind", "condition", "expected"),
    [
        (BOB, "result", "", [None]),
        (BOB, "error", "item-not-found", ["item-not-found"]),
        (BOB, "error", "", ["undefined-condition"]),
        (BOB, "get", "", []),
        ("bob@localhost", "result", "", []),
        ("localhost", "result", "", []),
        ("bob@localhost/other", "error", "item-not-found", []),
    ],
)
def test_a_reply_counts_from_the_full_jid_only(
    queue: Queue, sender: str, kind: str, condition: str, expected: list[str | None]
) -> None:
    iqs, replies = asked(queue)
    reply = _reply(queue, sender, queue.sent[0]["id"], kind, condition)
    assert [iqs.take_reply(reply.xml), iqs.take_reply(reply.xml)] == [bool(expected), False]
    assert replies == expected


@pytest.mark.parametrize(
    ("kind", "condition", "may_pass"),
    [
        ("wait", "resource-constraint", True),
        ("wait", "policy-violation", True),
        ("wait", "", True),
        ("wait", "unexpected-request", False),
        ("cancel", "remote-server-not-found", True),
        ("cancel", "remote-server-timeout", True),
        ("cancel", "service-unavailable", False),
        ("modify", "not-acceptable", False),
    ],
)
def test_an_error_that_may_pass_is_told_from_others(queue: Queue, kind: str, condition: str, may_pass: bool) -> None:
    """By its type (RFC 6120 §8.3.2); but a server that is not there now may be, and an order (XEP-0166 §10) stays wrong."""
    iqs, _ = asked(queue)
    refusals: list[Any] = []
    iqs.request(ALICE, BOB, Element("{urn:x}y"), refusals.append)
    reply = _reply(queue, BOB, queue.sent[1]["id"], "error", condition)
    reply.xml[0].set("type", kind)
    assert iqs.take_reply(reply.xml)
    assert [refusal.may_pass for refusal in refusals] == [may_pass]


def _reply(queue: Queue, sender: str, iq_id: str, kind: str, condition: str = "") -> Any:
    iq = queue.make_iq(id=iq_id, itype=kind)
    iq["from"], iq["to"] = sender, ALICE
    iq.xml[:] = []
    if kind == "error":
        error = SubElement(iq.xml, "{jabber:client}error", {"type": "cancel"})
        SubElement(error, f"{{{STANZAS}}}text").text = "why"
        if condition:
            SubElement(error, f"{{{STANZAS}}}{condition}")
    return iq


def test_an_error_has_its_condition_and_jingles(queue: Queue) -> None:
    """An error has the stanza condition first, and then Jingle's (XEP-0166 §10, RFC 6120 §8.3)."""
    iqs = queue.channel()
    request = queue.make_iq_set()
    request["from"], request["to"] = BOB, ALICE
    iqs.error(request.xml, JingleError("x", "unexpected-request", "out-of-order", type="wait"))
    [iq] = queue.sent
    [error] = iq.xml
    assert (iq["id"], iq["to"].full, error.get("type")) == (request["id"], BOB, "wait")
    assert [child.tag.partition("}")[2] for child in error] == ["unexpected-request", "out-of-order"]


def test_an_answer_is_empty_or_an_error(queue: Queue) -> None:
    iqs = queue.channel()
    request = queue.make_iq_set()
    request["from"], request["to"] = BOB, ALICE
    iqs.result(request.xml)
    iqs.error(request.xml, JingleError("x", "item-not-found"))
    result, failure = queue.sent
    assert (result["type"], failure["type"]) == ("result", "error")
    assert all((answer["id"], answer["to"].full) == (request["id"], BOB) for answer in queue.sent)
    assert len(result.xml) == 0
    assert [child.tag for child in failure.xml[0]] == [f"{{{STANZAS}}}item-not-found"]


def test_a_request_is_from_nobody_and_a_component_says_from_whom(queue: Any) -> None:
    """A client's request has no sender, since the server stamps it; a component's has, and the namespace of its stream."""
    for component in (False, True):
        queue.is_component = component
        queue.default_ns = "jabber:component:accept" if component else "jabber:client"
        queue.channel().request(ALICE, BOB, Element("{jabber:client}x"), lambda condition: None)
    sent = [(iq["to"].full, iq["from"].full, iq["type"], [child.tag for child in iq.xml]) for iq in queue.sent]
    assert sent == [(BOB, "", "set", ["{jabber:client}x"]), (BOB, ALICE, "set", ["{jabber:component:accept}x"])]


def test_a_reply_that_names_nobody_is_for_us(queue: Queue) -> None:
    """A server may leave out the recipient of a reply (RFC 6120 §8.1.1)."""
    iqs, replies = asked(queue)
    reply = _reply(queue, BOB, queue.sent[0]["id"], "result")
    del reply["to"]
    assert iqs.take_reply(reply.xml)
    assert replies == [None]


def test_a_component_has_replies_for_each_address(queue: Any) -> None:
    queue.is_component = True
    iqs, replies = asked(queue)
    reply = _reply(queue, BOB, queue.sent[0]["id"], "result")
    for ours, counts in ((f"{ALICE}b", False), (ALICE, True)):
        reply["to"] = ours
        assert iqs.take_reply(reply.xml) is counts
    assert replies == [None]


def test_an_owner_is_forgotten_with_its_last_reply(queue: Queue) -> None:
    iqs, replies, owner = queue.channel(), list[str | None](), object()
    queue.boundjid.full = ALICE
    for _ in range(3):
        iqs.request(ALICE, BOB, Element("{urn:x}x"), replies.append, owner)
    first, second, third = (_reply(queue, BOB, iq["id"], "result") for iq in queue.sent)
    assert iqs.take_reply(first.xml)
    assert iqs._by_owner
    assert iqs.take_reply(second.xml)
    iqs.forget_requests(owner)
    assert not iqs.take_reply(third.xml)
    iqs.request(ALICE, BOB, Element("{urn:x}x"), replies.append, owner)
    assert iqs.take_reply(_reply(queue, BOB, queue.sent[-1]["id"], "result").xml)
    assert (iqs._by_owner, iqs._pending, replies) == ({}, {}, [None] * 3)


def test_a_reply_that_is_no_xmpp_error_has_no_condition(queue: Queue) -> None:
    iqs, replies = asked(queue)
    reply = _reply(queue, BOB, queue.sent[0]["id"], "error")
    reply.xml[0].insert(0, Element("{urn:x}gone"))
    assert iqs.take_reply(reply.xml)
    assert replies == ["undefined-condition"]


@pytest.mark.parametrize("component", [False, True])
def test_strangers_are_answered_as_by_our_server(queue: Any, component: bool) -> None:
    """Our server is asked about a resource that does not exist, in the stranger's language, and its answer is passed on. A
    component, which has no server, answers itself."""
    queue.is_component, queue.boundjid.full = component, ALICE
    iqs, stranger = queue.channel(), queue.make_iq_set()
    stranger["from"], stranger["to"] = BOB, ALICE
    stranger.xml.set(LANG, "de")
    iqs.error(stranger.xml, StrangerRefused("nobody"))
    if not component:
        [request] = queue.sent
        assert (request["to"].bare, request.xml.get(LANG), len(request.xml)) == ("alice@localhost", "de", 1)
        reply = _reply(queue, request["to"].full, request["id"], "error", "service-unavailable")
        reply.xml.set(LANG, "de")
        assert iqs.take_reply(reply.xml)
    answer = queue.sent[-1]
    assert (answer["id"], answer["to"].full, answer.xml.get(LANG)) == (stranger["id"], BOB, None if component else "de")
    assert answer.xml[0][-1].tag == f"{{{STANZAS}}}service-unavailable"


def test_what_strangers_wait_for_ends_with_the_stream(queue: Queue) -> None:
    iqs, stranger = queue.channel(), queue.make_iq_set()
    stranger["from"], stranger["to"] = BOB, ALICE
    for _ in range(2):
        iqs.error(stranger.xml, StrangerRefused("nobody"))
        assert (len(iqs._pending), len(iqs._by_owner)) == (1, 1)
        iqs.writer.flush()
        iqs.clear()
        assert (len(iqs._pending), len(iqs._by_owner)) == (0, 0)
    assert len(queue.sent) == 2


async def test_replies_that_never_come_are_not_waited_for_for_ever(env: Env) -> None:
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    hold = hostile.Hold(env.server, lambda stanza, sender: sender == BOB and stanza.get("type") == "result")
    env.server.hooks += [hold, hostile.drop(lambda stanza, sender: jingle("session-terminate")(stanza, sender))]
    alice.send_message(mto=BOB, mbody="x")
    await until(env.server.wait_for(lambda handled: handled.client == ALICE and block(handled.element, ALICE)))
    await until(hold.caught())
    assert e2e(alice)._client._channel._pending
    bob.send_presence(ptype="unavailable")
    await until(ours.wait_closed())
    pending = e2e(alice)._client._channel._pending.values()
    assert not any(request.owner is ours._driver for request in pending)
    hold.discard()

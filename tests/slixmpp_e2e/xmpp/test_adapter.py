"""The adapter does what it promises to the client of slixmpp, which is not connected here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp import ClientXMPP, ComponentXMPP, Iq, Message
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from slixmpp.xmlstream.xmlstream import NotConnectedError

from slixmpp_e2e.xmpp import adapter
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, until
from xmpp_loopback import no_tls


class Client(ClientXMPP):
    """A client that is never connected, and keeps what it writes."""

    def __init__(self) -> None:
        super().__init__(ALICE, "", ssl_context=no_tls())
        self.written: list[Any] = []
        self.is_gone = False

    def send_raw(self, data: Any) -> None:
        if self.is_gone:
            raise NotConnectedError
        self.written.append(data)


@pytest.fixture
async def client() -> Client:
    return Client()


def say(body: str) -> Message:
    message = Message()
    message["body"] = body
    return message


def nothing(stanza: Any) -> Any:
    raise AssertionError


def test_our_filters_go_and_others_stay(client: Client) -> None:
    def other(stanza: Any) -> Any:
        return stanza

    for mode in ("in", "out", "out_sync"):
        client.add_filter(mode, other)
    before = {mode: list(filters) for mode, filters in vars(client)["_XMLStream__filters"].items()}
    adapter.add_filters(client, nothing, nothing, nothing)
    there = vars(client)["_XMLStream__filters"]
    assert (there["out"][0], there["out_sync"][0], nothing in there["in"]) == (nothing, nothing, True)
    adapter.remove_filters(client, nothing, nothing, nothing)
    assert vars(client)["_XMLStream__filters"] == before


def test_what_is_written_passes_the_filters_behind_ours(client: Client) -> None:
    seen: list[str] = []

    def other(name: str) -> Any:
        def each(stanza: Any) -> Any:
            seen.append(name)
            return None if name == "two" and stanza["body"] == "kept" else stanza

        return each

    adapter.add_filters(client, nothing, nothing, nothing)
    for name in ("one", "two", "three"):
        client.add_filter("out_sync", other(name))
    for body in ("kept", "goes"):
        adapter.write(client, say(body), outgoing=nothing)
    assert seen == ["one", "two", "one", "two", "three"]
    [written] = client.written
    assert b"<body>goes</body>" in written


def asks(name: str) -> Element:
    return Element("{jabber:client}iq", {"id": name, "type": "set"})


@pytest.mark.parametrize("others", [False, True])
def test_iqs_are_written_at_once_and_are_objects_only_for_those_who_look(client: Client, others: bool) -> None:
    adapter.add_filters(client, nothing, nothing, nothing)
    seen: list[Any] = []

    def other(stanza: Any) -> Any:
        seen.append(stanza["id"])
        return None if stanza["id"] == "two" else stanza

    if others:
        client.add_filter("out_sync", other)
    adapter.write_iqs(client, [asks("one"), asks("two"), asks("three")], outgoing=nothing)
    [written] = client.written
    assert [name for name in ("one", "two", "three") if name.encode() in written] == ["one", *["two"] * (not others), "three"]
    assert seen == (["one", "two", "three"] if others else [])


def test_what_our_serialiser_refuses_slixmpps_writes(client: Client) -> None:
    """What a stranger has written is repeated in an error, whatever it is."""
    deep = inmost = asks("deep")
    for _ in range(300):
        inmost = SubElement(inmost, "{jabber:client}x")
    adapter.write_iqs(client, [asks("first"), deep], outgoing=nothing)
    [written] = client.written
    assert (b"first" in written, written.count(b"<x")) == (True, 300)


def test_nothing_breaks_without_a_connection(client: Client) -> None:
    """A stanza that cannot be written is dropped: XEP-0198 sends it again where that is due."""
    client.is_gone = True
    adapter.write(client, say("lost"), outgoing=nothing)
    assert client.written == []


def test_a_reply_has_a_handler_only_if_a_request_was_sent(client: Client) -> None:
    client.register_handler(Callback("all", StanzaPath("iq@type=result"), lambda iq: None))
    client.session_bind_event.set()  # before that slixmpp looks at the id only
    question = client.make_iq_get(queryxmlns="urn:example", ito=BOB)
    question.send(callback=lambda iq: None)
    awaited = []
    for iq_id, sender in ((question["id"], BOB), (question["id"], "carol@localhost/c"), ("other", BOB)):
        reply: Any = client.make_iq_result(id=iq_id, ito=ALICE, ifrom=sender)
        awaited.append(adapter.has_reply_handler(client, reply))
    assert awaited == [True, False, False]


def test_what_is_injected_is_not_counted(client: Client) -> None:
    heard: list[str] = []
    client.add_event_handler("message", lambda message: heard.append(message["body"]))
    adapter.inject(client, say("one"))
    management = count(client)
    adapter.inject(client, say("two"))
    assert (heard, management.handled) == (["one", "two"], 7)


def count(client: Any, *, first: bool = False, ours: Any = None) -> Any:
    management: Any = SimpleNamespace(handled=7)

    def handle(stanza: Any) -> Any:
        management.handled += 1
        return stanza

    management._handle_incoming = handle
    for each in (handle, ours) if first else (ours, handle):
        if each is not None:
            client.add_filter("in", each)
    client.plugin._plugins["xep_0198"] = management
    client.plugin._enabled.add("xep_0198")
    return management


@pytest.mark.parametrize("first", [True, False])
def test_what_we_keep_is_counted_once(client: Client, first: bool) -> None:
    management = count(client, first=first, ours=nothing)
    adapter.count_as_handled(client, say("kept"), nothing)
    assert management.handled == 7 + (not first)


async def test_where_nothing_is_counted_nothing_has_to_be(client: Client) -> None:
    adapter.count_as_handled(client, say("kept"), nothing)
    component = ComponentXMPP(BOTS, "")
    management = count(component, ours=nothing)
    adapter.count_as_handled(component, say("kept"), nothing)
    assert management.handled == 7


async def test_queued_stanzas_are_dropped_if_they_are_not_admitted(client: Client) -> None:
    """Only stanzas that have yet to come to the filters are judged; the rest stays, in order, and the queue can be joined."""
    queue = client.waiting_queue
    while not queue.empty():
        queue.get_nowait()
        queue.task_done()
    kept, bypass, dropped = say("kept"), say("bypass"), say("dropped")
    judged: list[Any] = []

    def admitted(stanza: Any) -> bool:
        judged.append(stanza)
        return stanza is kept

    items: list[Any] = [("raw", True), (dropped, True), (kept, True), (bypass, False)]
    for item in items:
        queue.put_nowait(item)
    adapter.drop_queued(client, admitted)
    assert judged == [dropped, kept]
    left = [queue.get_nowait() for _ in range(queue.qsize())]
    assert left == [items[0], *items[2:]]
    for _ in left:
        queue.task_done()
    await until(queue.join())


def test_an_encrypting_filter_is_noticed(client: Client) -> None:
    """Only a filter of the kind of XEP-0420 counts."""
    client.add_filter("out_sync", nothing)
    assert not adapter.has_sce_filter(client)
    add: Any = client.add_filter
    add("out_sce", nothing)
    assert adapter.has_sce_filter(client)


def test_an_element_becomes_a_stanza(client: Client) -> None:
    built = adapter.build(client, client.make_iq_get(ito=BOB).xml)
    assert isinstance(built, Iq)

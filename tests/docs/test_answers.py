"""Every row of docs/protocol.md that says how something is answered, against what our sessions and bytestreams answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest

from tests.docs import documents
from tests.pair import Pair, config
from xmpp_e2e.errors import BytestreamFailed, BytestreamViolation, JingleError
from xmpp_e2e.negotiate import jingle as signalling
from xmpp_e2e.negotiate.jingle import Action, Reason
from xmpp_e2e.states import State
from xmpp_e2e.stream.send_buffer import ERROR
from xmpp_e2e.transport import ibb
from xmpp_e2e.types import Role

NAME = "docs/protocol.md"
NEGOTIATION = "1. Negotiation"
SECURITY = f"{{{signalling.NS_SECURITY}}}security"
TRANSPORT = f"{{{signalling.NS_IBB}}}transport"
FLIGHT, METHOD = f"{{{signalling.NS_SECURITY}}}flight", f"{{{signalling.NS_SECURITY}}}method"

Edit = Callable[[Element], Any]
"""Changes a <jingle/> on its way."""


def content(jingle: Element) -> Element:
    return jingle[0]


def child(jingle: Element, tag: str) -> Element:
    found = jingle.find(f".//{tag}")
    assert found is not None
    return found


def ends(pair: Pair) -> list[str]:
    """The reasons of every session-terminate that was sent."""
    parsed = [signalling.parse(element) for side in (pair.alice, pair.bob) for element in side.jingle_sent]
    return [jingle.reason.value for jingle in parsed if jingle.action is Action.SESSION_TERMINATE and jingle.reason]


def editing(action: str, edit: Edit) -> Pair:
    """A pair whose initiate or accept is edited on the way."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if element.get("action") == action:
            edit(element)
        return [element]

    return Pair(config("alice", fast_open=False), on_jingle=on_jingle).open()


# --- §1: answers by action, and reasons ------------------------------------------------------------------------------


def message(action: Action, sid: str, *children: Element) -> Element:
    jingle = Element(f"{{{signalling.NS_JINGLE}}}jingle", {"action": action.value, "sid": sid})
    jingle.extend(children)
    return jingle


def answer(pair: Pair, element: Element) -> set[str]:
    """What is answered, as the document writes it."""
    try:
        pair.bob.session.receive_jingle(element, pair.now)
    except JingleError as error:
        jingle = {f"<{error.jingle_condition}/>"} if error.jingle_condition else set()
        return {error.condition, *jingle, *([error.type] if error.type != "cancel" else [])}
    return {"result"}


def offered(pair: Pair) -> Element:
    """The content of Alice's offer."""
    return pair.alice.jingle_sent[0][0]


SPECIAL = {Action.SESSION_INITIATE, Action.SESSION_ACCEPT, Action.SESSION_TERMINATE, Action.SESSION_INFO, Action.CONTENT_ADD}


def test_answers_by_action() -> None:
    """Each action gets the answer that its row says, in a session that is open."""
    table = documents.rows(NAME, NEGOTIATION, 3)
    again, terminate, ping, info, add, others = [set(documents.code(row[1])) or {"result"} for row in table]
    pair = Pair().open()
    sid = pair.alice.session.sid
    for action in (Action.SESSION_INITIATE, Action.SESSION_ACCEPT):
        assert answer(pair, message(action, sid, offered(pair))) == again
    for action in set(Action) - SPECIAL:
        assert answer(pair, message(action, sid)) == others
    assert answer(pair, message(Action.SESSION_INFO, sid)) == ping
    assert answer(pair, message(Action.SESSION_INFO, sid, Element("{urn:example}x"))) == info
    assert answer(pair, message(Action.CONTENT_ADD, sid, offered(pair))) == {"result"}
    (reject,) = map(signalling.parse, pair.bob.session.jingle_to_send())
    assert {reject.action.value, reject.reason.value if reject.reason else ""} == add
    assert pair.bob.session.state is State.OPEN
    assert answer(pair, message(Action.SESSION_TERMINATE, sid)) == terminate


def with_a_flight(jingle: Element) -> None:
    SubElement(child(jingle, SECURITY), FLIGHT).text = "AAAA"


def with_other_methods(jingle: Element) -> None:
    for number, method in enumerate(child(jingle, SECURITY).findall(METHOD)):
        method.set("name", f"method-{number}")


UNFIT: tuple[tuple[str, Edit], ...] = (
    ("session-initiate", lambda jingle: content(jingle).remove(child(jingle, SECURITY))),
    ("session-initiate", lambda jingle: content(jingle).remove(content(jingle)[0])),
    ("session-initiate", lambda jingle: content(jingle).remove(child(jingle, TRANSPORT))),
    ("session-initiate", with_other_methods),
    ("session-accept", with_a_flight),
)


def test_reasons_for_what_is_of_no_use() -> None:
    """Each row is answered by a result and ends with the reason that it says."""
    table = documents.rows(NAME, NEGOTIATION, 2)
    for row, (action, edit) in zip(table, UNFIT, strict=True):
        pair = editing(action, edit)
        assert [*pair.alice.errors, *pair.bob.errors] == []
        assert ends(pair) == documents.code(row[1]), row


@pytest.mark.parametrize(
    "edit",
    [
        lambda jingle: child(jingle, TRANSPORT).set("sid", "another"),
        lambda jingle: content(jingle).set("name", "another"),
        lambda jingle: child(jingle, TRANSPORT).set("block-size", "8192"),
    ],
    ids=["stream", "name", "block-size"],
)
def test_an_accept_of_something_else(edit: Edit) -> None:
    """The other faults of the last row end alike."""
    assert ends(editing("session-accept", edit)) == ["security-error"]


def test_a_malformed_accept() -> None:
    """It is answered by bad-request, and the initiator terminates."""
    pair = editing("session-accept", lambda jingle: child(jingle, SECURITY).set("nonce", "AAAA"))
    assert [error.condition for error in pair.alice.errors] == ["bad-request"]
    assert ends(pair) == ["security-error"]


# --- §2: the bytestream ----------------------------------------------------------------------------------------------

SID = "stream"


def opening(**attributes: str) -> Element:
    return Element(ibb.OPEN, {"sid": SID, "block-size": "4096", "stanza": "iq", **attributes})


def data(seq: str, text: str) -> Element:
    element = Element(ibb.DATA, {"sid": SID, "seq": seq})
    element.text = text
    return element


NO_SIZE = Element(ibb.OPEN, {"sid": SID})
SMALL_BLOCKS = [data(str(seq), "AA==") for seq in range(256)]
MISUSES: tuple[tuple[list[Element], ...], ...] = (
    ([opening(), opening()], [data("0", "AA==")], [opening(), Element(ibb.CLOSE, {"sid": SID}), data("0", "AA==")]),
    ([opening(stanza="message")],),
    ([NO_SIZE], [opening(**{"block-size": "big"})], [opening(**{"block-size": "100000"})]),
    ([opening(**{"block-size": "4097"})],),
    ([opening(**{"block-size": "255"})],),
    tuple(
        [opening(), data(seq, text)]
        for seq, text in (("1", "AA=="), ("00", "AA=="), ("0", ""), ("0", "AB=="), ("0", "A A=="), ("0", "AAAA" * 1366))
    ),
    ([opening(), *SMALL_BLOCKS],),
)


def test_misuses_of_the_bytestream() -> None:
    """Each row but the first, which is the host's, is answered by its condition, and ends the bytestream."""
    table = documents.rows(NAME, "2. The bytestream")[1:]
    for row, cases in zip(table, MISUSES, strict=True):
        for *before, last in cases:
            stream = ibb.IBB(Role.RESPONDER, SID, 4096)
            for element in before:
                stream.receive(element)
            with pytest.raises(BytestreamViolation) as refused:
                stream.receive(last)
            assert refused.value.condition in documents.code(row[1]), row
            assert stream.ended


# --- §6: reasons at the end ------------------------------------------------------------------------------------------


def silent(stage: State) -> Pair:
    """A pair in which nothing arrives from the moment on that Alice is in ``stage``."""
    pair = Pair(config("alice", fast_open=stage is not State.HANDSHAKING))
    pair.on_jingle = lambda role, element: [] if pair.alice.session.state is stage else [element]
    pair.on_data = lambda role, data: [] if pair.alice.session.state is stage else [data]
    return pair.open()


def given_up() -> Pair:
    pair = silent(State.OFFER_SENT)
    pair.alice.session.close(pair.now)
    return pair.run()


def broken() -> Pair:
    pair = Pair().open()
    pair.alice.session.bytestream_failed(BytestreamFailed("broken"), pair.now)
    return pair.run()


def told() -> Pair:
    pair = Pair().open()
    pair.on_jingle = lambda role, element: [element] if role is Role.INITIATOR else []
    error = Element(ERROR)
    SubElement(error, "{urn:ietf:params:xml:ns:xmpp-streams}reset")
    return pair.says(Role.RESPONDER, error)


def unfit() -> Pair:
    keys = ({"psk": b"short"}, {"psk": bytes(32)})
    pair = Pair(*(config(name, shared_secrets=key) for name, key in zip(("alice", "bob"), keys, strict=True))).open()
    pair.bob.session.request_verification("psk", pair.now)
    return pair.run()


def terminated() -> Pair:
    pair = silent(State.OFFER_SENT)
    jingle = signalling.Jingle(Action.SESSION_TERMINATE, pair.alice.session.sid, reason=Reason.DECLINE)
    pair.alice.session.receive_jingle(signalling.build(jingle), pair.now)
    return pair.run()


ENDS: tuple[Callable[[], Pair], ...] = (
    lambda: silent(State.SENT_DONE_EARLY).pass_time(61),
    given_up,
    lambda: silent(State.HANDSHAKING).pass_time(16),
    broken,
    lambda: Pair().open().end_transport(Role.INITIATOR),
    told,
    unfit,
    lambda: Pair().open().says(Role.RESPONDER, Element("{urn:example}x")),
    terminated,
)


def test_the_reason_of_every_end() -> None:
    """Each row of the last table ends with its reason, said by Alice."""
    table = documents.rows(NAME, "7. The end")
    for row, play in zip(table, ENDS, strict=True):
        pair = play()
        pair.bob.jingle_sent.clear()
        assert ends(pair) == documents.code(row[1]), row

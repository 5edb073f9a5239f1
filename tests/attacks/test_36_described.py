"""Attack 36: a server edits how the session is described: its description, its name, or a statement in the assertion's slot.

Nobody signs assertions yet, so here a sender puts one in by hand; what becomes of it on the way is found out inside TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from xml.etree.ElementTree import Element, SubElement

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.signalling_edits import ACTIONS, SECURITY, terminate_reasons
from tests.pair import JingleHook, Pair, has_code, message
from tests.slixmpp_e2e.env import BOB, Env, Events, jingle
from xmpp_e2e import events
from xmpp_e2e.errors import AuthenticationFailed, Code, E2EError, LocalError, PeerIncompatible, PeerMisbehaved, PeerRefused
from xmpp_e2e.negotiate.digest import SignalledHalf
from xmpp_e2e.negotiate.jingle import NS_JINGLE, NS_XMLSTREAM, Security
from xmpp_e2e.states import State
from xmpp_e2e.types import Assurance, Role

SECRET = "the treasure is under the oak"
ASSERTION = "{urn:x-xmpp-e2e:security:0}assertion"
CONTENT, DESCRIPTION = f"{{{NS_JINGLE}}}content", f"{{{NS_XMLSTREAM}}}description"
STATEMENT = "said.by.a.domain~bound"

Edit = Callable[[Element], None]
"""Changes a <jingle/> in place."""
roles = pytest.mark.parametrize("role", Role)


@pytest.fixture
def asserted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides put a statement of their domains into what they signal."""
    monkeypatch.setattr("xmpp_e2e.negotiate.negotiation.Security", partial(Security, assertion=STATEMENT))


def strip(element: Element) -> None:
    for security in element.iter(SECURITY):
        for assertion in security.findall(ASSERTION):
            security.remove(assertion)


def exchange(element: Element) -> None:
    """By one that is as good, of another day or another person."""
    for assertion in element.iter(ASSERTION):
        assertion.text = STATEMENT.swapcase()


def cut_short(element: Element) -> None:
    """The binding to this session goes."""
    for assertion in element.iter(ASSERTION):
        assertion.text = STATEMENT.partition("~")[0]


def other_application(element: Element) -> None:
    for description in element.iter(DESCRIPTION):
        description.tag = "{urn:xmpp:jingle:apps:rtp:1}description"


def no_application(element: Element) -> None:
    for content in element.iter(CONTENT):
        content.remove(content.findall(DESCRIPTION)[0])


def rename(element: Element) -> None:
    for content in element.iter(CONTENT):
        content.set("name", "other")


def say_more(element: Element) -> None:
    """What a description holds means nothing in this version, and no server can make it mean something."""
    for description in element.iter(DESCRIPTION):
        description.set("security", "none")
        SubElement(description, "plaintext")


statements = pytest.mark.parametrize("edit", [strip, exchange, cut_short])


def on(role: Role, edit: Edit) -> JingleHook:
    """Edit what ``role`` signals."""

    def hook(sender: Role, element: Element) -> list[Element]:
        if sender is role and element.get("action") == ACTIONS[role]:
            edit(element)
        return [element]

    return hook


def assert_nothing_came_of_it(pair: Pair, *, reasons: set[str]) -> None:
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas
        with pytest.raises(LocalError):
            side.session.send_stanza(message(SECRET))
    assert set(terminate_reasons(pair.alice.jingle_sent + pair.bob.jingle_sent)) == reasons


@roles
@statements
@pytest.mark.usefixtures("asserted")
def test_a_statement_arrives_as_it_was_or_not_at_all(role: Role, edit: Edit) -> None:
    """Taken out, exchanged or cut short, in either half: the digests differ, and the user reads what it may be."""
    pair = Pair(on_jingle=on(role, edit)).open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    assert "A server on the path edited the negotiation" in explain(pair.bob.failure)
    assert isinstance(pair.alice.failure, AuthenticationFailed)
    assert_nothing_came_of_it(pair, reasons={"security-error"})


@pytest.mark.usefixtures("asserted")
def test_a_statement_that_nobody_touched_is_in_no_way() -> None:
    """It is worth nothing in this version: the session opens, and is vouched for by the servers, as without."""
    pair = Pair().open()
    assert all(element.find(f".//{ASSERTION}") is not None for element in pair.alice.jingle_sent[:1] + pair.bob.jingle_sent[:1])
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.OPEN
        assert side.session.assurance is Assurance.VOUCHED


@roles
@pytest.mark.parametrize("edit", [other_application, no_application])
def test_another_description_is_another_application(role: Role, edit: Edit) -> None:
    """Who reads it refuses before TLS, and does not go on with what the server made of it."""
    pair = Pair(on_jingle=on(role, edit)).open()
    victim = pair.side(role.other)
    assert isinstance(victim.failure, PeerIncompatible)
    assert "A server that edits the negotiation can cause this too" in explain(victim.failure)
    assert isinstance(pair.side(role).failure, PeerRefused)
    assert_nothing_came_of_it(pair, reasons={"unsupported-applications"})


@roles
def test_a_name_that_is_edited_in_one_half(role: Role) -> None:
    """The accept answers something that was not offered."""
    pair = Pair(on_jingle=on(role, rename)).open()
    assert isinstance(pair.alice.failure, PeerMisbehaved)
    assert "Somebody on the path may be altering the conversation." in explain(pair.alice.failure)
    assert_nothing_came_of_it(pair, reasons={"security-error"})


def renamed(sender: Role, element: Element) -> list[Element]:
    """One name for Alice, another for Bob."""
    for content in element.iter(CONTENT):
        content.set("name", "other" if sender is Role.INITIATOR else "e2e")
    return [element]


def test_a_name_that_is_edited_in_both_halves() -> None:
    """Each reads the name that they know, and the digests differ."""
    pair = Pair(on_jingle=renamed).open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    assert_nothing_came_of_it(pair, reasons={"security-error"})


@roles
def test_what_a_description_holds_changes_nothing(role: Role) -> None:
    """Words of a server in it are not read: the session is as secure as without."""
    pair = Pair(on_jingle=on(role, say_more)).open()
    pair.alice.session.send_stanza(message(SECRET))
    assert pair.run().bob.stanzas == [SECRET]


EDITED: dict[str, tuple[Edit, type[E2EError]]] = {
    "stripped": (strip, AuthenticationFailed),
    "exchanged": (exchange, AuthenticationFailed),
    "other application": (other_application, PeerRefused),
    "no application": (no_application, PeerRefused),
}


@pytest.mark.parametrize(("edit", "error"), EDITED.values(), ids=EDITED)
@pytest.mark.usefixtures("asserted")
async def test_between_clients(env: Env, edit: Edit, error: type[E2EError]) -> None:
    """The server edits the offer on its way: the message fails, visibly; nothing is delivered, and nothing is in clear."""
    alice, bob = await env.pair()

    def hook(stanza: Element, sender: str) -> Element:
        if jingle("session-initiate")(stanza, sender):
            edit(stanza[0])
        return stanza

    env.server.hooks.append(hook)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    started = [Events(client, "e2e_session_opened") for client in (alice, bob)]
    alice.send_message(mto=BOB, mbody=SECRET, mtype="chat")
    assert isinstance((await failed.take()).error, error)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not any(map(len, started))
    assert env.in_clear(SECRET) == []


# --- control ---------------------------------------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """The digest does not cover this field of either half."""
    genuine = SignalledHalf.encode
    monkeypatch.setattr(SignalledHalf, "encode", lambda self: genuine(replace(self, **{field: ""})))


@roles
@statements
@pytest.mark.usefixtures("asserted")
def test_control_a_statement_that_is_not_in_the_digest(role: Role, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were the slot left out of the digest, a server could take the statement away, or give another, unnoticed."""
    without(monkeypatch, "assertion")
    pair = Pair(on_jingle=on(role, edit)).open()
    pair.alice.session.send_stanza(message("unnoticed"))
    assert pair.run().bob.stanzas == ["unnoticed"]


def test_control_a_name_that_is_not_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: and so it is with the name."""
    without(monkeypatch, "content_name")
    pair = Pair(on_jingle=renamed).open()
    pair.alice.session.send_stanza(message("unnoticed"))
    assert pair.run().bob.stanzas == ["unnoticed"]

"""The other implementation acknowledges, and resumes what a session has left, with ours in both roles."""

from __future__ import annotations

import pytest

from tests.docs.second_pair import ROLES, Wire
from tests.pair import body, message
from xmpp_e2e import events
from xmpp_e2e.types import Role


def bodies(wire: Wire) -> list[str]:
    """What the other implementation has got."""
    return [body(stanza) for stanza in wire.theirs.stanzas]


def acknowledged(wire: Wire) -> list[object]:
    """What it has acknowledged, by our tags."""
    return [stanza.tag for event in wire.ours.side.of(events.StanzasAcknowledged) for stanza in event.stanzas]


def we_send(wire: Wire, *texts: str) -> None:
    """Nothing of it arrives yet."""
    for text in texts:
        wire.ours.session.send_stanza(message(text), text)
    wire.ours.pump()


def they_send(wire: Wire, *texts: str) -> None:
    """Nothing of it arrives yet."""
    for text in texts:
        wire.theirs.send(f"<message><body>{text}</body></message>".encode())


@ROLES
def test_it_acknowledges(role: Role) -> None:
    wire = Wire(role)
    we_send(wire, "one", "two")
    wire.run()
    assert acknowledged(wire) == ["one", "two"]


@ROLES
def test_it_answers(role: Role) -> None:
    """And what ours acknowledges it keeps no longer."""
    wire = Wire(role)
    they_send(wire, "one")
    wire.run()
    we_send(wire, "two")
    wire.ours.session.request_acknowledgement()
    wire.run()
    assert acknowledged(wire) == ["two"]
    assert wire.theirs._numbers.mine.left == []


@ROLES
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
def test_what_was_lost_is_resumed(role: Role, who: str) -> None:
    """Whoever has something left, and whoever opens the next session."""
    wire = Wire(role)
    we_send(wire, "one")
    they_send(wire, "first")
    wire.run()
    if who != "theirs":
        we_send(wire, "two", "three")
    if who != "ours":
        they_send(wire, "second", "third")
    wire.cut()
    again = Wire(role.other, after=wire)
    we_send(again, "four")
    they_send(again, "fourth")
    again.run()
    assert bodies(wire) + bodies(again) == ["one", *(["two", "three"] if who != "theirs" else []), "four"]
    ours = wire.ours.side.stanzas + again.ours.side.stanzas
    assert ours == ["first", *(["second", "third"] if who != "ours" else []), "fourth"]
    assert set(acknowledged(wire) + acknowledged(again)) == {*bodies(wire), *bodies(again)}


@ROLES
def test_what_came_is_not_sent_again(role: Role) -> None:
    """It came, and its acknowledgement did not."""
    wire = Wire(role)
    we_send(wire, "one", "two")
    iqs, wire.ours.iqs = wire.ours.iqs, []
    for iq in iqs:
        wire.theirs.receive(iq)
    wire.cut()
    assert bodies(wire) == ["one", "two"]
    assert acknowledged(wire) == []
    again = Wire(role, after=wire)
    assert bodies(again) == []
    assert acknowledged(again) == ["one", "two"]


@ROLES
def test_one_that_acknowledges_nothing(role: Role) -> None:
    """Ours says nothing of it, and keeps nothing."""
    wire = Wire(role, theirs={"acknowledges": False})
    we_send(wire, "one")
    they_send(wire, "two")
    wire.run()
    assert (bodies(wire), wire.ours.side.stanzas) == (["one"], ["two"])
    assert wire.ours.session.memory == 0
    (told,) = wire.ours.side.of(events.StanzasAcknowledged)
    assert not told.by_peer


@ROLES
def test_a_farewell_acknowledges_all(role: Role) -> None:
    wire = Wire(role)
    we_send(wire, "one")
    they_send(wire, "two")
    wire.theirs.close()
    wire.run()
    assert acknowledged(wire) == ["one"]
    assert wire.theirs._numbers.mine.left == []
    assert wire.theirs.ended == "clean"

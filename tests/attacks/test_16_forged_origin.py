"""Attack 16: stanzas that claim to be somebody else's, or to have come through a session."""

from __future__ import annotations

import re
from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

import pytest

from tests.pair import ALICE as CORE_ALICE
from tests.pair import BOB as CORE_BOB
from tests.pair import Pair, message
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e, token_of
from xmpp_e2e import events
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_loopback import hostile

PROTECTION = "{urn:x-xmpp-e2e:local:0}protection"
FOREIGN = [{"from": "boss@corp.test/desk"}, {"to": "eve@e.test"}, {"from": "boss@corp.test", "to": "eve@e.test"}]


def outer(sender: str, to: str, body: str, *marks: Element) -> Element:
    """What a server can write in clear."""
    stanza = Element("{jabber:client}message", {"from": sender, "to": to, "type": "chat", "id": "forged"})
    SubElement(stanza, "{jabber:client}body").text = body
    stanza.extend(marks)
    return stanza


def protection(token: str) -> Element:
    return Element(PROTECTION, {"token": token})


# --- inside ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", FOREIGN)
def test_the_session_says_who_writes(claim: dict[str, str]) -> None:
    """The core overwrites both addresses."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("hi", **claim))
    pair.run()
    (received,) = pair.bob.of(events.StanzaReceived)
    assert (received.stanza.get("from"), received.stanza.get("to")) == (CORE_ALICE, CORE_BOB)


@pytest.mark.parametrize("claim", FOREIGN)
async def test_handlers_see_the_sessions_addresses(env: Env, claim: dict[str, str]) -> None:
    """A peer who writes as somebody else is shown as themselves."""
    alice, bob = await env.pair()
    ours, _ = await env.session(alice, bob)
    heard = Events(bob, "message")
    ours._driver.send(message("hi", **claim))
    got = await heard.take()
    assert (got["from"].full, got["to"].full) == (ALICE, BOB)
    assert str(got["e2e"]["assurance"]) == "vouched"


async def test_a_marker_from_inside_counts_for_nothing(env: Env) -> None:
    """A peer cannot raise their own label: a marker with any token, even that of a better session, is replaced by their own."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    await e2e(bob).trust.pin("carol@localhost", e2e(carol).fingerprint)
    _, verified = await env.session(carol, bob)
    assert str(verified.assurance) == "verified"
    ours, theirs = await env.session(alice, bob)
    heard = Events(bob, "message")
    forged = message("trust me")
    forged.extend([protection(token_of(bob, verified)), protection("0" * 32)])
    wrapped = SubElement(SubElement(forged, "{urn:xmpp:forward:0}forwarded"), "{jabber:client}message")
    wrapped.append(protection(token_of(bob, verified)))
    ours._driver.send(forged)
    got = await heard.take()
    assert got["e2e"]["session"] is theirs
    assert str(got["e2e"]["assurance"]) == "vouched"
    assert [found.get("token") for found in got.xml.iter(PROTECTION)] == [token_of(bob, theirs)]


# --- in clear --------------------------------------------------------------------------------------------------------


async def forged(env: Env, policy: str, *marks: str) -> tuple[Events, Events]:
    """Bob has an open session with Alice, and the server writes in Alice's name with markers."""
    alice, bob = await env.pair(policy=policy)
    await env.session(alice, bob)
    heard, refused = Events(bob, "message"), Events(bob, "e2e_plaintext_refused")
    env.server.inject(BOB, outer(ALICE, BOB, "it is me", *map(protection, marks)))
    await env.settle(bob)
    return heard, refused


@pytest.mark.parametrize("marks", [(), ("",), ("f" * 32,), ("f" * 32, "e" * 32)])
async def test_plaintext_with_a_marker_is_refused_under_require(env: Env, marks: tuple[str, ...]) -> None:
    """Not delivered, and the user reads who might have written it."""
    heard, refused = await forged(env, "require", *marks)
    report = await refused.take()
    assert "A server that forges messages in their name would have to send them like this." in str(report)
    assert len(heard) == 0


@pytest.mark.parametrize("marks", [(), ("",), ("f" * 32,), ("f" * 32, "e" * 32)])
async def test_plaintext_with_a_marker_is_labelled_plaintext(env: Env, marks: tuple[str, ...]) -> None:
    """Under ``prefer`` it is delivered as what it is: assurance ``none``, no session, no key; and the user is told."""
    heard, refused = await forged(env, "prefer", *marks)
    got = await heard.take()
    assert str(got["e2e"]["assurance"]) == "none"
    assert got["e2e"]["session"] is None
    assert got["e2e"]["fingerprint"] is None
    assert all(found.get("token") is None for found in got.xml.iter(PROTECTION))  # made by our asking, if at all
    assert len(refused) == 0


async def test_tokens_never_reach_the_wire(env: Env) -> None:
    """A handler that sends on what it got, marker and all, gives no token away: not inside, not in clear."""
    alice, bob = await env.pair()
    carol = await env.client("carol@localhost/c", load=False)
    ours, theirs = await env.session(alice, bob)
    heard, carols = Events(bob, "message"), Events(carol, "message")
    alice.send_message(mto=BOB, mbody="pass it on", mtype="chat")
    got = await heard.take()
    assert got["e2e"]["session"] is theirs
    forward = bob.make_message(mto="carol@localhost/c", mbody="see this", mtype="chat")
    SubElement(forward.xml, "{urn:xmpp:forward:0}forwarded").append(deepcopy(got.xml))
    forward.send()
    received = await carols.take()
    assert received.xml.find(f".//{{jabber:client}}message/{PROTECTION}") is None
    assert env.in_clear(token_of(alice, ours), token_of(bob, theirs)) == []


async def test_a_token_that_is_known_admits_nothing(env: Env) -> None:
    """slixmpp logs what handlers get, marker and all, at the level DEBUG: a server whose owner reads that log forges no
    label with it, since the stanza comes from outside. Control: handed to the filters by us, it would have the label."""
    alice, bob = await env.pair(policy="require")
    _, theirs = await env.session(alice, bob)
    heard, refused = Events(bob, "message"), Events(bob, "e2e_plaintext_refused")
    assert re.fullmatch(r"[0-9a-f]{32}", token_of(bob, theirs))
    env.server.inject(BOB, outer(ALICE, BOB, "it is me", protection(token_of(bob, theirs))))
    await refused.take()
    assert len(heard) == 0
    e2e(bob)._client._incoming._injected = bob.make_message(mto=BOB)
    env.server.inject(BOB, outer(ALICE, BOB, "it is me", protection(token_of(bob, theirs))))
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"


async def test_an_ended_sessions_token_admits_nothing(env: Env) -> None:
    """The token of a session that is over is no way in."""
    alice, bob = await env.pair(policy="require")
    ours, theirs = await env.session(alice, bob)
    token = token_of(bob, theirs)
    await ours.close()
    await theirs.wait_closed()
    await env.settle(alice, bob)
    heard, refused = Events(bob, "message"), Events(bob, "e2e_plaintext_refused")
    env.server.inject(BOB, outer(ALICE, BOB, "it is me", protection(token)))
    await refused.take()
    assert len(heard) == 0


# --- a third resource ------------------------------------------------------------------------------------------------

THIRD = "alice@localhost/other"


@pytest.mark.parametrize("sender", [THIRD, "alice@localhost", "carol@localhost/c", "localhost"])
async def test_nobody_else_continues_a_session(env: Env, sender: str) -> None:
    """Jingle and blocks with the right sids from another address: unknown session, and the session lives on."""
    recorder = hostile.Recorder(env.server, lambda stanza, origin: origin == ALICE and "iq" in stanza.tag)
    env.server.hooks.append(recorder)
    alice, bob = await env.pair()
    ours, theirs = await env.session(alice, bob)
    data = [stanza for stanza, _ in recorder.taken if stanza.find(f"{{{NS_IBB}}}data") is not None]
    stream = data[-1][0].get("sid", "")
    terminate = Element(f"{{{NS_JINGLE}}}jingle", {"action": "session-terminate", "sid": ours.sid})
    close, block = (Element(f"{{{NS_IBB}}}{name}", {"sid": stream}) for name in ("close", "data"))
    block.text, block.attrib["seq"] = "AAAA", str(len(data))
    for number, payload in enumerate((terminate, close, block)):
        iq = Element("{jabber:client}iq", {"type": "set", "id": f"third-{number}", "from": sender, "to": BOB})
        iq.append(payload)
        env.server.inject(BOB, iq)
    await env.settle(alice, bob)
    answers = [handled.text for handled in env.server.handled if handled.client == BOB and "third-" in handled.text]
    refusals = [text for text in answers if "type='error'" in text or 'type="error"' in text]
    assert len(refusals) == 3
    assert ours.is_open
    assert theirs.is_open
    heard = Events(bob, "message")
    alice.send_message(mto=BOB, mbody="still here", mtype="chat")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"


async def test_a_third_resource_is_labelled_plaintext(env: Env) -> None:
    """Another resource of the same account, in clear: no session is theirs."""
    alice, bob = await env.pair()
    await env.session(alice, bob)
    heard = Events(bob, "message")
    env.server.inject(BOB, outer(THIRD, BOB, "me too"))
    got = await heard.take()
    assert got["e2e"]["session"] is None
    assert str(got["e2e"]["assurance"]) == "none"

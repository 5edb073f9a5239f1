"""docs/protocol.md says enough: an implementation written from it alone talks to ours, in both roles."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher.base import MatcherBase

from slixmpp_e2e.prompts import SasPrompt
from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.docs import second_acks, second_implementation, second_proofs, second_signalling
from tests.docs.second_implementation import Endpoint
from tests.docs.second_pair import CLIENT, ROLES, Wire
from tests.pair import ALICE, BOB, body, has_code
from tests.slixmpp_e2e.conftest import env as env
from tests.slixmpp_e2e.env import BOB as PLUGIN
from tests.slixmpp_e2e.env import Env, Events, e2e, echo, turns, until
from xmpp_e2e import events
from xmpp_e2e.errors import Code
from xmpp_e2e.negotiate.jingle import NS_JINGLE
from xmpp_e2e.states import State
from xmpp_e2e.transport.ibb import NS_IBB
from xmpp_e2e.types import Assurance, Role
from xmpp_loopback import online

FLIGHTS = pytest.mark.parametrize("flights", [True, False], ids=["flights", "no flights"])


def test_it_imports_nothing_of_ours() -> None:
    """The standard library, cryptography and pyOpenSSL are all that the other implementation stands on."""
    names = set()
    for module in (second_implementation, second_signalling, second_proofs, second_acks):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names -= {second_signalling.__name__, second_proofs.__name__, second_acks.__name__}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign == {"cryptography", "OpenSSL"}


@FLIGHTS
@ROLES
def test_stanzas_flow_both_ways(role: Role, flights: bool) -> None:
    """The session opens under TLS 1.3, and what each side says arrives in order, also what takes many blocks."""
    wire = Wire(role, flights=flights)
    assert wire.theirs.open
    assert wire.ours.session.state is State.OPEN
    long = "x" * 150_000
    wire.we_say("one", long, "three")
    wire.they_say("four", long, "six")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["one", long, "three"]
    assert wire.ours.side.stanzas == ["four", long, "six"]
    assert {stanza.get("from") for stanza in wire.theirs.stanzas} == {ALICE}
    received = wire.ours.side.of(events.StanzaReceived)
    assert {event.stanza.get("from") for event in received} == {BOB}


@ROLES
@pytest.mark.parametrize("closer", ["ours", "theirs", "both"])
def test_farewells_are_clean(role: Role, closer: str) -> None:
    """Whoever says farewell, both sides know that nothing was lost."""
    wire = Wire(role)
    if closer != "theirs":
        wire.ours.session.close(0.0)
        wire.ours.pump()
    if closer != "ours":
        wire.theirs.close()
    wire.run()
    assert wire.theirs.ended == "clean"
    assert wire.ours.side.of(events.SessionClosed) == [events.SessionClosed(clean=True, error=None)]


@ROLES
def test_an_edited_negotiation_is_found_out_by_both(role: Role) -> None:
    """A nonce that was exchanged on the way makes the digests differ: nothing opens."""

    def alter(iq: Element) -> None:
        for security in iq.iter("{urn:x-xmpp-e2e:security:0}security"):
            security.set("nonce", "AAAAAAAAAAAAAAAAAAAAAA==")

    wire = Wire(role, alter)
    # the responder looks first, and the initiator learns that it failed, not why
    found = Code.NEGOTIATION_ALTERED if role is Role.RESPONDER else Code.AUTHENTICATION_FAILED
    assert has_code(found)(wire.ours.side.failure)
    assert wire.ours.session.state is State.CLOSED
    assert wire.theirs.ended == "security-error"
    assert not wire.theirs.stanzas


@FLIGHTS
@ROLES
def test_an_exchanged_fingerprint_stops_tls(role: Role, flights: bool) -> None:
    """Each side compares the certificate with what was signalled, and refuses inside the handshake."""

    def alter(iq: Element) -> None:
        if iq.get("from") == BOB:
            for fingerprint in iq.iter("{urn:xmpp:jingle:apps:dtls:0}fingerprint"):
                fingerprint.text = ":".join(["00"] * 32)

    wire = Wire(role, alter, flights=flights)
    assert has_code(Code.FINGERPRINT_MISMATCH)(wire.ours.side.failure)
    assert not wire.theirs.open
    assert wire.theirs.ended


@ROLES
def test_a_cut_is_no_farewell(role: Role) -> None:
    """A session-terminate that a server made up is told as a cut on the other side, too."""
    wire = Wire(role)
    forged = Element(f"{CLIENT}iq", {"type": "set", "id": "forged", "from": ALICE, "to": BOB})
    jingle = SubElement(forged, f"{{{NS_JINGLE}}}jingle", {"action": "session-terminate", "sid": wire.ours.session.sid})
    SubElement(SubElement(jingle, f"{{{NS_JINGLE}}}reason"), f"{{{NS_JINGLE}}}success")
    wire.theirs.receive(forged)
    assert wire.theirs.ended == "cut"


# --- over a server, with the plugin ----------------------------------------------------------------------------------


class _Takes(MatcherBase):
    """Iqs that the other implementation is for."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(None)
        self._endpoint = endpoint

    def match(self, stanza: Any) -> bool:
        if not isinstance(stanza, Iq) or stanza["from"].full != self._endpoint.peer:
            return False
        return stanza["type"] in ("result", "error") or stanza.xml[0].tag in (f"{{{NS_JINGLE}}}jingle", *_BLOCKS)


SECOND = "alice@localhost/a"
_BLOCKS = tuple(f"{{{NS_IBB}}}{name}" for name in ("open", "data", "close"))


def install(client: ClientXMPP, endpoint: Endpoint) -> None:
    """Let an ordinary client, which knows nothing of our plugin, carry the iqs of the other implementation."""

    def carry(iq: Any) -> None:
        endpoint.receive(fromstring(tostring(iq.xml)))
        flush(client, endpoint)

    client.register_handler(Callback("second", _Takes(endpoint), carry))


def flush(client: ClientXMPP, endpoint: Endpoint) -> None:
    """Send what the other implementation has to say."""
    iqs, endpoint.iqs = endpoint.iqs, []
    for iq in iqs:
        del iq.attrib["from"]
        client.send_raw(tostring(iq, encoding="unicode"))


async def carried(env: Env, endpoint: Endpoint) -> ClientXMPP:
    """An ordinary client that is online and carries the iqs of the other implementation."""
    client = env.make(SECOND, "xep_0030", "xep_0115", load=False)
    install(client, endpoint)
    plugins: Any = client.plugin
    for feature in second_signalling.FEATURES:
        plugins["xep_0030"].add_feature(feature)
    await online(client, env.server)
    return client


@FLIGHTS
@pytest.mark.parametrize("offers", ["plugin", "second"])
async def test_it_talks_to_the_plugin_over_a_server(env: Env, offers: str, flights: bool) -> None:
    """Discovery, negotiation, bytestream and farewell over a real stream: a bot with the plugin answers inside the session."""
    bot = await env.client(PLUGIN, accept_from="anyone")
    echo(bot)
    endpoint = Endpoint(SECOND, PLUGIN, flights=flights)
    alice = await carried(env, endpoint)
    started, ended = Events(bot, "e2e_session_opened"), Events(bot, "e2e_session_closed")
    if offers == "second":
        endpoint.offer()
        flush(alice, endpoint)
    else:
        await until(e2e(bot).connect(SECOND))
    await started.take()
    await env.settle(alice, bot)
    assert endpoint.open
    endpoint.send(b"<message type='chat'><body>over and out</body></message>")
    flush(alice, endpoint)
    while not endpoint.stanzas:
        await env.settle(alice, bot)
        await turns()
    assert [body(stanza) for stanza in endpoint.stanzas] == ["echo: over and out"]
    endpoint.close()
    flush(alice, endpoint)
    assert (await ended.take()).clean
    assert env.in_clear("over and out") == []


@pytest.mark.parametrize("offers", ["plugin", "second"])
async def test_both_know_the_password(env: Env, offers: str) -> None:
    """Each derives its secret by itself. It proves both sides before a stanza flows; later their users compare."""
    seen: list[str] = []

    async def looks(compare: SasPrompt) -> bool:
        seen.append(compare.decimal)
        return True

    mine, other = (jid.partition("/")[0] for jid in (PLUGIN, SECOND))
    bot = await env.client(PLUGIN, accept_from="anyone", ask_sas=looks)
    e2e(bot)._client._store.put_secret(other, "srp", "1", derive_srp_secret("na\u00efve\u00a0fog", mine, other))
    known = {"srp": second_proofs.stretched("nai\u0308ve fog", other, mine)}
    endpoint = Endpoint(SECOND, PLUGIN, flights=True, secrets=known, need=("srp",), compares=True)
    alice = await carried(env, endpoint)
    started = Events(bot, "e2e_session_opened")
    if offers == "second":
        endpoint.offer()
        flush(alice, endpoint)
    else:
        await until(e2e(bot).connect(SECOND))
    assert (await started.take()).assurance is Assurance.VERIFIED
    await env.settle(alice, bot)
    assert endpoint.open
    assert endpoint.runs.proven == ["srp"]
    endpoint.want("sas")
    flush(alice, endpoint)
    while not seen:
        await env.settle(alice, bot)
        await turns()
    assert seen == [" ".join(second_proofs.shown(endpoint.runs.talks[-1].code)["decimal"])]

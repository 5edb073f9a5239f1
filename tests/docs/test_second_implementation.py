"""docs/protocol.md says enough: an implementation written from it alone talks to ours, in both roles."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import pytest
from slixmpp import ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher.base import MatcherBase

from slixmpp_e2e.loopback import online
from slixmpp_e2e.passwords import stretched
from slixmpp_e2e.proofs import Compare
from tests.docs import second_implementation, second_proofs
from tests.docs.second_implementation import Endpoint
from tests.pair import ALICE, BOB, Side, body, dice, identity, message
from tests.slixmpp_e2e.conftest import world as world
from tests.slixmpp_e2e.world import BOB as PLUGIN
from tests.slixmpp_e2e.world import Heard, World, e2e, echo, turns, until
from xmpp_e2e import events
from xmpp_e2e.authenticate.base import GuessReturned, GuessSpent, StringsShown
from xmpp_e2e.authenticate.hello import NegotiationAltered
from xmpp_e2e.authenticate.strings import Form, render
from xmpp_e2e.config import Config
from xmpp_e2e.errors import AuthenticationFailed, FingerprintMismatch, JingleError, TransportFailed, TransportMisused
from xmpp_e2e.identity import Assurance, Remembered, Role
from xmpp_e2e.negotiate.jingle import NS_ERRORS, NS_JINGLE
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.transport.base import arrived
from xmpp_e2e.transport.ibb import IBB, NS_IBB, Receipt

CLIENT = "{jabber:client}"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Ours:
    """A host of our own session, as small as one can be: iqs in, iqs out."""

    def __init__(self, role: Role, **terms: Any) -> None:
        self.side = Side(Session(role, Config(ALICE, BOB, identity("alice"), dice("alice"), **terms), Remembered()))
        self.session = self.side.session
        self.iqs: list[Element] = []
        self._ibb: IBB | None = None
        self._ids = 0
        self._waiting: dict[str, int | None] = {}
        self._due: dict[Receipt, Element] = {}

    def receive(self, iq: Element) -> None:
        """An iq came."""
        if iq.get("type") != "set":
            self._replied(iq)
        elif iq[0].tag == f"{{{NS_JINGLE}}}jingle":
            try:
                self.session.receive_jingle(iq[0], 0.0)
            except JingleError as error:
                self._answer(iq, error.condition, error.jingle_condition)
            else:
                self._answer(iq)
        elif iq[0].tag.startswith(f"{{{NS_IBB}}}"):
            self._receive_block(iq)
        self.pump()

    def pump(self) -> None:
        """Do what the session asks for."""
        while (event := self.session.next_event()) is not None:
            self.side.events.append(event)
            if isinstance(event, events.SessionOffered):
                self.session.accept(0.0)
            elif isinstance(event, events.TransportAgreed):
                self._ibb = IBB(self.session.role, event.sid, event.block_size)
                if self.session.role is Role.INITIATOR:
                    self._ibb.open()
                    self.session.transport_ready(0.0)
            elif isinstance(event, events.Asked) and isinstance(event.question, GuessSpent | GuessReturned):
                self.session.answer(b"", 0.0)
        if self._ibb is not None:
            while data := self.session.data_to_send():
                self._ibb.send(data)
            for tag, payload in self._ibb.stanzas_to_send():
                self._request(payload, tag)
            for receipt in self._ibb.acknowledgements_due():
                self._answer(self._due.pop(receipt))
        if self._ibb is None or self._ibb.drained or self._ibb.failure:
            for jingle in self.session.jingle_to_send():
                self._request(jingle, None)

    def _receive_block(self, iq: Element) -> None:
        if self._ibb is None:
            self._answer(iq, "item-not-found")
            return
        try:
            self._due[self._ibb.receive(iq[0])] = iq
        except TransportMisused as error:
            self._answer(iq, error.condition)
            self.session.transport_failed(error, 0.0)
            return
        if self.session.stage is Stage.CONNECTING:
            self.session.transport_ready(0.0)
        if (data := arrived(self._ibb)) is not None:
            self.session.receive_data(data, 0.0)

    def _replied(self, iq: Element) -> None:
        tag = self._waiting.pop(iq.get("id", ""))
        error = iq.find(f"{CLIENT}error")
        condition = None if error is None else error[0].tag.rpartition("}")[2]
        if tag is None:
            if condition is not None:
                self.session.receive_jingle_error(condition, 0.0)
            return
        assert self._ibb is not None
        try:
            if condition is None:
                self._ibb.acknowledged(tag)
            else:
                self._ibb.failed(tag, condition)
        except TransportFailed as failed:
            self.session.transport_failed(failed, 0.0)

    def _request(self, payload: Element, tag: int | None) -> None:
        self._ids += 1
        iq = Element(f"{CLIENT}iq", {"type": "set", "id": str(self._ids), "from": ALICE, "to": BOB})
        iq.append(payload)
        self._waiting[iq.attrib["id"]] = tag
        self.iqs.append(iq)

    def _answer(self, request: Element, condition: str = "", jingle: str | None = None) -> None:
        kind = "error" if condition else "result"
        iq = Element(f"{CLIENT}iq", {"type": kind, "id": request.attrib["id"], "from": ALICE, "to": BOB})
        if condition:
            error = SubElement(iq, f"{CLIENT}error", {"type": "cancel"})
            SubElement(error, f"{{{STANZAS}}}{condition}")
            if jingle is not None:
                SubElement(error, f"{{{NS_ERRORS}}}{jingle}")
        self.iqs.append(iq)


class Wire:
    """Our session and the other implementation; ``alter`` may change an iq on its way."""

    def __init__(
        self,
        role: Role,
        alter: Callable[[Element], None] = lambda iq: None,
        *,
        flights: bool = True,
        ours: dict[str, Any] | None = None,
        theirs: dict[str, Any] | None = None,
    ) -> None:
        """``ours`` and ``theirs`` are terms of our session and of the other."""
        self.ours, self.theirs = Ours(role, **(ours or {})), Endpoint(BOB, ALICE, flights=flights, **(theirs or {}))
        self._alter = alter
        if role is Role.INITIATOR:
            self.ours.session.offer(0.0)
            self.ours.pump()
        else:
            self.theirs.offer()
        self.run()

    def we_want(self, method: str) -> None:
        """Our user wants a method to run in the open session."""
        self.ours.session.request(method, 0.0)
        self.ours.pump()

    def we_answer(self, reply: bytes) -> None:
        """Our user says something."""
        self.ours.session.answer(reply, 0.0)
        self.ours.pump()
        self.run()

    @property
    def proofs(self) -> tuple[list[str], list[str]]:
        """What each side has seen proved: ours, and the other."""
        return [proved.method for proved in self.ours.side.of(events.Proved)], self.theirs.runs.proven

    def run(self) -> None:
        """Carry everything."""
        while self.ours.iqs or self.theirs.iqs:
            for source, sink in ((self.ours, self.theirs), (self.theirs, self.ours)):
                iqs, source.iqs = source.iqs, []
                for iq in iqs:
                    arriving = fromstring(tostring(iq))
                    self._alter(arriving)
                    sink.receive(arriving)

    def we_say(self, *texts: str) -> None:
        """Messages from our session."""
        for text in texts:
            self.ours.session.send_stanza(message(text, type="chat"))
            self.ours.pump()
        self.run()

    def they_say(self, *texts: str) -> None:
        """Messages from the other implementation."""
        for text in texts:
            self.theirs.send(f"<message type='chat' from='mallory@evil.test'><body>{text}</body></message>".encode())
        self.run()


FLIGHTS = pytest.mark.parametrize("flights", [True, False], ids=["flights", "no flights"])
ROLES = pytest.mark.parametrize("role", Role, ids=lambda role: f"ours-is-{role.value}")


def test_it_imports_nothing_of_ours() -> None:
    """The standard library, cryptography and pyOpenSSL are all that the other implementation stands on."""
    names = set()
    for module in (second_implementation, second_proofs):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names.remove(second_proofs.__name__)
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign == {"cryptography", "OpenSSL"}


@FLIGHTS
@ROLES
def test_stanzas_flow_both_ways(role: Role, flights: bool) -> None:
    """The session opens under TLS 1.3, and what each side says arrives in order, also what takes many blocks."""
    wire = Wire(role, flights=flights)
    assert wire.theirs.open
    assert wire.ours.session.stage is Stage.OPEN
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
    assert wire.ours.side.of(events.SessionEnd) == [events.SessionEnd(clean=True, error=None)]


@ROLES
def test_an_edited_negotiation_is_found_out_by_both(role: Role) -> None:
    """A nonce that was exchanged on the way makes the digests differ: nothing opens."""

    def alter(iq: Element) -> None:
        for security in iq.iter("{urn:x-xmpp-e2e:security:0}security"):
            security.set("nonce", "AAAAAAAAAAAAAAAAAAAAAA==")

    wire = Wire(role, alter)
    # the responder looks first, and the initiator learns that it failed, not why
    found = NegotiationAltered if role is Role.RESPONDER else AuthenticationFailed
    assert type(wire.ours.side.failure) is found
    assert wire.ours.session.stage is Stage.CLOSED
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
    assert isinstance(wire.ours.side.failure, FingerprintMismatch)
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


# --- proofs ----------------------------------------------------------------------------------------------------------

SECRETS = {"psk": hashlib.sha256(b"key").digest(), "srp": hashlib.sha256(b"stretched").digest()}
ABLE = {"secrets": SECRETS, "asks": frozenset({"sas"})}
NEEDS = pytest.mark.parametrize("needs", [("psk",), ("srp",), ("psk", "srp")], ids=" ".join)


@NEEDS
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
@ROLES
def test_what_is_needed_runs_before_a_stanza(role: Role, who: str, needs: tuple[str, ...]) -> None:
    """Whoever needs them, the methods prove each side to the other, and then stanzas flow."""
    ours = {**ABLE, "need": needs if who != "theirs" else ()}
    wire = Wire(role, ours=ours, theirs={"secrets": SECRETS, "need": needs if who != "ours" else ()})
    assert wire.theirs.open
    assert wire.proofs == (list(needs), list(needs))
    wire.we_say("one")
    wire.they_say("two")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["one"]
    assert wire.ours.side.stanzas == ["two"]


@ROLES
def test_each_side_may_need_another(role: Role) -> None:
    """Those of the initiator come first, in the same order on both sides."""
    wire = Wire(role, ours={**ABLE, "need": ("srp",)}, theirs={"secrets": SECRETS, "need": ("psk",)})
    first, second = ("srp", "psk") if role is Role.INITIATOR else ("psk", "srp")
    assert wire.proofs == ([first, second], [first, second])
    assert wire.ours.session.stage is Stage.OPEN


@pytest.mark.parametrize("method", ["psk", "srp"])
@ROLES
def test_another_secret_proves_nothing(role: Role, method: str) -> None:
    """Nobody opens, and a guess of a password is spent on both sides."""
    other = {"secrets": {method: bytes(32)}, "need": (method,)}
    wire = Wire(role, ours={**ABLE, "need": (method,)}, theirs=other)
    assert not wire.theirs.open
    assert wire.theirs.ended == "security-error"
    assert isinstance(wire.ours.side.failure, AuthenticationFailed)
    assert wire.proofs == ([], [])
    spent = [asked.question for asked in wire.ours.side.of(events.Asked)]
    assert spent == ([GuessSpent("srp")] if method == "srp" else [])
    assert wire.theirs.runs.talks[-1].spent == (["spent"] if method == "srp" else [])


@ROLES
def test_a_need_that_the_other_cannot_meet(role: Role) -> None:
    """Both sides learn from the hello that it cannot be."""
    for ours, theirs in (({"need": ("psk",), **ABLE}, {}), ({}, {"need": ("psk",), "secrets": SECRETS})):
        wire = Wire(role, ours=ours, theirs=theirs)
        assert isinstance(wire.ours.side.failure, AuthenticationFailed)
        assert wire.theirs.ended == "security-error"


@pytest.mark.parametrize("method", ["psk", "srp"])
@pytest.mark.parametrize("who", ["ours", "theirs"])
@ROLES
def test_a_secret_proves_later(role: Role, who: str, method: str) -> None:
    """In the open session, whoever wants it."""
    wire = Wire(role, ours=ABLE, theirs={"secrets": SECRETS})
    if who == "ours":
        wire.we_want(method)
    else:
        wire.theirs.want(method)
    wire.run()
    assert wire.proofs == ([method], [method])
    wire.we_say("and on")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["and on"]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
@ROLES
def test_two_people_compare(role: Role, who: str, same: bool) -> None:
    """Both see the same in each form, and what they say of it counts, each for himself."""
    wire = Wire(role, ours=ABLE, theirs={"compares": True})
    if who != "theirs":
        wire.we_want("sas")
    if who != "ours":
        wire.theirs.want("sas")
    wire.run()
    question = wire.ours.session.question
    assert isinstance(question, StringsShown)
    shown = second_proofs.shown(wire.theirs.runs.talks[-1].code)
    assert shown == {form.value: list(render(question.code, form)) for form in Form}
    wire.we_answer(b"match")
    wire.theirs.compared(same)
    wire.run()
    assert wire.proofs == (["sas"], ["sas"] if same else [])
    assert (wire.ours.session.stage is Stage.OPEN) == wire.theirs.open == same


@pytest.mark.parametrize("who", ["ours", "theirs"])
@ROLES
def test_a_wish_may_be_declined(role: Role, who: str) -> None:
    """And the session goes on."""
    wire = Wire(role)
    if who == "ours":
        wire.we_want("sas")
    else:
        wire.theirs.want("sas")
    wire.run()
    declined = [event.method for event in wire.ours.side.of(events.Declined)] if who == "ours" else wire.theirs.runs.declined
    assert declined == ["sas"]
    wire.we_say("all the same")
    assert [body(stanza) for stanza in wire.theirs.stanzas] == ["all the same"]


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


async def carried(world: World, endpoint: Endpoint) -> ClientXMPP:
    """An ordinary client that is online and carries the iqs of the other implementation."""
    client = world.make(SECOND, "xep_0030", "xep_0115", load=False)
    install(client, endpoint)
    plugins: Any = client.plugin
    for feature in second_implementation.FEATURES:
        plugins["xep_0030"].add_feature(feature)
    await online(client, world.server)
    return client


@FLIGHTS
@pytest.mark.parametrize("offers", ["plugin", "second"])
async def test_it_talks_to_the_plugin_over_a_server(world: World, offers: str, flights: bool) -> None:
    """Discovery, negotiation, bytestream and farewell over a real stream: a bot with the plugin answers inside the session."""
    bot = await world.client(PLUGIN, accept_from="anyone")
    echo(bot)
    endpoint = Endpoint(SECOND, PLUGIN, flights=flights)
    alice = await carried(world, endpoint)
    started, ended = Heard(bot, "e2e_session_start"), Heard(bot, "e2e_session_end")
    if offers == "second":
        endpoint.offer()
        flush(alice, endpoint)
    else:
        await until(e2e(bot).connect(SECOND))
    await started.take()
    await world.settle(alice, bot)
    assert endpoint.open
    endpoint.send(b"<message type='chat'><body>over and out</body></message>")
    flush(alice, endpoint)
    while not endpoint.stanzas:
        await world.settle(alice, bot)
        await turns()
    assert [body(stanza) for stanza in endpoint.stanzas] == ["echo: over and out"]
    endpoint.close()
    flush(alice, endpoint)
    assert (await ended.take()).detail.clean
    assert world.in_clear("over and out") == []


@pytest.mark.parametrize("offers", ["plugin", "second"])
async def test_both_know_the_password(world: World, offers: str) -> None:
    """Each stretches it by itself, and it proves them to each other before a stanza flows; later their users compare."""
    seen: list[str] = []

    async def looks(compare: Compare) -> bool:
        seen.append(compare.decimal)
        return True

    mine, other = (jid.partition("/")[0] for jid in (PLUGIN, SECOND))
    bot = await world.client(PLUGIN, accept_from="anyone", sas=looks)
    e2e(bot).switchboard._store.put_secret(other, "srp", "1", stretched("na\u00efve\u00a0fog", mine, other))
    known = {"srp": second_proofs.stretched("nai\u0308ve fog", other, mine)}
    endpoint = Endpoint(SECOND, PLUGIN, flights=True, secrets=known, need=("srp",), compares=True)
    alice = await carried(world, endpoint)
    started = Heard(bot, "e2e_session_start")
    if offers == "second":
        endpoint.offer()
        flush(alice, endpoint)
    else:
        await until(e2e(bot).connect(SECOND))
    assert (await started.take()).detail.assurance is Assurance.VERIFIED
    await world.settle(alice, bot)
    assert endpoint.open
    assert endpoint.runs.proven == ["srp"]
    endpoint.want("sas")
    flush(alice, endpoint)
    while not seen:
        await world.settle(alice, bot)
        await turns()
    assert seen == [" ".join(second_proofs.shown(endpoint.runs.talks[-1].code)["decimal"])]

"""Two sessions and a wire that does what it likes: hypothesis looks for an order of things in which a promise breaks.

The wire loses, repeats, reorders, cuts, flips, forges and replays bytes and signalling, lets time pass and breaks down, while
both users write, close, pin and block. `HostileWire.check` and its end have the promises; `make hostile` tries more orders.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.attacks.signalling_edits import FINGERPRINT, METHOD, NS_JINGLE, SECURITY, fingerprint_of
from tests.pair import NOBODY, config, identity, message, prepare, remembers, talk
from tests.pair import body as words_of
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, JingleError, LocalError
from xmpp_e2e.inner.conversation import Conversation
from xmpp_e2e.inner.gate import EARLY_BUFFER_BYTES, Gate
from xmpp_e2e.key_decision import Decision, OnKeyChange
from xmpp_e2e.session import Session
from xmpp_e2e.states import (
    AUTHENTICATING,
    STATE_TIMEOUTS,
    USER_TIMEOUT,
    State,
)
from xmpp_e2e.types import (
    Assurance,
    KnownKey,
    KnownKeys,
    Role,
    TrustModel,
)

FLIGHT = "{urn:x-xmpp-e2e:security:0}flight"
RECORDED = 40
"""Things that the wire keeps to play again."""
NAMES = {Role.INITIATOR: "alice", Role.RESPONDER: "bob"}
ROLES = st.sampled_from(list(Role))
# of the profile: a hundred examples, or what `make hostile` says
SEARCH = settings(
    max_examples=settings().max_examples // 4,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def blocked(name: str) -> KnownKeys:
    return KnownKeys((KnownKey(identity(name).fingerprint, Assurance.NONE, "block", 0.0, blocked=True),))


def memories(other: str) -> list[KnownKeys]:
    """What a user may remember of the other side."""
    pin = (Assurance.VERIFIED, "pin")
    return [NOBODY, remembers(other), remembers(other, *pin), remembers("mallory"), remembers("mallory", *pin), blocked(other)]


def terms() -> st.SearchStrategy[dict[str, Any]]:
    """What a user may have configured; the usual more often."""
    return st.fixed_dictionaries(
        {"fast_open": st.booleans()},
        optional={
            "trust_model": st.sampled_from(list(TrustModel)),
            "on_key_change": st.sampled_from(list(OnKeyChange)),
        },
    )


# --- what can be done to a <jingle/> ---------------------------------------------------------------------------------

Edit = Callable[[Element], None]


def each_security(change: Callable[[Element], None]) -> Edit:
    def edit(element: Element) -> None:
        for security in element.iter(SECURITY):
            change(security)

    return edit


def swap(security: Element) -> None:
    for found in security.findall(FINGERPRINT):
        found.text = fingerprint_of("mallory")


def one_method_more(security: Element) -> None:
    SubElement(security, METHOD, {"name": "psk"})


def without(tag: str) -> Callable[[Element], None]:
    def strip(parent: Element) -> None:
        for child in parent.findall(tag):
            parent.remove(child)

    return strip


def strip_security(element: Element) -> None:
    for parent in list(element.iter()):
        without(SECURITY)(parent)


def bend_flight(security: Element) -> None:
    for found in security.findall(FLIGHT):
        raw = bytearray(base64.b64decode(found.text or ""))
        raw[len(raw) // 3] ^= 1
        found.text = base64.b64encode(raw).decode()


def forge_flight(security: Element) -> None:
    without(FLIGHT)(security)
    SubElement(security, FLIGHT).text = base64.b64encode(b"\x16\x03\x01\x00\x05hello").decode()


EDITS: dict[str, Edit] = {
    "fingerprint": each_security(swap),
    "nonce": each_security(lambda security: security.set("nonce", "A" * 22 + "==")),
    "one method more": each_security(one_method_more),
    "no method": each_security(without(METHOD)),
    "no flight": each_security(without(FLIGHT)),
    "a flight that is bent": each_security(bend_flight),
    "a flight of the server's": each_security(forge_flight),
    "no security": strip_security,
    "no content": lambda element: without(f"{{{NS_JINGLE}}}content")(element),
    "another sid": lambda element: element.set("sid", "0" * 32),
    "another action": lambda element: element.set("action", "transport-info"),
    "an accept": lambda element: element.set("action", "session-accept"),
    "no action": lambda element: element.attrib.clear(),
}


def forgeries() -> list[Element]:
    """Signalling that nobody sent; the sid does not matter, for hosts have looked the session up by it."""
    found = []
    for action in ("session-terminate", "session-info", "content-add", "session-accept", "transport-replace", "nonsense"):
        element = Element(f"{{{NS_JINGLE}}}jingle", {"action": action, "sid": "s"})
        if action == "session-terminate":
            SubElement(SubElement(element, f"{{{NS_JINGLE}}}reason"), f"{{{NS_JINGLE}}}success")
        found.append(element)
    return found


class Half:
    """One session, its host, and what the wire owes to it."""

    def __init__(self, role: Role, terms: dict[str, Any], memory: KnownKeys) -> None:
        self.role, self.memory = role, memory
        self.session = Session(role, config(NAMES[role], **terms), memory)
        self.inbox: list[Element | bytes] = []
        """What is on its way to it."""
        self.said: list[str] = []
        self.heard: list[str] = []
        self.started = self.ended = self.clean = self.farewell = False
        prepare(self.session, self.notes_its_farewell)

    def notes_its_farewell(self, conversation: Conversation) -> None:
        genuine = conversation.out.close_stream

        def farewell() -> None:
            self.farewell = True
            genuine()

        conversation.out.close_stream = farewell  # type: ignore[method-assign]


class HostileWire(RuleBasedStateMachine):
    """The world: two halves, and whatever happens between them."""

    @initialize(alice=terms(), bob=terms(), remembered=st.tuples(st.integers(0, 5), st.integers(0, 5)), usual=st.booleans())
    def begin(self, alice: dict[str, Any], bob: dict[str, Any], remembered: tuple[int, int], usual: bool) -> None:
        """Alice offers."""
        self.now = 1000.0
        self.recorded: list[Element | bytes] = []
        self.count = 0
        known = (0, 0) if usual else remembered
        self.halves = {
            Role.INITIATOR: Half(Role.INITIATOR, {} if usual else alice, memories("bob")[known[0]]),
            Role.RESPONDER: Half(Role.RESPONDER, {} if usual else bob, memories("alice")[known[1]]),
        }
        self.halves[Role.INITIATOR].session.offer(self.now)
        self.pump()

    # --- honest hosts ----------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Both hosts do what their sessions ask for."""
        for role in Role:
            half, other = self.halves[role], self.halves[role.other]
            while (event := half.session.next_event()) is not None:
                self.on_event(half, event)
            sent: list[Element | bytes] = []
            while data := half.session.data_to_send():
                sent.append(data)
            sent += half.session.jingle_to_send()
            other.inbox += sent
            self.recorded = [*self.recorded, *deepcopy(sent)][:RECORDED]
            assert not [item for item in sent if isinstance(item, bytes) and b"treasure" in item]

    def on_event(self, half: Half, event: events.Event) -> None:
        """Every promise about a single event."""
        other = self.halves[half.role.other]
        assert not half.ended, f"{event} after the end"
        if isinstance(event, events.SessionOffered):
            half.session.accept_offer(self.now)
        elif isinstance(event, events.SessionOpened):
            assert not half.started
            half.started = True
            genuine = identity(NAMES[other.role]).fingerprint
            assert event.fingerprint == half.session.fingerprint == genuine
            assert talk(half.session)._gate.key.assess().decision is Decision.ACCEPT
        elif isinstance(event, events.StanzaReceived):
            assert half.started, "delivered before the session was open"
            assert event.stanza.get("from") == half.session.config.peer_jid
            half.heard.append(words_of(event.stanza))
        elif isinstance(event, events.SessionFailed):
            assert not half.started
            half.ended = True
        elif isinstance(event, events.SessionClosed):
            assert half.started
            half.ended, half.clean = True, event.clean
            assert event.clean is (event.error is None)
            if event.clean:
                assert other.farewell, "clean, and the peer never said farewell"
                assert half.heard == other.said, "clean, and something is missing"

    def arrive(self, role: Role, item: Element | bytes) -> None:
        """One thing reaches a host, which hands it to its session."""
        half = self.halves[role]
        if isinstance(item, bytes):
            # without a bytestream there is no session to hand it to
            if half.session.state not in (State.IDLE, State.OFFER_SENT, State.OFFER_RECEIVED):
                if half.session.state is State.CONNECTING:
                    half.session.bytestream_ready(self.now)
                half.session.receive_data(item, self.now)
        else:
            try:
                half.session.receive_jingle(item, self.now)
            except JingleError as error:
                self.halves[role.other].session.receive_jingle_error(error.condition, self.now)
        if role is Role.INITIATOR and half.session.state is State.CONNECTING:
            half.session.bytestream_ready(self.now)
        self.pump()

    def take(self, role: Role, position: int = 0) -> Element | bytes | None:
        """What is on its way to ``role``."""
        inbox = self.halves[role].inbox
        return inbox.pop(position % len(inbox)) if inbox else None

    # --- the wire --------------------------------------------------------------------------------------------------

    @rule(role=ROLES)
    def deliver(self, role: Role) -> None:
        """The next thing arrives."""
        if (item := self.take(role)) is not None:
            self.arrive(role, item)

    @rule()
    def deliver_all(self) -> None:
        """All is well for a while."""
        for _ in range(30):
            for role in Role:
                self.deliver(role)

    @rule(role=ROLES)
    def lose(self, role: Role) -> None:
        """The next thing does not arrive."""
        self.take(role)

    @rule(role=ROLES, position=st.integers(0, 3))
    def overtake(self, role: Role, position: int) -> None:
        """A later thing arrives first."""
        if (item := self.take(role, position)) is not None:
            self.arrive(role, item)

    @rule(role=ROLES)
    def repeat(self, role: Role) -> None:
        """The next thing arrives twice."""
        if (item := self.take(role)) is not None:
            self.arrive(role, deepcopy(item))
            self.arrive(role, item)

    @rule(role=ROLES, at=st.integers(0, 3000), both=st.booleans())
    def cut(self, role: Role, at: int, both: bool) -> None:
        """The next bytes arrive in two pieces, or only the first of them does."""
        item = self.take(role)
        if isinstance(item, bytes):
            at = at % len(item)
            for piece in (item[:at], item[at:])[: 1 + both]:
                if piece:
                    self.arrive(role, piece)
        elif item is not None:
            self.arrive(role, item)

    @rule(role=ROLES, at=st.integers(0, 3000), bit=st.integers(0, 7))
    def flip(self, role: Role, at: int, bit: int) -> None:
        """One bit of the next bytes is another one."""
        item = self.take(role)
        if isinstance(item, bytes):
            bent = bytearray(item)
            bent[at % len(item)] ^= 1 << bit
            self.arrive(role, bytes(bent))
        elif item is not None:
            self.arrive(role, item)

    @rule(role=ROLES, edit=st.sampled_from(list(EDITS.values())))
    def edit(self, role: Role, edit: Edit) -> None:
        """The next thing is altered if it is signalling."""
        item = self.take(role)
        if isinstance(item, Element):
            item = deepcopy(item)
            edit(item)
        if item is not None:
            self.arrive(role, item)

    @rule(role=ROLES, number=st.integers(0, RECORDED))
    def replay(self, role: Role, number: int) -> None:
        """Something of before, of either side, arrives."""
        if self.recorded:
            self.arrive(role, deepcopy(self.recorded[number % len(self.recorded)]))

    @rule(role=ROLES, data=st.binary(min_size=1, max_size=64) | st.just(b"\x17\x03\x03\x00\x20" + bytes(32)))
    def inject(self, role: Role, data: bytes) -> None:
        """Bytes of the wire's own."""
        self.arrive(role, data)

    @rule(role=ROLES, forged=st.sampled_from(forgeries()))
    def forge(self, role: Role, forged: Element) -> None:
        """Signalling of the wire's own."""
        self.arrive(role, deepcopy(forged))

    @rule(role=ROLES, condition=st.sampled_from(["conflict", "service-unavailable", "item-not-found"]))
    def answer(self, role: Role, condition: str) -> None:
        """An iq of this side is answered with an error."""
        self.halves[role].session.receive_jingle_error(condition, self.now)
        self.pump()

    @rule(role=ROLES)
    def end_of_file(self, role: Role) -> None:
        """The bytestream ends."""
        self.arrive(role, b"")

    @rule(role=ROLES)
    def break_down(self, role: Role) -> None:
        """The bytestream breaks."""
        if self.halves[role].session.state is not State.IDLE:
            self.halves[role].session.bytestream_failed(BytestreamFailed("the wire broke it"), self.now)
        self.pump()

    @rule(seconds=st.sampled_from([1.0, 6.0, 16.0, 31.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and who asked to be woken is."""
        self.now += seconds
        for half in self.halves.values():
            if (when := half.session.timer()) is not None and when <= self.now:
                half.session.handle_timer(self.now)
        self.pump()

    # --- the users -------------------------------------------------------------------------------------------------

    @rule(role=ROLES, size=st.sampled_from([10, 10, 5000, 20_000]))
    def write(self, role: Role, size: int) -> None:
        """A message, which is taken or not."""
        half = self.halves[role]
        self.count += 1
        text = f"treasure {self.count} " + "x" * size
        try:
            half.session.send_stanza(message(text))
        except LocalError:
            assert half.session.state is not State.OPEN
            return
        assert half.session.state in (State.SENT_DONE_EARLY, State.DONE_SENT, State.OPEN)
        half.said.append(text)
        self.pump()

    @rule(role=ROLES)
    def close(self, role: Role) -> None:
        """Enough."""
        self.halves[role].session.close(self.now)
        self.pump()

    @rule(role=ROLES, number=st.integers(0, 5))
    def decide(self, role: Role, number: int) -> None:
        """Pin, block, forget."""
        half = self.halves[role]
        half.memory = memories(NAMES[role.other])[number]
        half.session.update_known_keys(half.memory, self.now)
        self.pump()

    # --- the promises ----------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "halves"))
    @invariant()
    def check(self) -> None:
        """What holds at every moment."""
        for role, half in self.halves.items():
            session, other = half.session, self.halves[role.other]
            assert half.heard == other.said[: len(half.heard)], "not a prefix of what was said"
            assert (session.state is State.CLOSED) is half.ended
            if session.state in (State.OPEN, State.CLOSING, State.PEER_CLOSING):
                assert half.started
                assert session.fingerprint == identity(NAMES[role.other]).fingerprint
            if session.state is State.OPEN:
                assert talk(session)._gate.key.assess().decision is Decision.ACCEPT
            if session._conversation is not None:
                assert session._conversation._gate._early_bytes <= EARLY_BUFFER_BYTES + 2**18
            bound = max(STATE_TIMEOUTS.get(session.state, 0.0), USER_TIMEOUT if session.state in AUTHENTICATING else 0.0)
            if session.state not in (State.IDLE, State.CLOSED):
                when = session.timer()
                assert when is not None
                assert when <= self.now + bound

    def teardown(self) -> None:
        """The wire is silent from now on: by its deadlines each session ends."""
        if not hasattr(self, "halves"):
            return
        for half in self.halves.values():
            for _ in range(3):
                if (when := half.session.timer()) is not None:
                    self.now = max(self.now, when)
                    half.session.handle_timer(self.now)
                    self.pump()
            assert half.session.state in (State.IDLE, State.CLOSED)
            assert half.ended is (half.session.state is State.CLOSED)
        self.check()


TestWire = HostileWire.TestCase
TestWire.settings = SEARCH


# --- does it find anything? ------------------------------------------------------------------------------------------


def ends_clean(self: Session, now: float) -> None:
    """Whatever ends the bytes counts as a farewell."""
    self._machine.state, self._machine.deadline = State.CLOSED, None
    self._events.append(events.SessionClosed(clean=True, error=None))


def opens_anyway(self: Gate, now: float, **_: bool) -> None:
    """The judge is not asked."""
    self._send_done(now)


def without_truncation(self: Session, now: float, data: bytes) -> None:
    assert self._tls is not None
    plaintext = self._tls.receive(data)
    self._start_conversation(now)
    if self._conversation is not None:
        self._conversation.receive(plaintext, now)
    if (self._tls.peer_closed or not data) and self.state is State.OPEN:
        ends_clean(self, now)


BROKEN = {
    "an end of file is a farewell": (Session, "_receive", without_truncation),
    "any key will do": (Gate, "assess", opens_anyway),
}


@pytest.mark.parametrize(("owner", "method", "broken"), BROKEN.values(), ids=BROKEN.keys())
def test_control_a_broken_promise_is_found(
    owner: type, method: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: sessions that break one promise do not survive the search."""
    monkeypatch.setattr(owner, method, broken)
    search = settings(SEARCH, max_examples=2000, derandomize=True, database=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(HostileWire, settings=search)

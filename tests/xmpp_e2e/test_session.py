"""A session from the offer to the farewell: what both sides see, and what each refuses."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import pytest

from tests.pair import ALICE, BOB, Pair, body, config, identity, message
from xmpp_e2e import events
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.errors import (
    AuthenticationFailed,
    GivenUp,
    JingleError,
    LocalError,
    NoRoom,
    PeerRefused,
    StreamError,
    TimedOut,
    Truncated,
    UntrustedKey,
)
from xmpp_e2e.identity import Assurance, KnownKey, Remembered, Role, TrustModel
from xmpp_e2e.session import HELD_BYTES, Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.stream import writer
from xmpp_e2e.stream.outflow import EARLY_BYTES, OUTBOX_BYTES
from xmpp_e2e.trust.judge import OnKeyChange

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def remembered(name: str, assurance: Assurance = Assurance.VOUCHED, method: str = "route") -> Remembered:
    """The key of ``name`` was accepted before."""
    return Remembered((KnownKey(identity(name).fingerprint, assurance, method, 0.0),))


PINNED = Assurance.VERIFIED, "pin"


# --- the main path


def test_a_session_opens_on_both_sides() -> None:
    """Offered, accepted, secured, greeted, done: both sides are open, vouched, and see the other's key."""
    pair = Pair().open()
    for side, other in ((pair.alice, "bob"), (pair.bob, "alice")):
        assert side.session.stage is Stage.OPEN
        (start,) = side.of(events.SessionStart)
        assert start == events.SessionStart(Assurance.VOUCHED, identity(other).fingerprint)
        (secured,) = side.of(events.Secured)
        assert (secured.protocol, secured.group) == ("TLSv1.3", "X25519MLKEM768")
        assert secured.fingerprint == side.session.fingerprint == identity(other).fingerprint


def test_stanzas_arrive_in_order_and_byte_equal() -> None:
    """What one side sends the other gets, once, in order, with every escape and astral character intact."""
    pair = Pair().open()
    bodies = ["one", "<&>\"'", "tab\tnewline\nreturn\r"]
    bodies += ["\N{FOX FACE} \N{MATHEMATICAL FRAKTUR CAPITAL U}", "]]>", "x" * 200_000]
    for text in bodies:
        pair.alice.session.send_stanza(message(text))
        pair.bob.session.send_stanza(message(text[::-1]))
    pair.run()
    assert pair.bob.stanzas == bodies
    assert pair.alice.stanzas == [text[::-1] for text in bodies]


def test_the_session_says_who_writes() -> None:
    """from and to of a stanza are the session's, whatever the sender wrote."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("hi", **{"from": "boss@corp.test"}))
    pair.run()
    (event,) = pair.bob.of(events.StanzaReceived)
    assert (event.stanza.get("from"), event.stanza.get("to")) == (ALICE, BOB)


def test_nothing_readable_leaves() -> None:
    """No word of a stanza, and no element of the inner stream, is in the bytes or the signalling."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("attack at dawn"))
    pair.run()
    sent = bytes(pair.alice.data_sent)
    assert not re.search(rb"attack|message|stream|hello|alice", sent)


def test_alice_need_not_wait_for_bobs_hello() -> None:
    """The initiator may send stanzas with its first data; they are delivered when both are done."""
    pair = Pair()
    early: list[Stage] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        session = pair.alice.session
        if session.stage is Stage.EARLY and not early:
            early.append(session.stage)
            session.send_stanza(message("early"))
        return [data]

    pair.on_data = on_data
    pair.open()
    assert early == [Stage.EARLY]
    assert pair.bob.stanzas == ["early"]


def test_early_stanzas_are_bounded() -> None:
    """Until the peer's done only so much is sent; more is refused here and nothing of it leaves."""
    pair = Pair()
    tried: list[str] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        if pair.alice.session.stage is Stage.EARLY and not tried:
            tried.append("yes")
            with pytest.raises(NoRoom, match="do not fit"):
                pair.alice.session.send_stanza(message("x" * EARLY_BYTES))
        return [data]

    pair.on_data = on_data
    pair.open()
    assert tried
    assert pair.alice.session.stage is Stage.OPEN


def test_the_outbox_is_bounded() -> None:
    """A session takes no more than OUTBOX_BYTES while nothing is fetched from it."""
    pair = Pair().open()
    big = message("x" * 200_000)
    for _ in range(OUTBOX_BYTES // 200_100):
        pair.alice.session.send_stanza(big)
    with pytest.raises(NoRoom):
        pair.alice.session.send_stanza(big)
    assert pair.alice.session.outbox <= OUTBOX_BYTES


@pytest.mark.parametrize("role", Role)
def test_a_farewell_is_clean(role: Role) -> None:
    """Whoever closes, both sides learn that nothing is missing, and the closer terminates the Jingle session."""
    pair = Pair().open()
    pair.alice.session.send_stanza(message("last words"))
    pair.side(role).session.close(pair.now)
    pair.run()
    assert pair.bob.stanzas == ["last words"]
    for side in (pair.alice, pair.bob):
        assert side.session.stage is Stage.CLOSED
        assert side.of(events.SessionEnd) == [events.SessionEnd(clean=True, error=None)]
    (terminate,) = [el for el in pair.side(role).jingle_sent if el.get("action") == "session-terminate"]
    assert terminate[0][0].tag.endswith("success")
    assert not any(el.get("action") == "session-terminate" for el in pair.side(role.other).jingle_sent)


def test_both_may_close_at_once() -> None:
    """Two farewells that cross are clean on both sides."""
    pair = Pair().open()
    pair.alice.session.close(pair.now)
    pair.bob.session.close(pair.now)
    pair.run()
    assert [side.of(events.SessionEnd)[0].clean for side in (pair.alice, pair.bob)] == [True, True]


def test_stanzas_that_cross_a_farewell_are_delivered() -> None:
    """What the peer sent before our farewell reached him still arrives."""
    pair = Pair().open()
    pair.bob.session.send_stanza(message("crossing"))
    pair.alice.session.close(pair.now)
    pair.run()
    assert pair.alice.stanzas == ["crossing"]
    assert pair.alice.of(events.SessionEnd)[0].clean


# --- what is refused


def alter(jingle: Element, path: str, **attributes: str) -> Element:
    """``jingle`` with attributes of the first element on ``path`` set."""
    (found,) = jingle.findall(path)
    for name, value in attributes.items():
        found.set(name, value)
    return jingle


SECURITY = ".//{urn:x-xmpp-e2e:security:0}security"


def test_a_stripped_accept_ends_the_session() -> None:
    """An accept without our <security/> is refused with security-error, and the user learns what it may mean."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if role is Role.RESPONDER:
            for content in element.findall("{urn:xmpp:jingle:1}content"):
                for security in content.findall("{urn:x-xmpp-e2e:security:0}security"):
                    content.remove(security)
        return [element]

    pair = Pair(on_jingle=on_jingle).open()
    assert "without our <security/>" in str(pair.alice.failure)
    assert "strips" in pair.alice.failure.explain()  # type: ignore[attr-defined]
    assert pair.alice.jingle_sent[-1][0][0].tag.endswith("security-error")
    assert not pair.alice.data_sent


def test_an_edited_nonce_is_found_out() -> None:
    """A change that TLS does not see is found by the digest of the negotiation in the hello."""

    def on_jingle(role: Role, element: Element) -> list[Element]:
        if element.get("action") == "session-initiate":
            alter(element, SECURITY, nonce="A" * 22 + "==")
        return [element]

    pair = Pair(on_jingle=on_jingle).open()
    assert isinstance(pair.bob.failure, auth.NegotiationAltered)
    assert isinstance(pair.alice.failure, AuthenticationFailed)
    assert not pair.bob.of(events.SessionStart)


def test_the_wire_does_not_say_why() -> None:
    """A failure inside TLS shows outside as security-error only."""
    pair = Pair(bob=config("bob", **UNTRUSTED, on_key_change=OnKeyChange.REJECT), bob_remembers=remembered("mallory")).open()
    assert isinstance(pair.bob.failure, UntrustedKey)
    (terminate,) = [el for el in pair.bob.jingle_sent if el.get("action") == "session-terminate"]
    assert [child.tag.rpartition("}")[2] for child in terminate[0]] == ["security-error"]
    assert isinstance(pair.alice.failure, AuthenticationFailed)


@pytest.mark.parametrize(
    ("changes", "condition"),
    [({"from_": "eve@a.test/x"}, "invalid-from"), ({"to": "eve@a.test/x"}, "invalid-from")],
)
def test_a_header_for_somebody_else(changes: dict[str, str], condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream header with other JIDs than the session's ends it, before anything in it counts."""
    genuine = writer.header

    def header(from_: str, to: str, *, id: str | None = None) -> bytes:
        return genuine(changes.get("from_", from_), changes.get("to", to), id=id)

    monkeypatch.setattr(writer, "header", header)
    pair = Pair().open()
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == condition


def says(pair: Pair, *elements: Element) -> Pair:
    """Open, but Alice's first words after her stream header are ``elements``."""
    session = pair.alice.session

    def greet() -> None:
        session._header()
        for element in elements:
            session._out.element(element)

    session._greet = greet  # type: ignore[method-assign]
    session._judge = lambda now: None  # type: ignore[method-assign]
    return pair.open()


@pytest.mark.parametrize(
    ("element", "condition"),
    [
        (Element(auth.DONE), "policy-violation"),
        (message("too soon"), "policy-violation"),
        (Element("{urn:x-xmpp-e2e:auth:0}step"), "unsupported-stanza-type"),
        (Element("{jabber:client}query"), "unsupported-stanza-type"),
        (Element(auth.HELLO), "bad-format"),
    ],
)
def test_nothing_before_the_hello(element: Element, condition: str) -> None:
    """A done, a stanza, a step or nonsense before the hello closes the session; nothing is delivered."""
    pair = says(Pair(), element)
    assert isinstance(pair.bob.failure, StreamError)
    assert pair.bob.failure.condition == condition
    assert not pair.bob.stanzas


def sends(pair: Pair, role: Role, *elements: Element) -> Pair:
    """``role`` says more inside the stream than its session would."""
    for element in elements:
        pair.side(role).session._out.element(element)
    return pair.run()


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("element", [Element(auth.HELLO), Element(auth.DONE)])
def test_no_second_hello_or_done(role: Role, element: Element) -> None:
    """A second hello or done in an open session closes it uncleanly."""
    pair = sends(Pair().open(), role, element)
    other = pair.side(role.other)
    assert isinstance(other.failure, StreamError)
    assert not other.of(events.SessionEnd)[0].clean


def test_stanza_before_done_is_refused() -> None:
    """Bob holds Alice's key; her stanza after her hello and before her done closes the session."""
    pair = Pair(alice=config("alice", **UNTRUSTED)).open()  # Alice's policy is not met: she sends no done
    assert pair.bob.session.stage is Stage.PROVED
    sends(pair, Role.INITIATOR, message("not yet"))
    assert isinstance(pair.bob.failure, StreamError)
    assert not pair.bob.stanzas


# --- trust


def test_a_pinned_key_is_verified() -> None:
    """With a pinned key, server-untrusted opens at once, as verified."""
    pair = Pair(
        config("alice", **UNTRUSTED), config("bob", **UNTRUSTED),
        alice_remembers=remembered("bob", *PINNED), bob_remembers=remembered("alice", *PINNED),
    ).open()
    assert pair.alice.session.assurance is pair.bob.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.stage is Stage.OPEN


def test_a_remembered_key_is_known() -> None:
    """The second session with the same key is known, on the side that remembers."""
    pair = Pair(alice_remembers=remembered("bob")).open()
    assert pair.alice.session.assurance is Assurance.KNOWN
    assert pair.bob.session.assurance is Assurance.VOUCHED


def test_held_until_the_user_pins() -> None:
    """Under server-untrusted an unknown key is held; when the user pins it the held stanzas are delivered, in order."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    assert pair.bob.session.stage.value == "awaited"
    for text in ("one", "two"):
        pair.alice.session.send_stanza(message(text))
    pair.run()
    assert pair.bob.stanzas == []
    pair.bob.session.remember(remembered("alice", *PINNED), pair.now)
    pair.run()
    assert pair.bob.stanzas == ["one", "two"]
    assert pair.alice.session.stage is pair.bob.session.stage is Stage.OPEN


def test_a_pin_raises_an_open_session() -> None:
    """When the user pins the key of an open session, it is verified from then on, without new keys."""
    pair = Pair().open()
    pair.alice.session.remember(remembered("bob", *PINNED), pair.now)
    assert pair.alice.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.stage is Stage.OPEN


@pytest.mark.parametrize("blocked", [True, False], ids=["blocked", "another pinned"])
def test_a_refused_key_ends_an_open_session(blocked: bool) -> None:
    """When the user blocks the key of an open session, or pins another one, the session ends."""
    memory = remembered("mallory", *PINNED)
    if blocked:
        memory = Remembered((replace(remembered("bob").keys[0], blocked=True),))
    pair = Pair().open()
    pair.alice.session.remember(memory, pair.now)
    pair.run()
    assert isinstance(pair.alice.failure, UntrustedKey)
    assert pair.bob.session.stage is Stage.CLOSED


def test_what_is_held_is_bounded() -> None:
    """A peer who sends more than an honest one may, before our policy is met, is cut off; nothing is delivered."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    flood = [message("x" * 10_000) for _ in range(HELD_BYTES // 10_000 + 1)]
    sends(pair, Role.INITIATOR, *flood)
    assert isinstance(pair.bob.failure, StreamError)
    assert "policy-violation" in pair.bob.failure.condition
    assert not pair.bob.stanzas


def test_held_time_is_bounded() -> None:
    """After five minutes without the user the session fails on both sides, and nothing was delivered."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.alice.session.send_stanza(message("secret"))
    pair.run().pass_time(299)
    assert pair.bob.session.stage is Stage.AWAITED
    pair.pass_time(2)
    assert isinstance(pair.bob.failure, TimedOut)
    assert pair.alice.of(events.SessionFailed)
    assert not pair.bob.stanzas


def test_a_changed_key_is_held_and_told() -> None:
    """A key other than the verified one is held even though it is vouched for, and the user is told how to resolve it."""
    pair = Pair(alice_remembers=remembered("mallory", *PINNED)).open()
    (told,) = pair.alice.of(events.KeyChanged)
    assert (told.kind, told.decision) == ("changed", "hold")
    assert told.fingerprint == identity("bob").fingerprint
    assert told.remembered == (identity("mallory").fingerprint,)
    assert "xmpp-e2e trust pin bob@b.test SHA256:" in told.text
    assert pair.alice.session.stage is Stage.AWAITED
    with pytest.raises(LocalError):
        pair.alice.session.send_stanza(message("never"))


def test_a_new_key_gets_nothing_early() -> None:
    """A new key of a known peer is accepted as the trust model says, told, and gets no stanza before its hello."""
    stages: list[Stage] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        stages.append(pair.alice.session.stage)
        return [data]

    pair = Pair(alice_remembers=remembered("mallory"))
    pair.on_data = on_data
    pair.open()
    assert Stage.EARLY not in stages
    assert [event.kind for event in pair.alice.of(events.KeyChanged)] == ["new"]
    assert pair.alice.session.stage is Stage.OPEN


# --- deadlines and cuts


def silence(pair: Pair, stage: Stage) -> None:
    """Carry everything until Alice is in ``stage``, and nothing from then on."""

    def there() -> bool:
        return pair.alice.session.stage is stage

    pair.on_jingle = lambda role, element: [] if there() else [element]
    pair.on_data = lambda role, data: [] if there() else [data]
    if stage is Stage.CONNECTING:
        pair._connect = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("stage", "seconds"), [(Stage.OFFERED, 60), (Stage.CONNECTING, 30), (Stage.HANDSHAKING, 15), (Stage.EARLY, 60)]
)
def test_every_wait_ends(stage: Stage, seconds: float) -> None:
    """When the other side falls silent in a stage, the session fails after that stage's deadline and not before."""
    pair = Pair()
    silence(pair, stage)
    pair.open()
    assert pair.alice.session.stage is stage
    pair.pass_time(seconds - 1)
    assert pair.alice.session.stage is stage
    pair.pass_time(2)
    assert isinstance(pair.alice.failure, TimedOut)


def test_an_open_session_ends_after_a_day() -> None:
    """Keys do not live for ever: after 24 hours the session ends cleanly."""
    pair = Pair().open().pass_time(24 * 3600 + 1)
    assert pair.alice.of(events.SessionEnd)[0].clean
    assert pair.bob.of(events.SessionEnd)[0].clean


def test_a_farewell_does_not_wait_for_ever() -> None:
    """When the peer does not answer our farewell, the end is unclean after five seconds."""
    pair = Pair().open()
    pair.on_data = lambda role, data: []
    pair.alice.session.close(pair.now)
    pair.run().pass_time(6)
    assert isinstance(pair.alice.failure, Truncated)


@pytest.mark.parametrize("role", Role)
def test_end_of_transport_is_truncation(role: Role) -> None:
    """The end of the bytestream without a farewell is reported as unclean, however polite it looks outside."""
    pair = Pair().open().end_transport(role)
    assert isinstance(pair.side(role).failure, Truncated)


def test_a_forged_terminate_is_truncation() -> None:
    """session-terminate with success in the middle of a session does not make its end clean."""
    pair = Pair().open()
    forged = Element("{urn:xmpp:jingle:1}jingle", action="session-terminate", sid=pair.alice.session.sid)
    reason = Element("{urn:xmpp:jingle:1}reason")
    reason.append(Element("{urn:xmpp:jingle:1}success"))
    forged.append(reason)
    pair.deliver(Role.RESPONDER, forged)
    pair.run()
    assert isinstance(pair.bob.failure, Truncated)
    assert not pair.bob.of(events.SessionEnd)[0].clean


def test_close_notify_without_farewell_is_truncation() -> None:
    """TLS may end properly; the stream inside did not."""
    pair = Pair().open()
    assert pair.alice.session._channel is not None
    pair.alice.session._channel.close()
    pair.on_data = lambda role, data: [data] if role is Role.INITIATOR else []
    pair.on_jingle = lambda role, element: []
    pair.run()
    assert isinstance(pair.bob.failure, Truncated)


def test_a_refused_offer_says_so() -> None:
    """An iq error on the offer ends the session with the condition that came."""
    pair = Pair(on_jingle=lambda role, element: [])
    pair.open()
    pair.alice.session.receive_jingle_error("service-unavailable", pair.now)
    pair.run()
    assert isinstance(pair.alice.failure, PeerRefused)
    assert "service-unavailable" in str(pair.alice.failure)


@pytest.mark.parametrize("role", Role)
def test_giving_up_before_it_is_open(role: Role) -> None:
    """Closing before the session is open ends it at once and tells the peer."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.side(role).session.close(pair.now)
    pair.run()
    assert isinstance(pair.side(role).failure, GivenUp)
    assert pair.side(role.other).of(events.SessionFailed)


def test_an_abandoned_offer_says_nothing() -> None:
    """An offer that the peer's own takes the place of (tie-break) goes without a word."""
    pair = Pair(on_jingle=lambda role, element: []).open()
    pair.alice.session.abandon(pair.now)
    pair.run()
    assert [element.get("action") for element in pair.alice.jingle_sent] == ["session-initiate"]


# --- signalling out of order


@pytest.mark.parametrize(
    ("action", "condition", "jingle_condition"),
    [
        ("session-initiate", "unexpected-request", "out-of-order"),
        ("session-accept", "unexpected-request", "out-of-order"),
        ("content-modify", "unexpected-request", "out-of-order"),
    ],
)
def test_out_of_order(action: str, condition: str, jingle_condition: str) -> None:
    """Jingle that is not due is answered with an error, and the open session is untouched."""
    pair = Pair().open()
    (initiate,) = [el for el in pair.alice.jingle_sent if el.get("action") == "session-initiate"]
    initiate.set("action", action)
    pair.deliver(Role.RESPONDER, initiate)
    (error,) = pair.bob.errors
    assert (error.condition, error.jingle_condition) == (condition, jingle_condition)
    assert pair.bob.session.stage is Stage.OPEN


def test_session_info() -> None:
    """An empty session-info is a ping; one with a payload is not understood."""
    pair = Pair().open()
    info = Element("{urn:xmpp:jingle:1}jingle", action="session-info", sid=pair.alice.session.sid)
    pair.deliver(Role.RESPONDER, info)
    assert pair.bob.errors == []
    info.append(Element("{urn:example}ringing"))
    pair.deliver(Role.RESPONDER, info)
    assert (pair.bob.errors[0].condition, pair.bob.errors[0].jingle_condition) == (
        "feature-not-implemented", "unsupported-info",
    )


def test_more_contents_are_declined() -> None:
    """content-add is answered by a content-reject that names the content and repeats nothing else of it."""
    pair = Pair().open()
    (initiate,) = [el for el in pair.alice.jingle_sent if el.get("action") == "session-initiate"]
    initiate.set("action", "content-add")
    initiate[0].set("name", "another")
    pair.deliver(Role.RESPONDER, initiate)
    pair.run()
    reject = pair.bob.jingle_sent[-1]
    assert reject.get("action") == "content-reject"
    assert [(child.get("name"), len(child)) for child in reject if child.tag.endswith("}content")] == [("another", 0)]
    assert pair.bob.session.stage is Stage.OPEN


@pytest.mark.parametrize("size", [255, 8193])
def test_a_block_size_out_of_range(size: int) -> None:
    """A block size that no peer would accept is refused before a session begins."""
    with pytest.raises(ValueError, match="256 to 8192"):
        config(block_size=size)


def test_local_misuse_is_a_local_error() -> None:
    """Calls out of order are the caller's fault, and harm nothing."""
    session = Session(Role.INITIATOR, config(), Remembered())
    with pytest.raises(LocalError):
        session.accept(0.0)
    with pytest.raises(LocalError):
        session.transport_ready(0.0)
    with pytest.raises(LocalError):
        session.send_stanza(message("x"))
    assert session.stage is Stage.IDLE


def test_body_helper_reads_what_was_sent() -> None:
    """The tests' own helper does not hide a difference."""
    assert body(message("a<b")) == "a<b"


def test_jingle_errors_are_raised_for_the_host() -> None:
    """Nonsense is answered as bad-request."""
    session = Session(Role.RESPONDER, config("bob"), Remembered())
    with pytest.raises(JingleError) as caught:
        session.receive_jingle(Element("{urn:xmpp:jingle:1}jingle", action="dance", sid="x"), 0.0)
    assert caught.value.condition == "bad-request"

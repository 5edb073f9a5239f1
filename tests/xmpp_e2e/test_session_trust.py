"""Which keys a session takes: pinned, remembered, new, changed; what it holds meanwhile, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.pair import NOBODY, Pair, config, identity, message, mute, prepare, remembers, talk
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, LocalError, StreamError, Timeout, UntrustedKey
from xmpp_e2e.inner import elements as auth
from xmpp_e2e.key_decision import KeyStatus, OnKeyChange
from xmpp_e2e.states import State
from xmpp_e2e.stream import writer
from xmpp_e2e.types import Assurance, KnownKeys, Role, TrustModel

UNTRUSTED = {"trust_model": TrustModel.SERVER_UNTRUSTED}
PINNED = Assurance.VERIFIED, "pin"


def test_a_pinned_key_is_verified() -> None:
    pair = Pair(
        config("alice", **UNTRUSTED),
        config("bob", **UNTRUSTED),
        alice_remembers=remembers("bob", *PINNED),
        bob_remembers=remembers("alice", *PINNED),
    ).open()
    assert pair.alice.session.assurance is pair.bob.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.state is State.OPEN


def test_a_remembered_key_is_known() -> None:
    """The second session with the same key is known, on the side that remembers."""
    pair = Pair(alice_remembers=remembers("bob")).open()
    assert pair.alice.session.assurance is Assurance.KNOWN
    assert pair.bob.session.assurance is Assurance.VOUCHED


def test_held_until_the_user_pins() -> None:
    """Under server-untrusted an unknown key is held; when the user pins it the held stanzas are delivered, in order."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    assert pair.bob.session.state.value == "done_received"
    for text in ("one", "two"):
        pair.alice.session.send_stanza(message(text))
    pair.run()
    assert pair.bob.stanzas == []
    pair.bob.session.update_known_keys(remembers("alice", *PINNED), pair.now)
    pair.run()
    assert pair.bob.stanzas == ["one", "two"]
    assert pair.alice.session.state is pair.bob.session.state is State.OPEN


@pytest.mark.parametrize(
    ("known", "early"),
    [(NOBODY, True), (remembers("bob"), True), (remembers("mallory"), False)],
    ids=["first", "known", "new"],
)
def test_a_new_key_gets_nothing_early(known: KnownKeys, early: bool) -> None:
    """Where others are known, no done leaves before the peer's hello is checked."""
    pair = Pair(alice_remembers=known)
    states: set[State] = set()

    def on_data(role: Role, data: bytes) -> list[bytes]:
        states.add(pair.alice.session.state)
        return [data]

    pair.on_data = on_data
    assert pair.open().alice.session.state is State.OPEN
    assert (State.SENT_DONE_EARLY in states) == early


STRICT = TrustModel.SERVER_UNTRUSTED, OnKeyChange.BY_TRUST_MODEL, Assurance.NONE
LAX = TrustModel.SERVER_AUTHENTICATES, OnKeyChange.BY_TRUST_MODEL, Assurance.NONE
LEAST = TrustModel.SERVER_AUTHENTICATES, OnKeyChange.BY_TRUST_MODEL, Assurance.KNOWN
REJECTS = TrustModel.SERVER_AUTHENTICATES, OnKeyChange.REJECT, Assurance.NONE
Terms = tuple[TrustModel, OnKeyChange, Assurance]


@pytest.mark.parametrize("terms", [STRICT, LEAST, REJECTS], ids=["trust model", "least assurance", "new keys"])
def test_an_open_session_ends_that_falls_short_of_other_terms(terms: Terms) -> None:
    pair = Pair(alice_remembers=remembers("mallory")).open()
    pair.alice.session.update_terms(*LAX, pair.now)
    assert pair.alice.session.state is State.OPEN
    pair.alice.session.update_terms(*terms, pair.now)
    pair.run()
    assert isinstance(pair.alice.failure, UntrustedKey)


def test_a_session_that_is_held_goes_on_under_laxer_terms() -> None:
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.bob.session.update_terms(*LAX, pair.now)
    pair.run()
    assert pair.alice.session.state is pair.bob.session.state is State.OPEN


def test_terms_that_change_before_there_is_a_key_hold_for_it() -> None:
    pair = Pair()
    pair.alice.session.update_terms(*STRICT, pair.now)
    pair.open()
    assert pair.alice.session.config.needed_assurance is Assurance.VERIFIED
    assert len(pair.alice.of(events.VerificationRequired)) == 1


def test_a_pin_raises_an_open_session() -> None:
    pair = Pair().open()
    pair.alice.session.update_known_keys(remembers("bob", *PINNED), pair.now)
    assert pair.alice.session.assurance is Assurance.VERIFIED
    assert pair.alice.session.state is State.OPEN


@pytest.mark.parametrize("blocked", [True, False], ids=["blocked", "another pinned"])
def test_a_refused_key_ends_an_open_session(blocked: bool) -> None:
    memory = remembers("mallory", *PINNED)
    if blocked:
        memory = KnownKeys((replace(remembers("bob").keys[0], blocked=True),))
    pair = Pair().open()
    pair.alice.session.update_known_keys(memory, pair.now)
    pair.run()
    assert isinstance(pair.alice.failure, UntrustedKey)
    assert pair.bob.session.state is State.CLOSED


def test_so_much_is_held_and_no_byte_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills the room to its last byte, its closing tag aside, is held; the next stanza, however short, is one too many."""
    stanza = message("exactly so much")
    monkeypatch.setattr("xmpp_e2e.inner.gate.EARLY_BUFFER_BYTES", len(writer.element(stanza).removesuffix(b"</message>")))
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.says(Role.INITIATOR, stanza)
    assert pair.bob.session.state is State.DONE_RECEIVED
    pair.says(Role.INITIATOR, message(""))
    assert isinstance(pair.bob.failure, StreamError)


def test_what_was_held_is_dropped_with_the_session() -> None:
    """Though its host may keep it, to look up how a stanza came."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.alice.session.send_stanza(message("secret"))
    pair.run()
    assert talk(pair.bob.session)._gate._early
    pair.bob.session.bytestream_failed(BytestreamFailed("cut"), pair.now)
    assert not talk(pair.bob.session)._gate._early


def test_what_is_held_counts_as_it_came() -> None:
    """However long it would be if we wrote it: another client declares a namespace once where we repeat it."""
    names = b" ".join(b"p:a%d=''" % number for number in range(60))
    stanza = b"<message xmlns:p='%s'><x %s/></message>" % (b"n" * 256, names)
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    talk(pair.alice.session).out._write(stanza)
    pair.run()
    assert pair.bob.session.state is State.DONE_RECEIVED


def test_held_time_is_bounded() -> None:
    """After five minutes without the user the session fails on both sides, and nothing was delivered."""
    pair = Pair(bob=config("bob", **UNTRUSTED)).open()
    pair.alice.session.send_stanza(message("secret"))
    pair.run().pass_time(299)
    assert pair.bob.session.state is State.DONE_RECEIVED
    pair.pass_time(2)
    assert isinstance(pair.bob.failure, Timeout)
    assert pair.alice.of(events.SessionFailed)
    assert not pair.bob.stanzas


def test_a_refused_key_names_the_bare_address() -> None:
    """The commands that a host shows are about the account, even if the resource has a slash in it."""
    bob = "bob@b.test/desk/left"
    alice = config("alice", peer_jid=bob, on_key_change=OnKeyChange.REJECT)
    pair = Pair(alice, config("bob", own_jid=bob), alice_remembers=remembers("mallory")).open()
    failure = pair.alice.failure
    assert isinstance(failure, UntrustedKey)
    assert failure.peer == "bob@b.test"
    assert failure.assessment is not None
    assert failure.assessment.status is KeyStatus.NEW


def test_a_changed_key_is_held_and_told() -> None:
    """A key other than the verified one is held even though it is vouched for, and the user is told how to resolve it."""
    pair = Pair(alice_remembers=remembers("mallory", *PINNED)).open()
    (told,) = pair.alice.of(events.KeyChanged)
    assert (told.status, told.decision) == ("changed", "hold")
    assert told.fingerprint == identity("bob").fingerprint
    assert told.known == (identity("mallory").fingerprint,)
    assert pair.alice.session.state is State.DONE_RECEIVED
    with pytest.raises(LocalError):
        pair.alice.session.send_stanza(message("never"))


def test_the_peer_waits_as_long_as_our_user_may_take() -> None:
    """While a changed key is held for a person, the peer's side knows that it is, and waits just as long."""
    pair = Pair(bob_remembers=remembers("mallory", *PINNED)).open()
    assert pair.bob.session.state is State.DONE_RECEIVED
    pair.pass_time(299)
    assert pair.alice.session.state is State.DONE_SENT
    pair.bob.session.update_known_keys(remembers("alice", *PINNED), pair.now)
    pair.run()
    assert pair.alice.of(events.SessionOpened)


def test_the_responder_never_speaks_first() -> None:
    """What the user decides before the initiator's hello has come makes the responder say nothing."""
    pair = Pair()
    spoken: list[bytes] = []

    def on_data(role: Role, data: bytes) -> list[bytes]:
        if pair.bob.session.state is State.SECURED and not spoken:
            pair.bob.session.update_known_keys(remembers("alice", *PINNED), pair.now)
            spoken.append(pair.bob.session.data_to_send())
            assert pair.bob.session.state is State.SECURED
        return [data]

    pair.on_data = on_data
    # TLS's last flight and the hello travel apart
    prepare(pair.alice.session, lambda conversation: mute(conversation, conversation._send_header))
    pair.open()
    alice = talk(pair.alice.session)
    alice.out.element(auth.build_hello(alice._our_hello()))
    pair.run()
    assert spoken == [b""]


@pytest.mark.parametrize(("terms", "required"), [({}, Assurance.VOUCHED), (UNTRUSTED, Assurance.VERIFIED)], ids=["met", "held"])
def test_the_hello_says_what_is_missing(
    terms: dict[str, TrustModel], required: Assurance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hello requires what the policy does, and a proof only where the key would be held without one."""
    said: list[auth.Hello] = []
    monkeypatch.setattr(auth.Hello, "verify_matches", lambda self, ours: said.append(ours))
    Pair(config("alice", **terms), config("bob")).open()
    assert {hello.role: hello.require for hello in said}[Role.INITIATOR] is required

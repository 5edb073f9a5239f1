"""Attack 2: a relay with certificates of its own, both fingerprints swapped in the stanzas.

On a first contact by route nothing can detect it: the session says ``vouched``, and no more. Whoever knows the peer's
key is told, whoever has pinned it is safe.
"""

from __future__ import annotations

from typing import Any

import pytest

from slixmpp_e2e.alarms import explain, key_alarm
from tests.attacks.mitm import SessionMitm
from tests.pair import NOBODY, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import LocalError, UntrustedKey
from xmpp_e2e.key_decision import KeyDecision, OnKeyChange, decide
from xmpp_e2e.states import State
from xmpp_e2e.types import (
    Assurance,
    KnownKey,
    KnownKeys,
    TrustModel,
)


def bob_with(assurance: Assurance, method: str) -> KnownKeys:
    """Alice remembers Bob's genuine key."""
    return KnownKeys((KnownKey(identity("bob").fingerprint, assurance, method, 0.0),))


KNOWN, PINNED = bob_with(Assurance.VOUCHED, "route"), bob_with(Assurance.VERIFIED, "pin")


def test_first_contact_is_fooled_and_labelled_vouched() -> None:
    """Control and limit in one: with nothing but the servers' word the relay succeeds, and the label says no more than that."""
    middle = SessionMitm().open()
    middle.alice.session.send_stanza(message("to bob"))
    middle.relay()
    assert middle.bob.stanzas == ["to bob"]
    assert middle.read == ["to bob"]
    assert middle.alice.session.assurance is middle.bob.session.assurance is Assurance.VOUCHED
    assert str(middle.alice.session.assurance) == "vouched"


def test_a_known_peer_is_told_and_gets_nothing_early() -> None:
    """Merely known, under server-authenticates: accepted at its own level, always told, and no stanza before the hello."""
    middle = SessionMitm(alice_remembers=KNOWN).open()
    (told,) = middle.alice.of(events.KeyChanged)
    assert (told.status, told.decision) == ("new", "accept")
    assert (told.fingerprint, told.known) == (identity("mallory").fingerprint, (identity("bob").fingerprint,))
    assert middle.alice.session.assurance is Assurance.VOUCHED


@pytest.mark.parametrize(
    ("remembers", "stage"), [(NOBODY, State.SENT_DONE_EARLY), (KNOWN, State.SECURED), (PINNED, State.SECURED)]
)
def test_no_early_stanza_to_a_new_key(remembers: KnownKeys, stage: State) -> None:
    """Before a hello has come from a key that is new for a peer, no stanza is taken; control: from a stranger's, it is."""
    middle = SessionMitm(alice_remembers=remembers)
    middle.say_nothing_to_alice()
    middle.open()
    assert middle.alice.session.state is stage
    if stage is State.SENT_DONE_EARLY:
        middle.alice.session.send_stanza(message("early"))
    else:
        with pytest.raises(LocalError):
            middle.alice.session.send_stanza(message("early"))


@pytest.mark.parametrize("remembers", [NOBODY, KNOWN], ids=["stranger", "known"])
def test_an_untrusted_server_is_not_believed(remembers: KnownKeys) -> None:
    """Under server-untrusted neither a stranger nor a merely known peer gets a stanza on the servers' word."""
    middle = SessionMitm(alice={"trust_model": TrustModel.SERVER_UNTRUSTED}, alice_remembers=remembers).open()
    assert not middle.alice.of(events.SessionOpened)
    with pytest.raises(LocalError):
        middle.alice.session.send_stanza(message("to bob"))


def test_a_pinned_peer_is_held() -> None:
    """A pinned key that is contradicted is held even though the servers vouch for the new one; nothing flows either way."""
    middle = SessionMitm(alice_remembers=PINNED).open()
    (told,) = middle.alice.of(events.KeyChanged)
    assert (told.status, told.decision) == ("changed", "hold")
    assert "xmpp-e2e trust" in key_alarm(told.assessment, "bob@b.test")
    assert middle.alice.session.state is State.DONE_RECEIVED
    with pytest.raises(LocalError):
        middle.alice.session.send_stanza(message("to bob"))
    middle.relay()
    assert middle.read == []
    assert not middle.alice.of(events.StanzaReceived)


@pytest.mark.parametrize("remembers", [KNOWN, PINNED], ids=["known", "pinned"])
def test_an_unattended_bot_refuses(remembers: KnownKeys) -> None:
    """With on_key_change = reject the session ends at once, with an error that contains the command that resolves it."""
    middle = SessionMitm(alice={"on_key_change": OnKeyChange.REJECT}, alice_remembers=remembers).open()
    assert isinstance(middle.alice.failure, UntrustedKey)
    assert "xmpp-e2e trust pin bob@b.test SHA256:" in explain(middle.alice.failure)


def test_control_without_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: when the judge forgets what is remembered, even a pinned peer is relayed."""

    def forgetful(remembered: KnownKeys, *args: Any, **terms: Any) -> KeyDecision:
        return decide(NOBODY, *args, **terms)

    monkeypatch.setattr("xmpp_e2e.inner.key_assessment.decide", forgetful)
    middle = SessionMitm(alice_remembers=PINNED).open()
    middle.alice.session.send_stanza(message("to bob"))
    assert middle.relay().read == ["to bob"]

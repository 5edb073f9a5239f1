"""Attack 9: a server edits the negotiation: methods added, removed or reordered, a nonce or a fingerprint changed.

For a stranger, for a known and for a pinned peer alike the session fails inside TLS, since both hellos carry a digest of
all that either side signalled and saw.
"""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, SubElement

import pytest

from slixmpp_e2e.alarms import explain
from tests.attacks.signalling_edits import ACTIONS, METHOD, SECURITY, Edit, edit_signalling, swap_fingerprint, terminate_reasons
from tests.pair import NOBODY, Pair, config, has_code, message, remembers
from tests.slixmpp_e2e.env import BOB, Env, Events, jingle
from xmpp_e2e import events
from xmpp_e2e.errors import AuthenticationFailed, Code, LocalError
from xmpp_e2e.inner.elements import Hello
from xmpp_e2e.states import State
from xmpp_e2e.types import (
    Assurance,
    KnownKeys,
    Role,
    TrustModel,
)

ASSERTION = "{urn:x-xmpp-e2e:security:0}assertion"
PEERS = {
    "vouched": (NOBODY, NOBODY),
    "known": (remembers("bob"), remembers("alice")),
    "pinned": (remembers("bob", Assurance.VERIFIED, "pin"), remembers("alice", Assurance.VERIFIED, "pin")),
}
peers = pytest.mark.parametrize("remembered", PEERS.values(), ids=PEERS.keys())


def add_method(security: Element) -> None:
    SubElement(security, METHOD, {"name": "better"})


def remove_method(security: Element) -> None:
    """Only the weakest is left."""
    for method in security.findall(METHOD)[1:]:
        security.remove(method)


def reorder_methods(security: Element) -> None:
    first = security.findall(METHOD)[0]
    security.remove(first)
    security.append(first)


def change_nonce(security: Element) -> None:
    security.set("nonce", "A" * 22 + "==")


def add_assertion(security: Element) -> None:
    """A statement that the sender never made."""
    SubElement(security, ASSERTION).text = "signed~bound"


def remove_all(security: Element) -> None:
    for method in security.findall(METHOD):
        security.remove(method)


QUIET = (add_method, remove_method, reorder_methods, change_nonce, add_assertion)
"""What nothing but the digest can find."""


def attacked(role: Role, edit: Edit, remembered: tuple[KnownKeys, KnownKeys]) -> Pair:
    alice, bob = remembered
    return Pair(alice_remembers=alice, bob_remembers=bob, on_jingle=edit_signalling(role, edit)).open()


def assert_nothing_came_of_it(pair: Pair) -> None:
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas
        with pytest.raises(LocalError):
            side.session.send_stanza(message("secret"))
    assert "security-error" in terminate_reasons(pair.alice.jingle_sent + pair.bob.jingle_sent)


@peers
@pytest.mark.parametrize("edit", QUIET)
@pytest.mark.parametrize("role", Role)
def test_an_edit_is_found_out_inside(role: Role, edit: Edit, remembered: tuple[KnownKeys, KnownKeys]) -> None:
    """The responder compares the digests first and says no more than that it failed; the user reads what it may be."""
    pair = attacked(role, edit, remembered)
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    assert "A server on the path edited the negotiation" in explain(pair.bob.failure)
    assert isinstance(pair.alice.failure, AuthenticationFailed)
    assert_nothing_came_of_it(pair)


@peers
@pytest.mark.parametrize("role", Role)
def test_an_edited_fingerprint_is_found_out_by_tls(role: Role, remembered: tuple[KnownKeys, KnownKeys]) -> None:
    """A fingerprint that was edited does not fit the certificate."""
    pair = attacked(role, swap_fingerprint("mallory"), remembered)
    assert has_code(Code.FINGERPRINT_MISMATCH)(pair.side(role.other).failure)
    assert_nothing_came_of_it(pair)


@peers
@pytest.mark.parametrize("role", Role)
def test_no_method_is_no_session(role: Role, remembered: tuple[KnownKeys, KnownKeys]) -> None:
    """Where no method is left the session ends before TLS, never with less."""
    pair = attacked(role, remove_all, remembered)
    victim = pair.side(role.other)
    assert has_code(Code.NO_COMMON_METHOD)(victim.failure)
    assert not pair.alice.data_sent
    assert_nothing_came_of_it(pair)


@pytest.mark.parametrize("role", Role)
def test_the_weakest_method_meets_no_higher_minimum(role: Role) -> None:
    """Even unnoticed, forcing the weakest method would gain nothing: what is needed is decided here, not on the path."""
    demanding = {"trust_model": TrustModel.SERVER_UNTRUSTED}
    pair = Pair(config("alice", **demanding), config("bob", **demanding), on_jingle=edit_signalling(role, remove_method)).open()
    assert has_code(Code.NEGOTIATION_ALTERED)(pair.bob.failure)
    assert_nothing_came_of_it(pair)


@peers
@pytest.mark.parametrize("edit", QUIET)
@pytest.mark.parametrize("role", Role)
def test_control_without_the_digest(
    role: Role, edit: Edit, remembered: tuple[KnownKeys, KnownKeys], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with the digest left out of the hello's check every such edit goes unnoticed, pinned peer or not."""
    genuine = Hello.verify_matches

    def careless(self: Hello, ours: Hello) -> None:
        genuine(self, replace(ours, neg=self.neg))

    monkeypatch.setattr(Hello, "verify_matches", careless)
    pair = attacked(role, edit, remembered)
    pair.alice.session.send_stanza(message("weakened"))
    assert pair.run().bob.stanzas == ["weakened"]


@pytest.mark.parametrize("edit", QUIET)
@pytest.mark.parametrize("action", ACTIONS.values())
async def test_between_clients(env: Env, action: str, edit: Edit) -> None:
    """The server edits a half that passes: the message fails, visibly, whoever found out; nothing is delivered or in clear."""
    alice, bob = await env.pair()

    def hook(stanza: Element, sender: str) -> Element:
        if jingle(action)(stanza, sender):
            for security in stanza.iter(SECURITY):
                edit(security)
        return stanza

    env.server.hooks.append(hook)
    failed, heard = Events(alice, "e2e_send_failed"), Events(bob, "message")
    started = [Events(client, "e2e_session_opened") for client in (alice, bob)]
    alice.send_message(mto=BOB, mbody="the treasure is under the oak", mtype="chat")
    assert isinstance((await failed.take()).error, AuthenticationFailed)
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert not any(map(len, started))
    assert env.in_clear("treasure") == []

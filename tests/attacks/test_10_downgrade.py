"""Attack 10: TLS is talked down: an older version, another application protocol, a classical group, no key share.

By a man in the middle who edits what passes, and by a peer who is what it pretends to be but speaks worse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.attacks import client_hello_edits
from tests.attacks.client_hello_edits import ALPN, KEY_SHARE, SUPPORTED_GROUPS, SUPPORTED_VERSIONS, X25519MLKEM768, Extensions
from tests.pair import Pair, config, identity, message
from xmpp_e2e import events
from xmpp_e2e.errors import TLSFailed
from xmpp_e2e.states import State
from xmpp_e2e.tls import connection
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.types import Role

FAST = pytest.mark.parametrize("fast", [True, False], ids=["flights", "no flights"])
Tune = Callable[[SSL.Context], None]


def assert_nothing_came_of_it(pair: Pair) -> None:
    assert isinstance(pair.bob.failure, TLSFailed) or isinstance(pair.alice.failure, TLSFailed)
    for side in (pair.alice, pair.bob):
        assert side.session.state is State.CLOSED
        assert not side.of(events.SessionOpened)
        assert not side.stanzas


# --- a man in the middle -----------------------------------------------------------------------------------------------------


def only_tls_1_2(extensions: Extensions) -> None:
    """As if Alice's TLS had never heard of 1.3."""
    del extensions[SUPPORTED_VERSIONS]


def no_alpn(extensions: Extensions) -> None:
    del extensions[ALPN]


def other_alpn(extensions: Extensions) -> None:
    extensions[ALPN] = client_hello_edits.sized(2, client_hello_edits.sized(1, b"h2"))


def classical_groups(extensions: Extensions) -> None:
    """The hybrid group is gone, share and all: what is left can be recorded and broken later."""
    for kind, cut in ((SUPPORTED_GROUPS, client_hello_edits.listed), (KEY_SHARE, client_hello_edits.shares)):
        extensions[kind] = cut(extensions[kind], lambda group: group != X25519MLKEM768)


def no_hybrid_share(extensions: Extensions) -> None:
    """The hybrid group is offered, its share is not: Bob might take a classical one that is there."""
    extensions[KEY_SHARE] = client_hello_edits.shares(extensions[KEY_SHARE], lambda group: group != X25519MLKEM768)


def no_share(extensions: Extensions) -> None:
    """Bob has to ask for another ClientHello, and Alice answers a question that Alice did not cause."""
    extensions[KEY_SHARE] = client_hello_edits.sized(2, b"")


EDITS = (only_tls_1_2, no_alpn, other_alpn, classical_groups, no_hybrid_share, no_share)


def between(edit: client_hello_edits.Edit, *, fast: bool) -> Pair:
    """Alice and Bob with the man in the middle between them."""
    on_jingle, on_data = client_hello_edits.edit_first_hello(edit)
    return Pair(config("alice", fast_open=fast), config("bob"), on_jingle=on_jingle, on_data=on_data).open()


@FAST
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_client_hello_is_refused(edit: client_hello_edits.Edit, fast: bool) -> None:
    """Whether Bob minds at once or would go along: the two have not seen the same handshake, and it fails."""
    pair = between(edit, fast=fast)
    assert_nothing_came_of_it(pair)
    assert not pair.alice.of(events.TLSEstablished)


@FAST
def test_control_the_middleman_can_write(fast: bool) -> None:
    """Control: the same man in the middle takes the ClientHello apart and puts it together as it was: nobody minds."""
    assert between(lambda extensions: None, fast=fast).alice.session.state is State.OPEN


# --- a peer ----------------------------------------------------------------------------------------------------------


def tuned(monkeypatch: pytest.MonkeyPatch, name: str, tune: Tune) -> None:
    """One person's TLS is set up otherwise."""
    genuine = connection._context

    def context(role: Role, ours: OwnKey, expectation: Any) -> SSL.Context:
        made = genuine(role, ours, expectation)
        if ours == identity(name):
            tune(made)
        return made

    monkeypatch.setattr(connection, "_context", context)


def older(context: SSL.Context) -> None:
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)


def other_application(context: SSL.Context) -> None:
    context.set_alpn_protos([b"h2"])
    context.set_alpn_select_callback(lambda connection, offered: b"h2")


def no_application(context: SSL.Context) -> None:
    """As the TLS server it names none, as the client another one."""
    context.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)
    context.set_alpn_protos([b"other"])


def classical(context: SSL.Context) -> None:
    context.set_tmp_ecdh(ec.SECP256R1())


def careless(monkeypatch: pytest.MonkeyPatch, name: str, *checks: str) -> None:
    """Our own side lets OpenSSL pass everything, and leaves out these checks afterwards."""
    tuned(monkeypatch, name, lambda context: context.set_min_proto_version(SSL.TLS1_2_VERSION))
    monkeypatch.setattr(connection, "_select_alpn", lambda connection, offered: offered[0])
    for check in checks:
        monkeypatch.setattr(connection, check, lambda value: None)


PEERS = pytest.mark.parametrize("victim", ["alice", "bob"])
OTHER = {"alice": "bob", "bob": "alice"}


@FAST
@PEERS
@pytest.mark.parametrize("tune", [older, other_application, no_application])
def test_a_peer_who_speaks_worse_is_refused(monkeypatch: pytest.MonkeyPatch, tune: Tune, victim: str, fast: bool) -> None:
    """The key is the right one and the signalling genuine; the TLS is not what we speak."""
    tuned(monkeypatch, OTHER[victim], tune)
    pair = Pair(config("alice", fast_open=fast), config("bob")).open()
    assert_nothing_came_of_it(pair)


@PEERS
def test_a_classical_peer_is_refused_by_who_demands_more(monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    """Under ``require_pq`` a group that a quantum computer breaks is not enough; without it, it is, and is told."""
    tuned(monkeypatch, OTHER[victim], classical)
    terms = {victim: config(victim, require_post_quantum=True)}
    assert_nothing_came_of_it(Pair(**terms).open())
    pair = Pair().open()
    (secured,) = pair.alice.of(events.TLSEstablished)
    assert secured.group == "secp256r1"


@PEERS
@pytest.mark.parametrize(
    ("tune", "checks"), [(older, ["_check_protocol"]), (no_application, ["_check_alpn"]), (classical, ["_check_group"])]
)
def test_control_without_the_checks(monkeypatch: pytest.MonkeyPatch, tune: Tune, checks: list[str], victim: str) -> None:
    """Control: with OpenSSL's limits and the check afterwards left out, the worse TLS carries the session."""
    careless(monkeypatch, victim, *checks)
    tuned(monkeypatch, OTHER[victim], tune)
    demand = {"require_post_quantum": tune is classical}
    pair = Pair(config("alice", **demand), config("bob", **demand))
    pair.open()
    pair.alice.session.send_stanza(message("weakened"))
    assert pair.run().bob.stanzas == ["weakened"]

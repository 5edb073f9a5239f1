"""What is printed of a bound: its value as the code has it, and the reason that stands beside it."""

from __future__ import annotations

from tests.evidence.bounds import bounds
from xmpp_e2e.stream import MAX_STANZA

OF_SPECIFICATIONS = {
    "xmpp_e2e.authenticate.proof_exchange.TAG_BYTES",
    "xmpp_e2e.authenticate.sas.CODE_BYTES",
    "xmpp_e2e.authenticate.sas._NONCE_BYTES",
    "xmpp_e2e.authenticate.srp._MODULUS",
    "xmpp_e2e.authenticate.srp._SALT_BYTES",
    "xmpp_e2e.tls.connection._EXPORTER_BYTES",
    "xmpp_e2e.transport.ibb._SEQUENCE",
}
"""Given by docs/protocol.md, or by what it refers to: no choice of the code."""


def test_the_reason_is_found() -> None:
    found = {name: (value, why) for name, value, why in bounds()}
    value, why = found["xmpp_e2e.stream.MAX_STANZA"]
    assert value == f"{MAX_STANZA:,}"
    assert why.startswith("Bytes of one top-level element")


def test_each_bound_has_a_reason() -> None:
    assert {name for name, _, why in bounds() if not why} == OF_SPECIFICATIONS

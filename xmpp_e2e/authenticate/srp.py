"""The ``srp`` method: both sides know the same password, and a run gives the other end one guess, no more.

SRP-6a with the arithmetic of RFC 5054 §2.5, group of 4096 bits (§3), SHA-256. Neither side is a server that stores a verifier:
the responder makes one afresh for each run. Of the library only the arithmetic is used: its verdicts are wrong for B = 0. A
power takes some 10 ms, so they are for the host to compute.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator
from typing import Any, ClassVar

from xmpp_e2e.authenticate import power
from xmpp_e2e.authenticate.base import (
    AskHost,
    ChannelBinding,
    Computation,
    Effect,
    ProofSteps,
)
from xmpp_e2e.authenticate.proof_exchange import ProofExchange
from xmpp_e2e.encoding import label, length_prefixed, split_length_prefixed
from xmpp_e2e.errors import LocalError
from xmpp_e2e.types import Assurance, Role

DERIVED_PASSWORD_BYTES = 32
"""Bytes of a password that Argon2id has stretched, as this method needs it."""
_USER = label("srp").decode()
_SALT_BYTES = 16
_SECRET_BYTES = 256
"""Bytes of the ephemeral secrets, as the library wants them."""
_NUMBER = range(1, 513)
"""Bytes of A and B, minimal big-endian: below a modulus of 4096 bits."""


def _library() -> Any:
    """Return a copy of ``srp``'s own that no other code in the process has: what is set in it is set for us alone."""
    spec = importlib.util.find_spec("srp._pysrp")
    assert spec is not None
    assert spec.loader is not None
    copy: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    copy.rfc5054_enable()  # else neither k nor u are those of RFC 5054
    copy.pow = power.power  # Python's would hold the interpreter, and with it the host's event loop
    return copy


_srp = _library()
_MODULUS, _ = _srp.get_ng(_srp.NG_4096, None, None)
_GROUP: dict[str, Any] = {"hash_alg": _srp.SHA256, "ng_type": _srp.NG_4096}


class SrpAuthenticator:
    """Agrees on a key by a password, and confirms it."""

    name: ClassVar[str] = "srp"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    order: ClassVar[int] = 2
    needs_shared_secret: ClassVar[bool] = True

    def prove(self, binding: ChannelBinding) -> ProofSteps:
        """I lv(A) · R lv(salt, B) · I lv(T_I) · R lv(T_R)."""
        exchange = ProofExchange(self.name, binding)
        stretched = yield from exchange.shared_secret()
        if len(stretched) != DERIVED_PASSWORD_BYTES:
            raise LocalError(f"a stretched password has {DERIVED_PASSWORD_BYTES} bytes, not {len(stretched)}")
        agree = _as_initiator if binding.role is Role.INITIATOR else _as_responder
        key = yield from agree(exchange, stretched, binding.random)
        return (yield from exchange.confirm_key(key, self.assurance, counted=True))


def _as_initiator(exchange: ProofExchange, stretched: bytes, random: Callable[[int], bytes]) -> Generator[Effect, bytes, bytes]:
    secret = random(_SECRET_BYTES)
    user: Any = None

    def begin() -> bytes:
        nonlocal user
        user = _srp.User(_USER, stretched, bytes_a=secret, **_GROUP)
        _, ours = user.start_authentication()
        return bytes(ours)

    yield from exchange.send((yield AskHost(Computation(begin))))
    salt, theirs = yield from exchange.receive(range(_SALT_BYTES, _SALT_BYTES + 1), _NUMBER)
    _check(exchange, theirs)

    def agree() -> bytes:
        return user.K if user.process_challenge(salt, theirs) is not None else b""

    key = yield AskHost(Computation(agree))
    if not key:
        raise exchange.failure()
    return key


def _as_responder(exchange: ProofExchange, stretched: bytes, random: Callable[[int], bytes]) -> Generator[Effect, bytes, bytes]:
    (theirs,) = yield from exchange.receive(_NUMBER)
    _check(exchange, theirs)
    salt, secret = random(_SALT_BYTES), random(_SECRET_BYTES)

    def agree() -> bytes:
        exponent = _srp.gen_x(_srp._hash_map[_srp.SHA256], salt, _USER, stretched)
        verifier = _srp.long_to_bytes(power.power(5, exponent, _MODULUS))
        server = _srp.Verifier(_USER, salt, verifier, theirs, bytes_b=secret, **_GROUP)
        _, ours = server.get_challenge()
        # The key without a verdict: a public way to it leads through M1, which is never sent here.
        server._derive_H_AMK()
        return length_prefixed(ours, server.K)

    ours, key = split_length_prefixed((yield AskHost(Computation(agree))))
    yield from exchange.send(salt, ours)
    return key


def _check(exchange: ProofExchange, number: bytes) -> None:
    """0 < x < N and spelt in one way only, without a zero in front, so 0 itself cannot be spelt. 0 and N give a key that
    everybody knows (RFC 5054 §2.5.3, §2.5.4)."""
    if number[0] == 0 or int.from_bytes(number) >= _MODULUS:
        raise exchange.failure()

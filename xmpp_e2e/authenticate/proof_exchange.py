"""The steps of one authenticator with its peer, and the confirmation that binds a shared key to the connection.

Both tags are over the TLS exporter, the two certificates, the JIDs, the negotiation and every step so far, so a relay
between two connections, a reflection and an edited step all fail alike (docs/protocol.md).
"""

from __future__ import annotations

import hmac
from collections.abc import Generator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from xmpp_e2e.authenticate.base import (
    AskHost,
    AttemptStarted,
    AttemptSucceeded,
    ChannelBinding,
    Effect,
    Proof,
    Receive,
    SecretNeeded,
    Send,
)
from xmpp_e2e.encoding import label, labelled_hash, length_prefixed, split_length_prefixed
from xmpp_e2e.errors import AuthenticationFailed, Code
from xmpp_e2e.types import Assurance, Role

TAG_BYTES = 32
_LETTER = {Role.INITIATOR: b"I", Role.RESPONDER: b"R"}
_PURPOSE = {Role.INITIATOR: label("confirm I"), Role.RESPONDER: label("confirm R")}


class ProofExchange:
    """Sends and receives steps, and keeps the log that the confirmation covers."""

    def __init__(self, method: str, binding: ChannelBinding) -> None:
        self._method, self._binding = method, binding
        self._log = b""

    def send(self, *fields: bytes) -> Generator[Effect, bytes, None]:
        """Send one step with ``fields``."""
        payload = length_prefixed(*fields)
        self._note(self._binding.role, payload)
        yield Send(payload)

    def receive(self, *sizes: range) -> Generator[Effect, bytes, tuple[bytes, ...]]:
        """Return the fields of the peer's next step, each as long as ``sizes`` allow; raise ``failure()`` otherwise."""
        payload = yield Receive()
        try:
            fields = split_length_prefixed(payload)
        except ValueError:
            fields = ()
        if len(fields) != len(sizes) or any(len(field) not in size for field, size in zip(fields, sizes, strict=True)):
            raise self.failure()
        self._note(self._binding.role.other, payload)
        return fields

    def shared_secret(self) -> Generator[Effect, bytes, bytes]:
        """Return the secret that our side shares with the peer."""
        secret = yield AskHost(SecretNeeded(self._method))
        if not secret:
            raise AuthenticationFailed(f"there is no secret for {self._method} with this peer")
        return secret

    def confirm_key(self, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Effect, bytes, Proof]:
        """Show that we know ``key``, and check that the peer does.

        The initiator goes first. The responder shows nothing that depends on ``key`` before it has checked the initiator's tag:
        otherwise one run would give anybody a tag to try a dictionary on, at leisure.

        ``counted``: the key is only as good as a user's password, so each run gives the other end one guess. Count it before
        the other end can learn whether it is right, by our tag or by our check of theirs, and take it back if it is: so runs in
        parallel cannot exceed the count.
        """
        if self._binding.role is Role.INITIATOR:
            if counted:
                yield AskHost(AttemptStarted(self._method))
            yield from self.send(self._tag(key, Role.INITIATOR))
            yield from self._expect(self._tag(key, Role.RESPONDER))
        else:
            yield from self._expect(self._tag(key, Role.INITIATOR), counted=counted)
        if counted:
            yield AskHost(AttemptSucceeded(self._method))
        if self._binding.role is Role.RESPONDER:
            yield from self.send(self._tag(key, Role.RESPONDER))
        return Proof(self._method, assurance, self._binding.key)

    def failure(self) -> AuthenticationFailed:
        """Return the error, the same for all causes: there is only one on the wire."""
        return AuthenticationFailed(f"the proof by {self._method} failed", Code.PROOF_FAILED)

    def _expect(self, tag: bytes, *, counted: bool = False) -> Generator[Effect, bytes, None]:
        (heard,) = yield from self.receive(range(TAG_BYTES, TAG_BYTES + 1))
        if counted:
            yield AskHost(AttemptStarted(self._method))
        if not hmac.compare_digest(heard, tag):
            raise self.failure()

    def _tag(self, key: bytes, role: Role) -> bytes:
        """Return the tag of ``role`` over the log as it is now (HKDF of RFC 5869 with the exporter as salt, then HMAC)."""
        extracted = hmac.digest(self._binding.exporter, key, "sha256")
        bound = labelled_hash("confirm-ctx", self._method.encode(), self._binding.context)
        expand = HKDFExpand(hashes.SHA256(), TAG_BYTES, length_prefixed(_PURPOSE[role], bound))
        transcript = labelled_hash("transcript", self._binding.context, self._log)
        return hmac.digest(expand.derive(extracted), transcript, "sha256")

    def _note(self, role: Role, payload: bytes) -> None:
        self._log += length_prefixed(_LETTER[role], self._method.encode(), payload)

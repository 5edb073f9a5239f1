"""The steps of one authenticator with its peer, and the confirmation that binds a shared key to the connection.

Both tags are over the TLS exporter, the two certificates, the JIDs, the negotiation and every step so far, so a relay
between two connections, a reflection and an edited step all fail alike (docs/protocol.md).
"""

from __future__ import annotations

import hmac
from collections.abc import Generator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from xmpp_e2e.authenticate.base import Ask, Evidence, GuessReturned, GuessSpent, Proven, Receive, SecretWanted, Send, Step
from xmpp_e2e.encoding import cut, labelled_hash, lv
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.identity import Assurance, Role

TAG_BYTES = 32
_LETTER = {Role.INITIATOR: b"I", Role.RESPONDER: b"R"}
_PURPOSE = {Role.INITIATOR: b"xmpp-e2e/1 confirm I", Role.RESPONDER: b"xmpp-e2e/1 confirm R"}


class Failed(AuthenticationFailed):
    """The peer does not know the secret, or somebody is in between. One error for all causes: there is one on the wire."""

    likely = (
        "The secret that you share is not the same on both sides: mistyped, or changed on one of them;"
        " or the person there sees another string."
    )
    attack = (
        "Somebody in the middle, with a session of his own to each of you, causes exactly this;"
        " so does somebody who poses as the peer and guesses."
    )
    remedy = (
        "Nothing was sent in clear; but in a session that was open before, somebody in the middle has read along."
        " Ask the peer by another way, and try again. If it fails with the right secret, do not use this path."
    )


class Dialogue:
    """Says and hears steps, and keeps the log that the confirmation covers."""

    def __init__(self, method: str, evidence: Evidence) -> None:
        self._method, self._evidence = method, evidence
        self._log = b""

    def say(self, *fields: bytes) -> Generator[Step, bytes, None]:
        """Send one step with ``fields``."""
        payload = lv(*fields)
        self._note(self._evidence.role, payload)
        yield Send(payload)

    def hear(self, *sizes: range) -> Generator[Step, bytes, tuple[bytes, ...]]:
        """The fields of the peer's next step, each as long as ``sizes`` allow; Failed otherwise."""
        payload = yield Receive()
        try:
            fields = cut(payload)
        except ValueError:
            fields = ()
        if len(fields) != len(sizes) or any(len(field) not in size for field, size in zip(fields, sizes, strict=True)):
            raise self.failed()
        self._note(self._evidence.role.other, payload)
        return fields

    def secret(self) -> Generator[Step, bytes, bytes]:
        """The secret that our side shares with the peer."""
        secret = yield Ask(SecretWanted(self._method))
        if not secret:
            raise AuthenticationFailed(f"there is no secret for {self._method} with this peer")
        return secret

    def confirm(self, key: bytes, assurance: Assurance, *, counted: bool = False) -> Generator[Step, bytes, Proven]:
        """Show that we know ``key`` and see that the peer does. The initiator goes first, and the responder shows nothing
        that depends on ``key`` before he has seen that: else one run would give whoever asks a dictionary to search at leisure.

        ``counted``: the key is as good as a person's password, so each run is a guess for whoever is at the other end. It is
        counted before he can learn whether it is right, by our tag or by our looking at his, and taken back if it is: of runs
        that happen at once none goes past the count.
        """
        if self._evidence.role is Role.INITIATOR:
            if counted:
                yield Ask(GuessSpent(self._method))
            yield from self.say(self._tag(key, Role.INITIATOR))
            yield from self._expect(self._tag(key, Role.RESPONDER))
        else:
            yield from self._expect(self._tag(key, Role.INITIATOR), counted=counted)
        if counted:
            yield Ask(GuessReturned(self._method))
        if self._evidence.role is Role.RESPONDER:
            yield from self.say(self._tag(key, Role.RESPONDER))
        return Proven(self._method, assurance, self._evidence.key)

    def failed(self) -> Failed:
        """The one failure that there is."""
        return Failed(f"the proof by {self._method} failed")

    def _expect(self, tag: bytes, *, counted: bool = False) -> Generator[Step, bytes, None]:
        (heard,) = yield from self.hear(range(TAG_BYTES, TAG_BYTES + 1))
        if counted:
            yield Ask(GuessSpent(self._method))
        if not hmac.compare_digest(heard, tag):
            raise self.failed()

    def _tag(self, key: bytes, role: Role) -> bytes:
        """What ``role`` shows over the log as it is now (HKDF of RFC 5869 with the exporter as salt, then HMAC)."""
        extracted = hmac.digest(self._evidence.exporter, key, "sha256")
        bound = labelled_hash("confirm-ctx", self._method.encode(), self._evidence.context)
        expand = HKDFExpand(hashes.SHA256(), TAG_BYTES, lv(_PURPOSE[role], bound))
        transcript = labelled_hash("transcript", self._evidence.context, self._log)
        return hmac.digest(expand.derive(extracted), transcript, "sha256")

    def _note(self, role: Role, payload: bytes) -> None:
        self._log += lv(_LETTER[role], self._method.encode(), payload)

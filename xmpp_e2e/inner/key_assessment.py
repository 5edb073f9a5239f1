"""The assessment of the peer's key: the proofs of this session, weighed with the keys that the host knows."""

from __future__ import annotations

from xmpp_e2e.authenticate.base import Proof
from xmpp_e2e.config import Config
from xmpp_e2e.errors import UntrustedKey
from xmpp_e2e.events import KeyChanged, KeyRotated, VerificationRequired
from xmpp_e2e.key_decision import KeyDecision, KeyStatus, decide
from xmpp_e2e.tls.rotation import Rotation, find_rotation
from xmpp_e2e.types import RETIRED, Assurance, Fingerprint, KnownKeys


class KeyAssessment:
    """Decides again whenever a proof or the known keys have changed; announces each surprise once."""

    def __init__(self, config: Config, known_keys: KnownKeys, signalled: Proof) -> None:
        """``signalled``: the proof that the signalling gives."""
        self.config = config
        """What the host demands of the key now."""
        self.known_keys = known_keys
        """The peer's keys that the host knows now."""
        self.proof: Proof | None = None
        """The last proof of an authenticator in this session."""
        self._signalled = signalled
        self._announced: KeyStatus | None = None
        self._required = False

    @property
    def fingerprint(self) -> Fingerprint:
        """The key."""
        return self._signalled.key

    @property
    def strongest(self) -> Proof:
        """The strongest proof of the key."""
        return self.proof or self._signalled

    def rotate(self, rotations: tuple[Rotation, ...]) -> KeyRotated | None:
        """Take the peer's word that a key took the place of another; return the event, or None if it does not count."""
        found = find_rotation(rotations, self.known_keys, self._account, self.fingerprint)
        if found is None:
            return None
        self.known_keys = self.known_keys.rotated(*found)
        return KeyRotated(*found)

    @property
    def is_retired(self) -> bool:
        """Return whether the peer has given up the key: the session has no fault, but no future."""
        key = self.known_keys.find(self.fingerprint)
        return key is not None and key.blocked and key.verified_by == RETIRED

    def refusal(self, decision: KeyDecision) -> UntrustedKey:
        """Return the error with which the session ends if the key is not good enough."""
        return UntrustedKey(decision, self._account)

    @property
    def _account(self) -> str:
        return self.config.peer_jid.partition("/")[0]

    def add_proof(self, proof: Proof) -> None:
        """Take what an authenticator has proved."""
        self.proof = proof

    def assess(self) -> KeyDecision:
        """Decide about the key, by all that is known now."""
        return decide(
            self.known_keys,
            self._signalled.key,
            self._signalled.assurance,
            proved=self.proof.assurance if self.proof else Assurance.NONE,
            trust_model=self.config.trust_model,
            on_key_change=self.config.on_key_change,
            min_assurance=self.config.min_assurance,
        )

    def changed_event(self, decision: KeyDecision) -> KeyChanged | None:
        """Return the event for the user, once for each kind of surprise; None for a key that was expected."""
        if decision.status is self._announced or decision.status.is_expected:
            return None
        self._announced = decision.status
        known = tuple(key.fingerprint for key in self.known_keys.keys)
        return KeyChanged(decision, known)

    def required_event(self, decision: KeyDecision, methods: tuple[str, ...]) -> VerificationRequired | None:
        """Return the event that says that the user has to act; None if it was returned before."""
        if self._required:
            return None
        self._required = True
        return VerificationRequired(decision, methods)

"""How the peer's key stands: what this session has shown of it, weighed with what the host remembers."""

from __future__ import annotations

from xmpp_e2e.authenticate.base import Proven
from xmpp_e2e.config import Config
from xmpp_e2e.events import KeyChanged
from xmpp_e2e.identity import Assurance, Remembered
from xmpp_e2e.trust.judge import KeyKind, Verdict, judge


class Standing:
    """Weighs again whenever either side of the scales has changed; tells once what a user must know."""

    def __init__(self, config: Config, remembered: Remembered) -> None:
        self.remembered = remembered
        """What the host remembers of the peer, now."""
        self.evidence: Proven | None = None
        """What the certificate is worth, once TLS is up."""
        self.proof: Proven | None = None
        """What an authenticator has proved in this session, last."""
        self._config = config
        self._told: KeyKind | None = None

    @property
    def best(self) -> Proven:
        """The strongest proof of the key that there is."""
        assert self.evidence is not None
        return self.proof or self.evidence

    def shown(self, proven: Proven) -> None:
        """One proof more of the key: first what the signalling is worth, then what an authenticator has proved."""
        if self.evidence is None:
            self.evidence = proven
        else:
            self.proof = proven

    def weigh(self) -> Verdict:
        """What is the key that was shown worth, with all that we know now? Only when there is evidence."""
        assert self.evidence is not None
        return judge(
            self.remembered,
            self.evidence.key,
            self.evidence.assurance,
            proved=self.proof.assurance if self.proof else Assurance.NONE,
            trust_model=self._config.trust_model,
            on_key_change=self._config.on_key_change,
            required=self._config.required,
            peer=self._config.peer.partition("/")[0],
        )

    def news(self, verdict: Verdict) -> KeyChanged | None:
        """What the user must be told of ``verdict``: each kind of surprise once, and of an expected key nothing."""
        if verdict.kind is self._told or verdict.kind.expected:
            return None
        self._told = verdict.kind
        assert self.evidence is not None
        known = tuple(key.fingerprint for key in self.remembered.keys)
        return KeyChanged(verdict.kind.value, self.evidence.key, known, verdict.decision.value, verdict.reason)

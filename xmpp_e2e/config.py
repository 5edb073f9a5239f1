"""The settings of a session, which a host chooses before it begins."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xmpp_e2e.authenticate.base import Authenticator
from xmpp_e2e.authenticate.fingerprint import FingerprintAuthenticator
from xmpp_e2e.authenticate.psk import PskAuthenticator
from xmpp_e2e.authenticate.sas import SasAuthenticator
from xmpp_e2e.authenticate.srp import SrpAuthenticator
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.states import STATE_TIMEOUTS, USER_TIMEOUT, State
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.tls.rotation import Rotation
from xmpp_e2e.types import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Assurance, TrustModel

AUTHENTICATORS: tuple[Authenticator, ...] = (
    FingerprintAuthenticator(),
    PskAuthenticator(),
    SrpAuthenticator(),
    SasAuthenticator(),
)
"""Every authenticator there is; the first is the one that runs by itself. A new one is one file and one more name here, or, to
try it, in ``Config.authenticators``."""


class VerifyWhen(enum.Enum):
    """When the required methods must run."""

    FIRST = "first"
    """Until it is verified."""
    ALWAYS = "always"
    """In each session."""


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds: longer for slow links or users, shorter for programs that cannot wait."""

    step: float = STATE_TIMEOUTS[State.OFFER_SENT]
    """Instead of 60 seconds a state; the shorter ones, closing too, keep their proportion to it."""
    user: float = USER_TIMEOUT
    """For states in which a user has to act."""
    session: float = STATE_TIMEOUTS[State.OPEN]
    """The longest life of a session and its keys."""

    def for_state(self, state: State) -> float:
        """Return the longest stay in ``state``, one of STATE_TIMEOUTS, when no user has to act."""
        return self.session if state is State.OPEN else STATE_TIMEOUTS[state] * self.step / STATE_TIMEOUTS[State.OFFER_SENT]


@dataclass(frozen=True)
class Config:
    """The settings of one session with one peer."""

    own_jid: str
    """Our own full JID, as our server stamps it."""
    peer_jid: str
    """The peer's full JID, as the peer's server stamps it."""
    own_key: OwnKey
    """Our key and certificate."""
    random: Callable[[int], bytes] = field(repr=False)
    """The source of randomness: ``random(n)`` gives n unpredictable bytes (a host passes ``os.urandom``)."""
    rotations: tuple[Rotation, ...] = ()
    """How our key took the place of earlier ones, the oldest first: for peers who have verified one of those."""
    trust_model: TrustModel = TrustModel.SERVER_AUTHENTICATES
    min_assurance: Assurance = Assurance.NONE
    """A minimum for this session, beyond that of the trust model."""
    on_key_change: OnKeyChange = OnKeyChange.BY_TRUST_MODEL
    require_post_quantum: bool = False
    """Refuse a key exchange that is not safe against quantum computers."""
    fast_open: bool = True
    """Let the first TLS flights travel in the signalling, which saves two one-way trips."""
    required_methods: tuple[str, ...] = ()
    """Methods that must run before our stanzas flow, unless the peer's key is verified already (see ``verify_when``)."""
    verify_when: VerifyWhen = VerifyWhen.FIRST
    """When they must run."""
    shared_secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The secrets that we share with the peer, by method: a key for ``psk``, a *derived* password for ``srp``."""
    promptable_methods: frozenset[str] = frozenset()
    """Methods whose secret our user can be asked for."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """The timeouts of the session."""
    authenticators: tuple[Authenticator, ...] = AUTHENTICATORS
    """The authenticators of this session; each side announces its own."""
    block_size: int = 4096
    """The IBB block size that we offer and accept, raw bytes: Prosody does best with about 4 KiB."""

    def __post_init__(self) -> None:
        if not MIN_BLOCK_SIZE <= self.block_size <= MAX_BLOCK_SIZE:
            raise ValueError(f"an in-band block has {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes, not {self.block_size}")
        if missing := set(self.required_methods) - set(self.methods):
            raise ValueError(f"{', '.join(sorted(missing))} cannot be needed: there is no secret, and nobody to ask for one")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods with a shared secret that can run with this peer, in their order."""
        usable = (
            each
            for each in self.authenticators
            if each.needs_shared_secret and (each.name in self.shared_secrets or each.name in self.promptable_methods)
        )
        return tuple(each.name for each in sorted(usable, key=lambda each: each.order))

    @property
    def needed_assurance(self) -> Assurance:
        """The level that the key must reach before our stanzas flow."""
        return max(self.trust_model.min_assurance, self.min_assurance)

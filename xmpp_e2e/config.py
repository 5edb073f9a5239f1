"""What a host decides before a session begins."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xmpp_e2e.authenticate.base import Authenticator
from xmpp_e2e.authenticate.fingerprint import FingerprintAuthenticator
from xmpp_e2e.authenticate.psk import PskAuthenticator
from xmpp_e2e.authenticate.sas import SasAuthenticator
from xmpp_e2e.authenticate.srp import SrpAuthenticator
from xmpp_e2e.identity import Assurance, TrustModel
from xmpp_e2e.stages import DEADLINES, HUMAN_DEADLINE, Stage
from xmpp_e2e.tls.certificate import Identity
from xmpp_e2e.transport.ibb import MAX_BLOCK, MIN_BLOCK
from xmpp_e2e.trust.judge import OnKeyChange

AUTHENTICATORS: tuple[Authenticator, ...] = (
    FingerprintAuthenticator(),
    PskAuthenticator(),
    SrpAuthenticator(),
    SasAuthenticator(),
)
"""Every authenticator there is; the first is the one that runs by itself. A new one is one file and one more name here, or in
``Config.authenticators`` of whoever wants to try it."""


class Each(enum.Enum):
    """When what two share must prove the peer's key."""

    FIRST = "first"
    """Until it is verified."""
    ALWAYS = "always"
    """In each session."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds; longer where links or persons are slow, shorter where nobody has time."""

    handshake: float = DEADLINES[Stage.OFFERED]
    """In place of 60; what is shorter, the farewells too, keeps its proportion to it."""
    human: float = HUMAN_DEADLINE
    """Where a person has to act."""
    session: float = DEADLINES[Stage.OPEN]
    """How long a session, and its keys, may live."""

    def of(self, stage: Stage) -> float:
        """How long a session may stay in ``stage``, which is one of DEADLINES, when nobody has to act."""
        return self.session if stage is Stage.OPEN else DEADLINES[stage] * self.handshake / DEADLINES[Stage.OFFERED]


@dataclass(frozen=True)
class Config:
    """The terms of one session with one peer."""

    ours: str
    """Our own full JID, as our server stamps it."""
    peer: str
    """The peer's full JID, as his server stamps it."""
    identity: Identity
    """Our key and certificate."""
    random: Callable[[int], bytes] = field(repr=False)
    """Where randomness comes from: ``random(n)`` gives n unpredictable bytes (a host passes ``os.urandom``)."""
    trust_model: TrustModel = TrustModel.SERVER_AUTHENTICATES
    required: Assurance = Assurance.NONE
    """A minimum for this session, beyond that of the trust model."""
    on_key_change: OnKeyChange = OnKeyChange.BY_TRUST_MODEL
    require_pq: bool = False
    """Refuse a key exchange that is not safe against quantum computers."""
    fast_open: bool = True
    """Let the first TLS flights travel in the signalling, which saves two one-way trips."""
    need: tuple[str, ...] = ()
    """Methods that must run before our stanzas flow, unless the peer's key is verified already (``each``)."""
    each: Each = Each.FIRST
    """When they must."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By method, what we share with the peer: a key for ``psk``, a *stretched* password for ``srp``."""
    asks: frozenset[str] = frozenset()
    """Methods whose secret our user can be asked for."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    """How long it waits for what."""
    authenticators: tuple[Authenticator, ...] = AUTHENTICATORS
    """Those that this session knows; each side announces its own."""
    block_size: int = 4096
    """The IBB block size that we offer and accept, raw bytes: Prosody does best with about 4 KiB."""

    def __post_init__(self) -> None:
        if not MIN_BLOCK <= self.block_size <= MAX_BLOCK:
            raise ValueError(f"an in-band block has {MIN_BLOCK} to {MAX_BLOCK} bytes, not {self.block_size}")
        if missing := set(self.need) - set(self.methods):
            raise ValueError(f"{', '.join(sorted(missing))} cannot be needed: there is no secret, and nobody to ask for one")

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that can run with this peer, in the order in which they would."""
        usable = (each for each in self.authenticators if each.keyed and (each.name in self.secrets or each.name in self.asks))
        return tuple(each.name for each in sorted(usable, key=lambda each: each.rank))

    @property
    def minimum(self) -> Assurance:
        """What must be proved before our stanzas flow."""
        return max(self.trust_model.minimum, self.required)

"""End-to-end encryption for XMPP by TLS streams between two clients: the core, which performs no I/O.

The story, in the order in which data flows: two clients agree to talk (``negotiate``: Jingle, fingerprints in the
signalling), by some path through their servers (``transport``: in-band bytestreams); they make it private (``tls``: TLS 1.3,
mutual certificates), make it XMPP again (``stream``: an XML stream inside), say who they are (``authenticate``: the hello, a
proof), and ask whether that is who we know (``trust``: the judge, policy). ``session`` tells all of it in order and is the
only module that knows every layer; ``stages`` is its state machine as one table; ``config`` is what a host decides before,
``events`` what it learns, ``errors`` what can go wrong and what a person can do about it.
"""

from xmpp_e2e.config import AUTHENTICATORS, Config
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import Assurance, Fingerprint, KnownKey, Remembered, Role, TrustModel
from xmpp_e2e.session import Session
from xmpp_e2e.stages import Stage
from xmpp_e2e.tls.certificate import Identity

__all__ = [
    "AUTHENTICATORS",
    "Assurance",
    "Config",
    "E2EError",
    "Fingerprint",
    "Identity",
    "KnownKey",
    "Remembered",
    "Role",
    "Session",
    "Stage",
    "TrustModel",
]

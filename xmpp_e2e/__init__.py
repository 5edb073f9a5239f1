"""End-to-end encryption for XMPP by TLS streams between two clients: the core, which performs no I/O.

The story, in the order in which data flows: two clients agree to talk (``negotiate``: Jingle, fingerprints in the signalling)
by some path through their servers (``transport``: in-band bytestreams); they make it private (``tls``: TLS 1.3, mutual
certificates) and make it XMPP again (``stream``: an XML stream inside). They say who they are (``inner``: the hello), prove it
(``authenticate``: one file for each method) and compare the key with those that are known (``key_decision``). ``session`` tells
it all in order and is the only module that knows every layer; ``states`` is its state machine as one table. A host sets
``config`` before, receives ``events``, and handles ``errors``.

Enters: the settings, the keys that are known of the peer, what the peer's iqs and the bytestream bring, each with the time.
Leaves: <jingle/> elements, bytes for the bytestream, events. Imports no plugin, and nothing that does I/O.
"""

from xmpp_e2e.config import AUTHENTICATORS, Config
from xmpp_e2e.errors import E2EError
from xmpp_e2e.session import Session
from xmpp_e2e.states import State
from xmpp_e2e.tls.certificate import OwnKey
from xmpp_e2e.types import (
    Assurance,
    Fingerprint,
    KnownKey,
    KnownKeys,
    Role,
    TrustModel,
)

__all__ = [
    "AUTHENTICATORS",
    "Assurance",
    "Config",
    "E2EError",
    "Fingerprint",
    "KnownKey",
    "KnownKeys",
    "OwnKey",
    "Role",
    "Session",
    "State",
    "TrustModel",
]

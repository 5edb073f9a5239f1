"""End-to-end encryption for slixmpp bots and clients: ``xmpp.register_plugin("e2e", module=slixmpp_e2e)``.

``slixmpp_e2e.of(xmpp)`` is the plugin, typed. (There is no attribute ``e2e`` in this package: slixmpp's loader would take it
for the plugin.)
"""

from importlib.metadata import PackageNotFoundError, version

from slixmpp.plugins import register_plugin

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import (
    ConfigError,
    MemoryExceeded,
    NotSent,
    NotSentReason,
    OwnServerSilent,
    PasswordLocked,
    PeerOffline,
    PeerSilent,
    PeerWithoutE2E,
    RefusedByPolicy,
    SlixmppUnsupported,
    TooManyRuns,
    VerificationDeclined,
)
from slixmpp_e2e.events import (
    AssuranceChanged,
    E2EEvent,
    KeyChanged,
    KeyDoubted,
    KeyRotated,
    OtherKeyHeld,
    OwnKeyRotated,
    PeerSasResult,
    PlaintextEvent,
    PlaintextReceived,
    PlaintextRefused,
    PresenceMissing,
    SendFailed,
    SessionClosed,
    SessionEvent,
    SessionFailed,
    SessionOpened,
    SessionRefused,
    StoreFailed,
    TrustFileFailed,
    VerificationInterrupted,
    VerificationRequested,
    VerificationRequired,
)
from slixmpp_e2e.messages.outlook import Outlook, OutlookWay
from slixmpp_e2e.plugin import E2E, of
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.prompts import SasPrompt
from slixmpp_e2e.routing_events import Delivered, DevicesLeftOut, PlaintextSent, Sent, Waiting
from slixmpp_e2e.session import E2ESession
from slixmpp_e2e.store import StoreError, StoreReason
from slixmpp_e2e.xmpp.log_filter import HideContent
from xmpp_e2e.errors import E2EError
from xmpp_e2e.types import Assurance, Fingerprint, TrustModel

register_plugin(E2E)

try:
    __version__ = version("xmpp-e2e")
except PackageNotFoundError:  # a bare checkout
    __version__ = "0+unknown"

__all__ = [
    "E2E",
    "Assurance",
    "AssuranceChanged",
    "ConfigError",
    "Delivered",
    "DevicesLeftOut",
    "E2EError",
    "E2EEvent",
    "E2ESession",
    "Fingerprint",
    "HideContent",
    "KeyChanged",
    "KeyDoubted",
    "KeyRotated",
    "MemoryExceeded",
    "NotSent",
    "NotSentReason",
    "OtherKeyHeld",
    "Outlook",
    "OutlookWay",
    "OwnKeyRotated",
    "OwnServerSilent",
    "PasswordLocked",
    "PeerOffline",
    "PeerSasResult",
    "PeerSilent",
    "PeerWithoutE2E",
    "PlaintextEvent",
    "PlaintextReceived",
    "PlaintextRefused",
    "PlaintextSent",
    "Policy",
    "PresenceMissing",
    "RefusedByPolicy",
    "SasPrompt",
    "SendFailed",
    "Sent",
    "SessionClosed",
    "SessionEvent",
    "SessionFailed",
    "SessionOpened",
    "SessionRefused",
    "SlixmppUnsupported",
    "StoreError",
    "StoreFailed",
    "StoreReason",
    "TooManyRuns",
    "TrustFileFailed",
    "TrustModel",
    "VerificationDeclined",
    "VerificationInterrupted",
    "VerificationRequested",
    "VerificationRequired",
    "Waiting",
    "__version__",
    "explain",
    "of",
]

"""End-to-end encryption for slixmpp bots and clients: ``xmpp.register_plugin("e2e", module=slixmpp_e2e)``.

(There is no attribute ``e2e`` in this package: slixmpp's loader would take it for the plugin.)
"""

from slixmpp.plugins import register_plugin

from slixmpp_e2e.events import Plaintext, SendFailed, SessionRefused, StoreFailed, TrustFileFailed, VerifyCut
from slixmpp_e2e.plugin import E2E
from slixmpp_e2e.prompts import Compare
from slixmpp_e2e.sessions.driver import Happened, Link

register_plugin(E2E)

__all__ = [
    "E2E",
    "Compare",
    "Happened",
    "Link",
    "Plaintext",
    "SendFailed",
    "SessionRefused",
    "StoreFailed",
    "TrustFileFailed",
    "VerifyCut",
]

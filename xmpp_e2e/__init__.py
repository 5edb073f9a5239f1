"""End-to-end encryption for XMPP by TLS streams between two clients."""

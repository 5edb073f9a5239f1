"""By which path: in-band bytestreams through the servers (XEP-0047, signalled as XEP-0261 says).

``ibb`` is the only path today. A host carries it, and the rest of the core never sees it. Enters: bytes to send, the payloads
of the peer's iqs, the answers to ours. Leaves: payloads for iqs, the receipts to answer, the peer's bytes in order. May import
only errors and types.
"""

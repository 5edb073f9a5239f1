"""The stream inside TLS: hello, proofs, done, stanzas, close (docs/protocol.md §4 to §7).

``elements`` is its XML, ``proof_queue`` and ``verification_requests`` order the proofs, ``key_assessment`` weighs them, and
``conversation`` tells it all in order. Imports every folder below; only ``session`` imports it.
"""

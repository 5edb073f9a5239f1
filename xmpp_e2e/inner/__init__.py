"""What is said inside TLS: hello, proofs, done, stanzas, close (docs/protocol.md §4 to §7).

``elements`` is its XML, ``proof_queue`` and ``verification_requests`` put the proofs in order, and ``verifications`` runs them.
``key_assessment`` weighs what they prove, ``gate`` lets stanzas flow, and ``conversation`` tells it all in order; ``context``
is what they share. Enters: plaintext out of TLS, the known keys, what our side wants. Leaves: events, and our direction of the
stream. May import all that is below ``session``, which alone imports it.
"""

"""The negotiation: Jingle's elements, the choice of common ground, and the digest of both halves (XEP-0166)."""

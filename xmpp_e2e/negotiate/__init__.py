"""May we talk, and how? Jingle's elements, the choice of common ground, and the digest of both halves (XEP-0166)."""

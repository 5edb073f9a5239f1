"""Is the key at the other end the peer's?

Enters: what authenticators ask, and what users ask for. Leaves: answers to authenticators, prompts to users, keys and counts to
the store. May import sessions/ and what is below; messages/ is not its business.
"""

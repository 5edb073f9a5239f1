"""The verification of peers' keys: answers to authenticators, prompts for users, and the count of wrong guesses.

Enters: what authenticators ask, and what users ask for. Leaves: answers to authenticators, prompts to users, keys and counts to
the store. May import sessions/ and what is below; messages/ is not its business.
"""

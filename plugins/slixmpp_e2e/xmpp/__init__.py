"""The adapter to slixmpp: only this room uses its private parts.

Enters: iqs, presence and elements to send or to inject. Leaves: the same as slixmpp's objects, and theirs as ours. May import
the vocabulary only: events, errors and the like.
"""

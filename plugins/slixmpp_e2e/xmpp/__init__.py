"""How do we speak with slixmpp? The only room that touches what slixmpp does not promise.

Enters: iqs, presence and elements to send or to inject. Leaves: the same as slixmpp's objects, and theirs as ours. May import
the vocabulary only: events, errors and the like.
"""

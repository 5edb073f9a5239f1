"""The data about one account: our own key, the keys of peers, shared secrets, and the settings for a peer.

This room may import ``store`` and the vocabulary below it, and the core. It takes the settings and the store, and hands out
keys, secrets and ``PeerSettings``; it reports changes through the callables that it was given.
"""

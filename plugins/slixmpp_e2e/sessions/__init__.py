"""The sessions with each peer, and the driver of each session.

Enters: Jingle and IBB iqs of peers, offers of ours, stanzas for a session. Leaves: iqs, and the events of each session, by one
callback. May import trust/ and what is below.
"""

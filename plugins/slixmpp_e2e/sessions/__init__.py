"""Which sessions are there, and what drives each of them?

Enters: Jingle and IBB iqs of peers, offers of ours, stanzas for a session. Leaves: iqs, and the events of each session, by one
callback. May import trust/ and what is below.
"""

"""Who may open a session with us, how many, and how fast?

``check`` states the order of checks. Enters: the JID of whoever asks. Leaves: a session, counted, or the error that answers the
iq. May import the driver, trust/ and what is below.
"""

"""Which way does each stanza go, and what waits until it can?"""

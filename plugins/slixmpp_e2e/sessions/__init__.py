"""Which sessions are there, and what drives each of them?"""

"""Who is it: the authenticators, which prove the peer's key, one file each.

``base`` is their interface, ``proof_exchange`` what those with steps share, ``sas_text`` how a short string is shown. None of
them imports another. Enters: what the connection is bound to, the peer's steps, the answers of our own side. Leaves: steps,
prompts for our own side, and in the end a Proof or AuthenticationFailed. May import only errors, types and encoding.
"""

"""The authenticators, which prove the identity of the peer: one file each."""

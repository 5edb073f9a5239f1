"""Bytestreams between two clients: their interface, and the in-band one (XEP-0047, XEP-0261)."""

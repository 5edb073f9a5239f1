"""By which path? Bytestreams between two clients: what one is, and the in-band one (XEP-0047, XEP-0261)."""

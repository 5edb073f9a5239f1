"""Make it XMPP again: bytes become stanzas, and back (RFC 6120 §4; the shape of XEP-0246/0247).

``reader`` reads, and gets whole tokens from ``tokens``; ``writer`` writes, and ``send_buffer`` keeps what waits for TLS. Enters
and leaves, either way: bytes, and top-level elements. May import only errors. Both directions share the bounds below: a reader
accepts everything that the writer lets through.
"""

from __future__ import annotations

NS_CLIENT = "jabber:client"
"""The content namespace: the default namespace of the stream (RFC 6120 §4.8.2)."""
NS_STREAM = "http://etherx.jabber.org/streams"
"""The namespace of the stream element itself (RFC 6120 §4.8.1)."""
NS_XML = "http://www.w3.org/XML/1998/namespace"
"""The namespace that the prefix ``xml`` is bound to, always."""

MAX_STANZA = 256 * 1024
"""Bytes of one top-level element on the wire: what the usual servers allow, so no stanza fits them and not us."""
MAX_TAG = 16 * 1024
"""Bytes of one tag with all its attributes: twice what XEP-0071 grants an embedded picture, the largest in use.

While expat reads a tag it expands the prefix of every attribute, and nothing can stop it within the tag: 190 kB of
``<e xmlns:p='long' p:a='' p:b='' …`` took 1.4 GB; 16 KiB take 8 MB. It also parses an unfinished tag again with every
piece that arrives.
"""
MAX_DEPTH = 64
"""Elements inside each other, the stanza itself being the first: real stanzas stay below 20, recursion below 1000."""
MAX_ATTRIBUTES = 64
"""Attributes of one element: real ones have a dozen at most, and each costs its reader a dict entry."""
MAX_NAME = 256
"""Characters of a local name. Readers keep names for a while, so one name must not be as large as a stanza."""
MAX_NAMESPACE = 256
"""Characters of a namespace name. Once declared it is short on the wire, but in memory it is part of *every* name."""

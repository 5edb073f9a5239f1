"""Bytes with one meaning only: length-prefixed fields, hashes that name their purpose, strict base64 (RFC 4648 §3.5).

All that two clients hash or sign is encoded here, so that no two inputs give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import struct

PROTOCOL = "xmpp-e2e/1"
"""The protocol and its version: what TLS announces as ALPN (RFC 7301), and what each label begins with."""


def label(purpose: str) -> bytes:
    """Return what sets a hash or a key for ``purpose`` apart from all others, also of another version of the protocol."""
    return f"{PROTOCOL} {purpose}".encode()


def length_prefixed(*fields: bytes) -> bytes:
    """Join the fields, each after its length (4 bytes, big-endian), so that they can be split in one way only."""
    return b"".join(struct.pack(">I", len(field)) + field for field in fields)


def split_length_prefixed(data: bytes) -> tuple[bytes, ...]:
    """Return the fields that ``length_prefixed`` has joined; ValueError for other data."""
    fields = []
    while data:
        (length,) = struct.unpack_from(">I", data) if len(data) >= 4 else (len(data),)
        if length > len(data) - 4:
            raise ValueError("a field is longer than what there is of it")
        fields.append(data[4 : 4 + length])
        data = data[4 + length :]
    return tuple(fields)


def labelled_hash(purpose: str, *fields: bytes) -> bytes:
    """H of the protocol: SHA-256 over the label of ``purpose`` and ``fields``, 32 bytes."""
    return hashlib.sha256(length_prefixed(label(purpose), *fields)).digest()


def strict_base64(text: str) -> bytes:
    """The bytes that ``text`` spells in the standard alphabet: padded, without white space, the unused bits zero.

    ValueError for anything else, so that no two texts mean the same bytes.
    """
    data = base64.b64decode(text)  # overlooks much; encoding again finds white space, strange characters and stray bits
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 that could have been written in another way")
    return data

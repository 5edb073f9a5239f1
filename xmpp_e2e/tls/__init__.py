"""Make it private: TLS 1.3 in memory (RFC 8446), both ends with certificates of their own making.

``certificate`` is our key and what people see of a key, ``connection`` one end of a connection. Only this room imports OpenSSL.
Enters: our key, the digest of the certificate that the peer must show, the peer's bytes, plaintext. Leaves: bytes for the path,
plaintext, and what the handshake has agreed on; or TLSFailed. May import only errors, types and encoding.
"""

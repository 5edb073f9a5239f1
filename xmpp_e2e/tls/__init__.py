"""TLS 1.3 in memory (RFC 8446), both ends with certificates of their own making."""

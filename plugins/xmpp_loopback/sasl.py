"""Authenticate clients: PLAIN (RFC 4616), SCRAM-SHA-256 (RFC 7677) and SCRAM-SHA-1 (RFC 5802).

Each mechanism is a generator. It yields challenges, receives responses, and returns `Accepted` or raises `Refused`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

SCRAM_ITERATIONS = 4096
"""The minimum of RFC 7677 §4. This server protects no real password."""


@dataclass(frozen=True)
class Accepted:
    """The login succeeded."""

    user: str
    final: bytes
    """Additional data with success (RFC 4422 §3.6)."""


class Refused(Exception):
    """The login failed. ``str()`` is the condition of RFC 6120 §6.5."""


PasswordOf: TypeAlias = Callable[[str], str | None]
"""Returns the password of a user; None without such an account."""
Verify: TypeAlias = Callable[[str, str], bool]
"""Returns whether a user has this password."""
Exchange: TypeAlias = Generator[bytes, bytes, Accepted]
"""Its first yield is the empty challenge for a client that sent no initial response."""


def plain(verify: Verify) -> Exchange:
    """PLAIN: the client sends its password."""
    message = yield b""
    try:
        authorize, user, password = message.decode().split("\0")
    except ValueError:
        raise Refused("malformed-request") from None
    _same_user(authorize, user)
    if not user or not verify(user, password):
        raise Refused("not-authorized")
    return Accepted(user, b"")


def scram(digest: str, password_of: PasswordOf) -> Exchange:
    """SCRAM without channel binding; ``digest`` is hashlib's name of the hash."""
    first = (yield b"").decode(errors="replace")
    header, bare = _client_first(first)
    fields = _fields(bare)
    user = fields.get("n", "").replace("=2C", ",").replace("=3D", "=")
    client_nonce = fields.get("r", "")
    if not user or not client_nonce or "m" in fields:
        raise Refused("malformed-request")
    _same_user(_fields(header).get("a", ""), user)

    nonce = client_nonce + secrets.token_urlsafe(18)
    salt = secrets.token_bytes(16)
    challenge = f"r={nonce},s={_base64(salt)},i={SCRAM_ITERATIONS}"
    final = (yield challenge.encode()).decode(errors="replace")

    unproved, _, proof = final.rpartition(",p=")
    answer = _fields(unproved)
    if answer.get("c") != _base64(header.encode()) or answer.get("r") != nonce:
        raise Refused("not-authorized")
    password = password_of(user)
    salted = hashlib.pbkdf2_hmac(digest, _normal(password or ""), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", digest)
    stored_key = hashlib.new(digest, client_key).digest()
    transcript = f"{bare},{challenge},{unproved}".encode()
    signature = hmac.digest(stored_key, transcript, digest)
    expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    if password is None or not hmac.compare_digest(expected, _unbase64(proof)):
        raise Refused("not-authorized")
    server_key = hmac.digest(salted, b"Server Key", digest)
    return Accepted(user, f"v={_base64(hmac.digest(server_key, transcript, digest))}".encode())


def mechanisms(verify: Verify, password_of: PasswordOf | None) -> dict[str, Callable[[], Exchange]]:
    """Return the mechanisms to offer, best first. Without ``password_of``, any password is good and only PLAIN works."""
    offered: dict[str, Callable[[], Exchange]] = {}
    if password_of is not None:
        offered["SCRAM-SHA-256"] = partial(scram, "sha256", password_of)
        offered["SCRAM-SHA-1"] = partial(scram, "sha1", password_of)
    offered["PLAIN"] = partial(plain, verify)
    return offered


def _client_first(message: str) -> tuple[str, str]:
    """Return the GS2 header with its trailing comma, and the rest (RFC 5802 §7)."""
    parts = message.split(",", 2)
    if len(parts) != 3 or parts[0] not in ("n", "y"):
        raise Refused("malformed-request")
    return f"{parts[0]},{parts[1]},", parts[2]


def _fields(message: str) -> dict[str, str]:
    return {part[:1]: part[2:] for part in message.split(",") if part[1:2] == "="}


def _same_user(authorize: str, user: str) -> None:
    if authorize and authorize.partition("@")[0] != user:
        raise Refused("invalid-authzid")


def _normal(password: str) -> bytes:
    """Normalise a password. For passwords without unusual spaces, NFKC is the same as SASLprep (RFC 4013)."""
    return unicodedata.normalize("NFKC", password).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("incorrect-encoding") from None

"""Name an account and its key in one text that can be scanned, pasted and pinned: the Trust Message URI of XEP-0434.

``xmpp:alice@example.org?trust-message;encryption=urn:x-xmpp-e2e:security:0;trust=`` and the fingerprint's 32 bytes in base64url
without padding, which needs no escapes (RFC 5122). It holds no secret and proves nothing by itself: the user must trust the
source of the URI.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from slixmpp import JID, InvalidJID

from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_e2e.types import Fingerprint

SCHEME = "xmpp:"
_TYPE = "trust-message"
_IN_NODES = "!$()*+,="
"""Characters beside letters, digits and ``-._~`` that need no escape in the local part (RFC 5122 §2.2, nodeallow)."""
_IN_HOSTS = "[:]"
_URL, _PLAIN = "-_", "+/"


def build_trust_uri(jid: str, fingerprint: Fingerprint) -> str:
    """Return the URI for a key of the account behind ``jid``."""
    account = JID(jid)
    path = f"{quote(account.local, _IN_NODES)}@{quote(account.domain, _IN_HOSTS)}"
    body = str(fingerprint).partition(":")[2].translate(str.maketrans(_PLAIN, _URL))
    return f"{SCHEME}{path}?{_TYPE};encryption={NS_SECURITY};trust={body}"


def is_trust_uri(text: str) -> bool:
    """Return whether the text looks like a URI, and not like a fingerprint."""
    return text.strip().lower().startswith(SCHEME)


def parse_trust_uri(text: str) -> tuple[str, tuple[Fingerprint, ...]]:
    """Return the bare JID and the keys of a URI, at least one. ValueError."""
    path, _, query = text.strip()[len(SCHEME) :].partition("?")
    kind, *pairs = query.split(";")
    if not is_trust_uri(text) or kind != _TYPE or not pairs:
        raise ValueError(f"{text!r} has no key in it: expected {SCHEME}name@domain?{_TYPE};encryption={NS_SECURITY};trust=…")
    encryption, *keys = [(key, unquote(value)) for key, _, value in (pair.partition("=") for pair in pairs)]
    if encryption != ("encryption", NS_SECURITY):
        raise ValueError(f"{text!r} has keys of another encryption, which are other keys")
    if not keys or any(key != "trust" for key, _ in keys):
        raise ValueError(f"{text!r} may only name keys to trust")
    return _parse_account(path), tuple(_parse_fingerprint(value) for _, value in keys)


def parse_keys(key: str | Fingerprint, bare: str) -> tuple[Fingerprint, ...]:
    """Return the keys to pin for an account, from a fingerprint or a URI. ValueError, also for a URI of another account."""
    if isinstance(key, Fingerprint):
        return (key,)
    if not is_trust_uri(key):
        return (Fingerprint.parse(key),)
    account, keys = parse_trust_uri(key)
    if account != bare:
        raise ValueError(f"this URI has a key of {account}, and not of {bare}")
    return keys


def _parse_account(path: str) -> str:
    try:
        jid = JID(unquote(path, errors="strict"))
    except (InvalidJID, UnicodeDecodeError):
        jid = JID()
    if not jid.local or jid.resource:
        raise ValueError(f"{path!r} is not the JID of an account: expected name@domain")
    return jid.bare


def _parse_fingerprint(body: str) -> Fingerprint:
    if set(body) & set(_PLAIN):
        raise ValueError(f"{body!r} is not written as a fingerprint in a URI, where - and _ take the places of + and /")
    return Fingerprint.parse("SHA256:" + body.translate(str.maketrans(_URL, _PLAIN)))

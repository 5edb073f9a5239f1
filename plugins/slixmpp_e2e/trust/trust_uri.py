"""Whose key it is, in one word: the Trust Message URI of XEP-0434, which people scan, paste, and pin.

``xmpp:alice@example.org?trust-message;encryption=urn:x-xmpp-e2e:security:0;trust=`` and the fingerprint's 32 bytes in base64url
without padding, in which nothing needs an escape (RFC 5122). It holds no secret, and proves nothing by itself: what counts is
from where one has it.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from slixmpp import JID, InvalidJID

from xmpp_e2e.identity import Fingerprint
from xmpp_e2e.negotiate.jingle import NS_SECURITY

SCHEME = "xmpp:"
_TYPE = "trust-message"
_IN_NODES = "!$()*+,="
"""Beside letters, digits and ``-._~`` they stand for themselves in the name of an account (RFC 5122 §2.2, nodeallow)."""
_IN_HOSTS = "[:]"
_URL, _PLAIN = "-_", "+/"


def key_uri(jid: str, fingerprint: Fingerprint) -> str:
    """The URI that says: this is a key of the account behind ``jid``."""
    who = JID(jid)
    body = str(fingerprint).partition(":")[2].translate(str.maketrans(_PLAIN, _URL))
    return f"{SCHEME}{quote(who.local, _IN_NODES)}@{quote(who.domain, _IN_HOSTS)}?{_TYPE};encryption={NS_SECURITY};trust={body}"


def is_uri(text: str) -> bool:
    """Is it meant as one?"""
    return text.strip().lower().startswith(SCHEME)


def read_uri(text: str) -> tuple[str, tuple[Fingerprint, ...]]:
    """Whose (a bare JID), and which keys, one at least. ValueError says what is wrong."""
    path, _, query = text.strip()[len(SCHEME) :].partition("?")
    kind, *pairs = query.split(";")
    if not is_uri(text) or kind != _TYPE or not pairs:
        raise ValueError(f"{text!r} has no key in it: expected {SCHEME}name@domain?{_TYPE};encryption={NS_SECURITY};trust=…")
    encryption, *keys = [(key, unquote(value)) for key, _, value in (pair.partition("=") for pair in pairs)]
    if encryption != ("encryption", NS_SECURITY):
        raise ValueError(f"{text!r} is about keys of another encryption, and those are other keys")
    if not keys or any(key != "trust" for key, _ in keys):
        raise ValueError(f"{text!r} may say nothing but which keys to trust")
    return _account(path), tuple(_fingerprint(value) for _, value in keys)


def keys_in(key: str | Fingerprint, bare: str) -> tuple[Fingerprint, ...]:
    """The keys of an account that are to be pinned, by fingerprint or URI. ValueError, for a URI of another account too."""
    if isinstance(key, Fingerprint):
        return (key,)
    if not is_uri(key):
        return (Fingerprint.parse(key),)
    whose, found = read_uri(key)
    if whose != bare:
        raise ValueError(f"this URI has a key of {whose}, and not of {bare}")
    return found


def _account(path: str) -> str:
    try:
        jid = JID(unquote(path, errors="strict"))
    except (InvalidJID, UnicodeDecodeError):
        jid = JID()
    if not jid.local or jid.resource:
        raise ValueError(f"{path!r} is not the JID of an account: expected name@domain")
    return jid.bare


def _fingerprint(body: str) -> Fingerprint:
    if set(body) & set(_PLAIN):
        raise ValueError(f"{body!r} is no fingerprint as it is written in a URI, where - and _ take the places of + and /")
    return Fingerprint.parse("SHA256:" + body.translate(str.maketrans(_URL, _PLAIN)))

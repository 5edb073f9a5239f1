"""A key as a URI can be read again, and everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slixmpp import JID

from slixmpp_e2e.trust.trust_uri import build_trust_uri, parse_keys, parse_trust_uri
from xmpp_e2e.types import Fingerprint

KEY, OTHER = Fingerprint(b"\xff" * 32), Fingerprint(b"\xfb\xef" * 16)
BOB = "bob@example.org"
HEAD = f"xmpp:{BOB}?trust-message;encryption=urn:x-xmpp-e2e:security:0"
BODY = str(KEY).partition(":")[2].replace("/", "_")


def test_the_uri_of_a_key() -> None:
    """It names the account without a device, and holds only characters that a URI may hold."""
    assert build_trust_uri(f"{BOB}/desk", KEY) == f"{HEAD};trust={BODY}"
    assert build_trust_uri("100%;+=?@[::1]", OTHER).startswith("xmpp:100%25%3B+=%3F@[::1]?")


@given(st.text("az09%?#;+=!ä中", min_size=1, max_size=8), st.binary(min_size=32, max_size=32))
def test_each_built_uri_can_be_parsed(name: str, digest: bytes) -> None:
    bare = JID(f"{name}@bücher.example").bare
    uri = build_trust_uri(bare, Fingerprint(digest))
    assert uri.isascii()
    assert parse_trust_uri(f" {uri}\n") == (bare, (Fingerprint(digest),))
    assert parse_keys(uri, bare) == (Fingerprint(digest),)


def test_other_ways_to_write_a_uri() -> None:
    body = str(OTHER).partition(":")[2].replace("+", "-").replace("/", "_")
    text = f"XMPP:b%6Fb@example.org?trust-message;encryption=urn%3Ax-xmpp-e2e%3Asecurity%3A0;trust={BODY};trust={body}"
    assert parse_trust_uri(text) == (BOB, (KEY, OTHER))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"xmpp:{BOB}", "no key in it"),
        (f"xmpp:{BOB}?message", "no key in it"),
        (f"xmpp:{BOB}?trust-message", "no key in it"),
        (f"{HEAD};trust={BODY}".replace("trust-message", "message"), "no key in it"),
        (f"xmpp:{BOB}?omemo-sid-1234={'ab' * 32}", "no key in it"),
        (f"mailto:{BOB}?trust-message;encryption=urn:x-xmpp-e2e:security:0;trust={BODY}", "no key in it"),
        (f"xmpp:{BOB}?trust-message;encryption=urn:xmpp:omemo:2;trust={'ab' * 32}", "another encryption"),
        (f"xmpp:{BOB}?trust-message;trust={BODY};encryption=urn:x-xmpp-e2e:security:0", "another encryption"),
        (HEAD, "may only name keys to trust"),
        (f"{HEAD};distrust={BODY}", "may only name keys to trust"),
        (f"{HEAD};trust={BODY};distrust={BODY}", "may only name keys to trust"),
        (f"{HEAD};trust={BODY[:-1]}", "no key fingerprint"),
        (f"{HEAD};trust=", "no key fingerprint"),
        (f"{HEAD};trust={BODY};", "may only name keys to trust"),
        (f"{HEAD};trust={str(KEY).partition(':')[2]}", "places of"),
        (f"{HEAD};trust={KEY}", "places of"),
        (HEAD.replace("bob@", "") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("?", "/desk?") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("bob", "b%FFb") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("xmpp:", "xmpp://me@example.net/") + f";trust={BODY}", "JID of an account"),
    ],
)
def test_a_wrong_uri_is_refused(text: str, why: str) -> None:
    """Half a key, another encryption's key, or a distrusted key must not be pinned."""
    with pytest.raises(ValueError, match=why):
        parse_trust_uri(text)


def test_a_uri_is_for_one_account() -> None:
    uri = build_trust_uri(BOB, KEY)
    assert parse_keys(str(KEY), BOB) == parse_keys(KEY, BOB) == parse_keys(uri, BOB)
    with pytest.raises(ValueError, match=r"a key of bob@example\.org, and not of alice@example\.org"):
        parse_keys(uri, "alice@example.org")

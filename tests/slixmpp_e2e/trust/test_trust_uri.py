"""A key as a URI: what is written can be read, and what is not exactly that is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slixmpp import JID

from slixmpp_e2e.trust.trust_uri import key_uri, keys_in, read_uri
from xmpp_e2e.identity import Fingerprint

KEY, OTHER = Fingerprint(b"\xff" * 32), Fingerprint(b"\xfb\xef" * 16)
BOB = "bob@example.org"
HEAD = f"xmpp:{BOB}?trust-message;encryption=urn:x-xmpp-e2e:security:0"
BODY = str(KEY).partition(":")[2].replace("/", "_")


def test_the_uri_of_a_key() -> None:
    """The account's, without the device, and with nothing in it that a URI may not hold."""
    assert key_uri(f"{BOB}/desk", KEY) == f"{HEAD};trust={BODY}"
    assert key_uri("100%;+=?@[::1]", OTHER).startswith("xmpp:100%25%3B+=%3F@[::1]?")


@given(st.text("az09%?#;+=!ä中", min_size=1, max_size=8), st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(name: str, digest: bytes) -> None:
    """For any account and any key."""
    bare = JID(f"{name}@bücher.example").bare
    uri = key_uri(bare, Fingerprint(digest))
    assert uri.isascii()
    assert read_uri(f" {uri}\n") == (bare, (Fingerprint(digest),))
    assert keys_in(uri, bare) == (Fingerprint(digest),)


def test_what_others_may_write() -> None:
    """Escapes that are not needed, capitals in the scheme, several keys."""
    body = str(OTHER).partition(":")[2].replace("+", "-").replace("/", "_")
    text = f"XMPP:b%6Fb@example.org?trust-message;encryption=urn%3Ax-xmpp-e2e%3Asecurity%3A0;trust={BODY};trust={body}"
    assert read_uri(text) == (BOB, (KEY, OTHER))


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
        (HEAD, "which keys to trust"),
        (f"{HEAD};distrust={BODY}", "which keys to trust"),
        (f"{HEAD};trust={BODY};distrust={BODY}", "which keys to trust"),
        (f"{HEAD};trust={BODY[:-1]}", "no key fingerprint"),
        (f"{HEAD};trust=", "no key fingerprint"),
        (f"{HEAD};trust={BODY};", "which keys to trust"),
        (f"{HEAD};trust={str(KEY).partition(':')[2]}", "places of"),
        (f"{HEAD};trust={KEY}", "places of"),
        (HEAD.replace("bob@", "") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("?", "/desk?") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("bob", "b%FFb") + f";trust={BODY}", "JID of an account"),
        (HEAD.replace("xmpp:", "xmpp://me@example.net/") + f";trust={BODY}", "JID of an account"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    """What is pinned is what was meant: half a key, another's, or the opposite is not."""
    with pytest.raises(ValueError, match=why):
        read_uri(text)


def test_a_uri_is_for_one_account() -> None:
    """Whoever pins it for somebody else hears whose it is."""
    uri = key_uri(BOB, KEY)
    assert keys_in(str(KEY), BOB) == keys_in(KEY, BOB) == keys_in(uri, BOB)
    with pytest.raises(ValueError, match=r"a key of bob@example\.org, and not of alice@example\.org"):
        keys_in(uri, "alice@example.org")

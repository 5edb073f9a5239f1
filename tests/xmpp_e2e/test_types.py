"""Fingerprints as people read and write them."""

from __future__ import annotations

import pytest

from xmpp_e2e.types import Fingerprint, SecretBytes

SHOWN = Fingerprint(bytes(range(32)))


def test_what_is_shown_can_be_typed() -> None:
    assert Fingerprint.parse(f" {SHOWN}\n") == SHOWN
    assert repr(SHOWN) == f"Fingerprint({SHOWN})"


@pytest.mark.parametrize(
    "text",
    [
        "",
        str(SHOWN).removeprefix("SHA256:"),
        str(SHOWN)[:-1],
        str(SHOWN) + "=",
        str(SHOWN)[:-1] + "?",
        str(SHOWN)[:-1] + "9",  # other bits in the last character, which a digest of 32 bytes does not use
    ],
)
def test_nothing_else_is_a_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match="is no key fingerprint"):
        Fingerprint.parse(text)


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="has 32 bytes, not 31"):
        Fingerprint(bytes(31))


def test_secret_bytes_are_bytes_that_nothing_shows() -> None:
    secret = SecretBytes(b"correct horse battery staple")
    assert secret == b"correct horse battery staple"
    assert {repr(secret), str(secret), f"{secret}"} == {"<28 secret bytes>"}
    assert repr([secret]) == "[<28 secret bytes>]"
    assert repr(ValueError(secret)) == "ValueError(<28 secret bytes>)"

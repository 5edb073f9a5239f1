"""Passwords and passphrases as bytes, the same on each keyboard: the profile OpaqueString of PRECIS (RFC 8265 §4.2)."""

from __future__ import annotations

from precis_i18n import get_profile

_PROFILE = get_profile("OpaqueString")


def opaque(text: str) -> bytes:
    """Any space is a space, and characters are composed. ValueError for what the profile does not allow, which is not repeated:
    nothing at all, control characters, those that join others or are unknown to the Unicode of this Python."""
    try:
        return _PROFILE.enforce(text).encode()
    except UnicodeEncodeError as error:  # from None: the error carries the text
        kind = error.reason.partition("/")[2].replace("_", " ")
        raise ValueError(f"it is empty, or has characters in it that RFC 8265 does not allow ({kind})") from None

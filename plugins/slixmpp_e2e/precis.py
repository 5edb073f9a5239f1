"""Normalize passwords and passphrases, so that each keyboard gives the same bytes: PRECIS OpaqueString (RFC 8265 §4.2)."""

from __future__ import annotations

from precis_i18n import get_profile

_PROFILE = get_profile("OpaqueString")


def normalize_password(text: str) -> bytes:
    """Return the text in UTF-8, with composed characters and each kind of space as U+0020.

    ValueError if the profile does not allow it: an empty text, control characters, characters that join others or that the
    Unicode of this Python does not know. The message does not repeat the text.
    """
    try:
        return _PROFILE.enforce(text).encode()
    except UnicodeEncodeError as error:
        kind = error.reason.partition("/")[2].replace("_", " ")
    # not where it is caught: that error carries the text, and would be the context of this one
    raise ValueError(f"it is empty, or has characters in it that RFC 8265 does not allow ({kind})")

"""A password is the same on each keyboard, and what cannot be one is refused without being told."""

from __future__ import annotations

import pytest

from slixmpp_e2e.precis import opaque


@pytest.mark.parametrize("typed", ["Gr\u00fc\u00dfe vom S\u00fcden", "Gru\u0308\u00dfe\u00a0vom\u3000S\u00fcden"])
def test_spaces_and_accents(typed: str) -> None:
    """However they are typed; capitals, and letters of double width, stay as they are."""
    assert opaque(typed) == "Grüße vom Süden".encode()
    assert opaque("\uff2bEY key") == "\uff2bEY key".encode()


@pytest.mark.parametrize("typed", ["", "secret\tword", "secret\0word", "secret\u200bword", "secret\udc80", "secret\U0010ffff"])
def test_what_is_refused(typed: str) -> None:
    """RFC 8264 §4.3; the complaint repeats nothing of it, nor does what comes with it."""
    with pytest.raises(ValueError, match="RFC 8265") as caught:
        opaque(typed)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__

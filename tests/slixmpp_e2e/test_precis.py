"""A password is the same on each keyboard, and a refused one is not repeated."""

from __future__ import annotations

import pytest

from slixmpp_e2e.precis import normalize_password


@pytest.mark.parametrize("typed", ["Gr\u00fc\u00dfe vom S\u00fcden", "Gru\u0308\u00dfe\u00a0vom\u3000S\u00fcden"])
def test_spaces_and_accents(typed: str) -> None:
    """Each way to type them gives the same bytes; capitals and letters of double width stay."""
    assert normalize_password(typed) == "Grüße vom Süden".encode()
    assert normalize_password("\uff2bEY key") == "\uff2bEY key".encode()


@pytest.mark.parametrize("typed", ["", "secret\tword", "secret\0word", "secret\u200bword", "secret\udc80", "secret\U0010ffff"])
def test_a_refused_password_is_not_repeated(typed: str) -> None:
    """RFC 8264 §4.3: neither the error nor its cause holds it."""
    with pytest.raises(ValueError, match="RFC 8265") as caught:
        normalize_password(typed)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None

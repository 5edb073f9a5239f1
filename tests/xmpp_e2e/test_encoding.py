"""Bytes with one meaning only."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_e2e.encoding import labelled_hash, length_prefixed, strict_base64


def test_lv_is_length_then_value() -> None:
    """Each field follows its length in four bytes, the most significant first."""
    assert length_prefixed(b"ab", b"", b"c" * 258) == b"\0\0\0\2ab" + b"\0\0\0\0" + b"\0\0\1\2" + b"c" * 258
    assert length_prefixed() == b""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        ((b"abc",), (b"abc", b"")),
        ((b"",), ()),
        ((b"a", b"b"), (b"b", b"a")),
        ((length_prefixed(b"a", b"b"),), (b"a", b"b")),
    ],
)
def test_lv_keeps_fields_apart(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert length_prefixed(*one) != length_prefixed(*other)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_lv_can_be_undone(fields: list[bytes]) -> None:
    """Whoever has the bytes can cut the fields apart again, so no two lists give the same bytes."""
    rest, found = length_prefixed(*fields), []
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        found.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    assert found == fields


def test_a_labelled_hash_covers_its_purpose_and_its_fields() -> None:
    """H(label, x..) is SHA-256 over the length-prefixed list of the protocol's name with the label, and the fields."""
    written_out = b"\0\0\0\x0exmpp-e2e/1 neg" + b"\0\0\0\1a" + b"\0\0\0\2bc"
    assert labelled_hash("neg", b"a", b"bc") == hashlib.sha256(written_out).digest()


def test_labels_set_hashes_apart() -> None:
    """The same fields under another label, or a label that swallows the first field, give another hash."""
    assert len({labelled_hash("neg", b"a"), labelled_hash("context", b"a"), labelled_hash("nega")}) == 3


@given(st.binary(max_size=64))
def test_strict_base64_reads_what_is_written_strictly(data: bytes) -> None:
    assert strict_base64(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        *("Q", "QQ", "QQ=", "QQ===", "QQ==QQ==", "=QQ=", "===="),  # padding
        *("QR==", "QUJ="),  # stray bits below the padding
        *(" QUJD", "QUJD\n", "QU JD", "QU\nJD", "QUJD\0"),
        *("-_-_", "QUJDé", "ＱＱ=="),  # noqa: RUF001
    ],
)
def test_strict_base64_refuses_all_other_spellings(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        strict_base64(text)


@given(st.text("QUJDRA= \n+/-_", max_size=12))
def test_no_two_texts_mean_the_same_bytes(text: str) -> None:
    """What is read at all is written as it would be written again."""
    try:
        data = strict_base64(text)
    except ValueError:
        return
    assert base64.b64encode(data).decode() == text

"""Text from a peer cannot control the terminal or imitate other output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xmpp_e2e.types import Assurance
from xmpp_e2e_cli import output


def test_control_characters_are_spelled_out() -> None:
    assert output.escape("a\x1b[2Jb\rc\u202ed") == "a<U+001B>[2Jb<U+000D>c<U+202E>d"
    assert output.escape("Grüße 你好 🙂\n") == "Grüße 你好 🙂\n"


def test_a_second_line_never_looks_like_another_message() -> None:
    """Further lines are indented, and the sender stays on one line."""
    line = output.message_line("bob@home.test/a\nb", Assurance.NONE, "hi\nboss@home.test/x [verified] pay him").plain
    assert line == "bob@home.test/a b [none] hi\n    boss@home.test/x [verified] pay him"


def test_markup_of_a_peer_is_text() -> None:
    assert "[bold red]x[/]" in output.message_line("a@b/c", Assurance.KNOWN, "[bold red]x[/]").plain


@given(st.text())
def test_whatever_is_cleaned_holds_no_control_character(text: str) -> None:
    assert all(char == "\n" or char.isprintable() or char.isspace() for char in output.escape(text))
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in output.one_line(text))

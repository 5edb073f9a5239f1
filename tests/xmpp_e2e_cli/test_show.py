"""What a peer wrote cannot command a terminal, nor look like something that somebody else wrote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xmpp_e2e.identity import Assurance
from xmpp_e2e_cli import show


def test_control_characters_are_spelled_out() -> None:
    """Escape sequences, overwriting and turned writing are shown, not obeyed."""
    assert show.clean("a\x1b[2Jb\rc\u202ed") == "a<U+001B>[2Jb<U+000D>c<U+202E>d"
    assert show.clean("Grüße 你好 🙂\n") == "Grüße 你好 🙂\n"


def test_a_second_line_never_looks_like_another_message() -> None:
    """It is indented; and a sender stays on one line."""
    line = show.message_line("bob@home.test/a\nb", Assurance.NONE, "hi\nboss@home.test/x [verified] pay him").plain
    assert line == "bob@home.test/a b [none] hi\n    boss@home.test/x [verified] pay him"


def test_markup_of_a_peer_is_text() -> None:
    """Nothing in brackets is a command to the renderer."""
    assert "[bold red]x[/]" in show.message_line("a@b/c", Assurance.KNOWN, "[bold red]x[/]").plain


@given(st.text())
def test_whatever_is_cleaned_holds_no_control_character(text: str) -> None:
    """For every text, cleaning is complete."""
    assert all(char == "\n" or char.isprintable() or char.isspace() for char in show.clean(text))
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in show.one_line(text))

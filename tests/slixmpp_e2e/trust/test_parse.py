"""The trust file is parsed as a whole, and every complaint has the file, the line and the key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slixmpp_e2e.trust.trust_file.parse import (
    FILE_BYTES,
    KEYS,
    NOTHING,
    Rule,
    Rules,
    Stamp,
    TrustFileWrong,
    line_of,
    read,
    stamp,
)
from slixmpp_e2e.trust.trust_file.secret_file import psk_text
from slixmpp_e2e.trust.trust_uri import key_uri
from tests.docs import documents
from xmpp_e2e.identity import Assurance, Fingerprint, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy

PIECES = (*"[]\"'=\n.#{},~1\0 ", "bob@x.org", "x.org", "policy", "pin", "psk_file", "off", '["bob@x.org"]\n', 'pin = "')
KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
SECRET = bytes(range(32))


def trust(folder: Path, text: str) -> Path:
    path = folder / "trust.toml"
    path.write_text(text)
    return path


def secret(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def rules(folder: Path, text: str) -> Rules:
    return read(trust(folder, text), {})


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    """Each key becomes a typed value; a path is from the trust file's folder on."""
    secret(tmp_path, "bob.psk", psk_text(SECRET))
    elsewhere = secret(tmp_path, "password", "correct horse")
    said = rules(
        tmp_path,
        f"""
        ["bob@example.org"]
        policy = "require"
        trust_model = "server-untrusted"
        on_key_change = "reject"
        require = "verified"
        pin = ["{KEY}", "{key_uri('bob@example.org', OTHER)}"]
        psk_file = "bob.psk"
        password_file = "{elsewhere}"
        """,
    )
    wanted = Rule(
        Policy.REQUIRE,
        TrustModel.SERVER_UNTRUSTED,
        OnKeyChange.REJECT,
        Assurance.VERIFIED,
        (KEY, OTHER),
        SECRET,
        "correct horse",
    )
    assert said == Rules({"bob@example.org": wanted})
    assert "horse" not in repr(said)
    assert repr(SECRET) not in repr(said)


def test_an_account_and_its_domain(tmp_path: Path) -> None:
    """Each has its own; domains below it, and the JID as it is spelt, do not matter."""
    said = rules(tmp_path, '["Bob@Example.org"]\npolicy = "off"\n["example.org"]\npolicy = "require"\n')
    bob, domain = Rule(policy=Policy.OFF), Rule(policy=Policy.REQUIRE)
    assert said.of("bob@example.org") == (bob, domain)
    assert said.of("eve@example.org") == (NOTHING, domain)
    assert said.of("eve@sub.example.org") == (NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('["bob@x.org"]\npolicy = "of"\n', 2, "bob@x.org / policy: 'of' is none of off, prefer, require"),
        ('# a\n["bob@x.org"]\n\npolicy = 1\n', 4, "policy: 1 is none of"),
        ('["bob@x.org"]\npolcy = "off"\n', 2, "polcy: there is no such key; the keys are policy, "),
        ('["bob@x.org"]\nrequire = "certain"\n', 2, "require: 'certain' is no assurance level"),
        ('["bob@x.org"]\npin = [\n  "SHA256:x",\n]\n', 2, "pin: 'SHA256:x' is no key fingerprint"),
        ('["bob@x.org"]\npin = []\n', 2, "pin: a fingerprint"),
        (f'["bob@x.org"]\npin = "{key_uri("eve@x.org", KEY)}"\n', 2, "pin: this URI has a key of eve@x.org, and not of bob"),
        ('["bob@x.org"]\npin = [1]\n', 2, "pin: a fingerprint"),
        ('["bob@x.org"]\npassword_file = "tab"\n', 2, "password_file: it is empty, or has characters"),
        ('["bob@x.org"]\npsk_file = 1\n', 2, "psk_file: the path of a file"),
        ('["bob@x.org"]\npsk_file = ""\n', 2, "psk_file: the path of a file"),
        ('["bob@x.org"]\npsk_file = "missing"\n', 2, "psk_file: the file cannot be read (No such file"),
        ('["bob@x.org"]\npsk_file = "open"\n', 2, "psk_file: other users can read the file (mode 0644): chmod 600"),
        ('["bob@x.org"]\npsk_file = "password"\n', 2, "psk_file: this is no key as `xmpp-e2e psk new`"),
        ('["bob@x.org"]\npsk_file = "~nobody-here/x"\n', 2, "psk_file: there is no such user"),
        ('["x.org"]\npin = "x"\n', 2, "x.org / pin: this is for accounts"),
        ('["x.org"]\npsk_file = "x"\n', 2, "x.org / psk_file: this is for accounts"),
        ('["x.org"]\npassword_file = "x"\n', 2, "x.org / password_file: this is for accounts"),
        ('[x.org]\npolicy = "off"\n', 1, 'JIDs and domains need quotation marks'),
        ('policy = "off"\n', 1, "policy: this stands outside of a table"),
        ('["bob@x.org/phone"]\n', 1, "rules are for accounts: bob@x.org"),
        ('["@"]\n', 1, "this is no JID"),
        ('[""]\n', 1, "this is no JID"),
        ('["bob@x.org"]\n["BOB@x.org"]\n', 2, "bob@x.org has another table already"),
        ('"bob@x.org" = { policy = "of" }\n', 1, "'of' is none of"),
        ('["bob@x.org"]\npolicy = off\n', 2, "this is not TOML (Invalid value)"),
        ('["bob@x.org"]\n["bob@x.org"]\n', 2, "this is not TOML"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, text: str, line: int, words: str) -> None:
    """File, line and key, and what can stand there."""
    secret(tmp_path, "open", psk_text(SECRET), 0o644)
    secret(tmp_path, "tab", "horse\tback")
    secret(tmp_path, "password", "correct horse")
    with pytest.raises(TrustFileWrong) as caught:
        rules(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'trust.toml'}, line {line}")
    assert words in str(caught.value)
    assert "horse" not in caught.value.explain()


@pytest.mark.parametrize("key", ["psk_file", "password_file"])
def test_a_secret_in_the_place_of_a_path_is_not_repeated(tmp_path: Path, key: str) -> None:
    """Somebody will write the secret itself there; the line tells him where."""
    with pytest.raises(TrustFileWrong) as caught:
        rules(tmp_path, f'["bob@x.org"]\n{key} = "{psk_text(SECRET)}"\n')
    assert psk_text(SECRET) not in caught.value.explain()
    assert f"line 2, bob@x.org / {key}: the file cannot be read" in str(caught.value)


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text(max_size=30))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_holds(tmp_path: Path, text: str) -> None:
    """There are rules, or one error that has its name."""
    path = tmp_path / "trust.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(TrustFileWrong):
        assert isinstance(read(path, {}), Rules)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000])
def test_what_tomllib_does_not_call_wrong(tmp_path: Path, text: str) -> None:
    """Too deep, or too long a number."""
    with pytest.raises(TrustFileWrong):
        rules(tmp_path, text)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Not there, not text, too long, or in everybody's hands."""
    path = tmp_path / "trust.toml"
    with pytest.raises(TrustFileWrong, match="cannot be read"):
        read(path, {})
    for content, words in ((b"\xff", "UTF-8"), (b"#" * (FILE_BYTES + 1), "more than")):
        path.write_bytes(content)
        with pytest.raises(TrustFileWrong, match=words):
            read(path, {})
    path.write_text("")
    assert read(path, {}) == Rules()
    path.chmod(0o646)
    with pytest.raises(TrustFileWrong, match="chmod o-w"):
        read(path, {})


def test_what_was_looked_into_is_noted(tmp_path: Path) -> None:
    """Of a bad file too, and a file that is not there: whoever mends either is noticed."""
    path = trust(tmp_path, '["bob@x.org"]\npsk_file = "bob.psk"\n')
    stamps: dict[Path, Stamp] = {}
    with pytest.raises(TrustFileWrong):
        read(path, stamps)
    assert stamps == {path: stamp(path), tmp_path / "bob.psk": None}


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        ('["a"]\nx = 1\n["b"] # c\nx = 1\n', ("b", "x"), 4),
        ('["a"]\nx = 1\n["b"]\n', ("b", "x"), 3),
        ('["a"]\nx = """\n["b"]\nx = 1\n"""\n["b"]\nx = 2\n', ("b", "x"), 7),
        ('"a".x = 1\n', ("a", "x"), 1),
        ('["a"]\nx = [\n  [1, 2],\n]\n  y = 1\n', ("a", "y"), 5),
        ('["a"] # \x85\r\n\r\ny = 1\r\n', ("a", "y"), 3),
        ('["a"]\nx = [\n["b"]\n]\n# x = 1\n', ("b",), None),
        ("", ("b",), None),
    ],
)
def test_lines(text: str, keys: tuple[str, ...], line: int | None) -> None:
    """Where a key is set, or else the table around it; never a line within a longer value."""
    assert line_of(text, keys) == line


def test_the_example_and_the_table_of_the_document(tmp_path: Path) -> None:
    """docs/policy.md shows a file that is good, and lists every key."""
    text = documents.blocks("docs/policy.md")["trust-file"].replace("/run/secrets/bob", "bob")
    secret(tmp_path, "bob.psk", psk_text(SECRET))
    secret(tmp_path, "bob", "correct horse")
    said = rules(tmp_path, text)
    assert set(said.domains) == {"example.org"}
    assert set(said.accounts) == {"alice@example.org", "bob@example.net"}
    listed = [key for row in documents.rows("docs/policy.md", "The trust file") for key in documents.code(row[0])]
    assert tuple(listed) == KEYS

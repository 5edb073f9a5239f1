"""The trust file is parsed as a whole, and every error names the file, the line and the key."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slixmpp_e2e.alarms import explain
from slixmpp_e2e.errors import TrustFileError
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.trust.trust_file.parse import (
    KEYS,
    NO_RULE,
    TRUST_FILE_BYTES,
    FileVersion,
    TrustFileRule,
    TrustFileRules,
    file_version,
    find_line,
    read_trust_file,
)
from slixmpp_e2e.trust.trust_file.secret_file import encode_psk
from slixmpp_e2e.trust.trust_uri import build_trust_uri
from tests.docs import documents
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, TrustModel

PIECES = (*"[]\"'=\n.#{},~1\0 ", "bob@x.org", "x.org", "policy", "pin", "psk_file", "off", '["bob@x.org"]\n', 'pin = "')
KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
SECRET = bytes(range(32))
EVES_URI = build_trust_uri("eve@x.org", KEY)


def trust(folder: Path, text: str) -> Path:
    path = folder / "trust.toml"
    path.write_text(text)
    return path


def secret(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def rules(folder: Path, text: str) -> TrustFileRules:
    return read_trust_file(trust(folder, text), {})


def test_every_key_becomes_a_typed_value(tmp_path: Path) -> None:
    """A relative path begins at the trust file's folder."""
    secret(tmp_path, "bob.psk", encode_psk(SECRET))
    elsewhere = secret(tmp_path, "password", "correct horse")
    said = rules(
        tmp_path,
        f"""
        ["bob@example.org"]
        policy = "require"
        trust_model = "server-untrusted"
        on_key_change = "reject"
        min_assurance = "verified"
        verify_when = "always"
        pin = ["{KEY}", "{build_trust_uri("bob@example.org", OTHER)}"]
        psk_file = "bob.psk"
        password_file = "{elsewhere}"
        """,
    )
    wanted = TrustFileRule(
        Policy.REQUIRE,
        TrustModel.SERVER_UNTRUSTED,
        OnKeyChange.REJECT,
        Assurance.VERIFIED,
        (KEY, OTHER),
        SECRET,
        "correct horse",
        VerifyWhen.ALWAYS,
    )
    assert said == TrustFileRules({"bob@example.org": wanted})
    assert "horse" not in repr(said)
    assert repr(SECRET) not in repr(said)


def test_an_account_and_its_domain(tmp_path: Path) -> None:
    said = rules(tmp_path, '["Bob@Example.org"]\npolicy = "off"\n["example.org"]\npolicy = "require"\n')
    bob, domain = TrustFileRule(policy=Policy.OFF), TrustFileRule(policy=Policy.REQUIRE)
    assert said.of("bob@example.org") == (bob, domain)
    assert said.of("eve@example.org") == (NO_RULE, domain)
    assert said.of("eve@sub.example.org") == (NO_RULE, NO_RULE)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('["bob@x.org"]\npolicy = "of"\n', 2, "bob@x.org / policy: 'of' is not one of off, opportunistic, prefer, require"),
        ('# a\n["bob@x.org"]\n\npolicy = 1\n', 4, "policy: 1 is not one of"),
        ('["bob@x.org"]\npolcy = "off"\n', 2, "polcy: there is no such key; the keys are policy, "),
        ('["bob@x.org"]\nmin_assurance = "certain"\n', 2, "min_assurance: 'certain' is no assurance level"),
        ('["bob@x.org"]\npin = [\n  "SHA256:x",\n]\n', 2, "pin: 'SHA256:x' is no key fingerprint"),
        ('["bob@x.org"]\npin = []\n', 2, "pin: a fingerprint"),
        ('["bob@x.org"]\nrequire = "known"\n', 2, "require: this key is called min_assurance now"),
        ('["bob@x.org"]\neach = "always"\n', 2, "each: this key is called verify_when now"),
        (f'["bob@x.org"]\npin = "{EVES_URI}"\n', 2, "pin: this URI has a key of eve@x.org, and not of bob"),
        ('["bob@x.org"]\npin = [1]\n', 2, "pin: a fingerprint"),
        ('["bob@x.org"]\npassword_file = "tab"\n', 2, "password_file: it is empty, or has characters"),
        ('["bob@x.org"]\npsk_file = 1\n', 2, "psk_file: the path of a file"),
        ('["bob@x.org"]\npsk_file = ""\n', 2, "psk_file: the path of a file"),
        ('["bob@x.org"]\npsk_file = "missing"\n', 2, "psk_file: the file cannot be read (No such file"),
        ('["bob@x.org"]\npsk_file = "open"\n', 2, "psk_file: other users can read the file (mode 0644): chmod 600"),
        ('["bob@x.org"]\npsk_file = "password"\n', 2, "psk_file: this is no key as `xmpp-e2e psk new`"),
        ('["bob@x.org"]\npsk_file = "~nobody-here/x"\n', 2, "psk_file: its path names the folder of a user"),
        ('["x.org"]\npin = "x"\n', 2, "x.org / pin: this is for accounts"),
        ('["x.org"]\npsk_file = "x"\n', 2, "x.org / psk_file: this is for accounts"),
        ('["x.org"]\npassword_file = "x"\n', 2, "x.org / password_file: this is for accounts"),
        ('[x.org]\npolicy = "off"\n', 1, "JIDs and domains need quotation marks"),
        ('policy = "off"\n', 1, "policy: this is outside of a table"),
        ('["bob@x.org/phone"]\n', 1, "rules are for accounts: bob@x.org"),
        ('["@"]\n', 1, "this is no JID"),
        ('[""]\n', 1, "this is no JID"),
        ('["bob@x.org"]\n["BOB@x.org"]\n', 2, "bob@x.org has another table already"),
        ('"bob@x.org" = { policy = "of" }\n', 1, "'of' is not one of"),
        ('["bob@x.org"]\npolicy = off\n', 2, "this is not TOML (Invalid value)"),
        ('["bob@x.org"]\n["bob@x.org"]\n', 2, "this is not TOML"),
    ],
)
def test_every_mistake_is_found(tmp_path: Path, text: str, line: int, words: str) -> None:
    secret(tmp_path, "open", encode_psk(SECRET), 0o644)
    secret(tmp_path, "tab", "horse\tback")
    secret(tmp_path, "password", "correct horse")
    with pytest.raises(TrustFileError) as caught:
        rules(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'trust.toml'}, line {line}")
    assert words in str(caught.value)
    assert "horse" not in explain(caught.value)


@pytest.mark.parametrize("key", ["psk_file", "password_file"])
def test_a_secret_in_place_of_a_path_is_not_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(TrustFileError) as caught:
        rules(tmp_path, f'["bob@x.org"]\n{key} = "{encode_psk(SECRET)}"\n')
    assert encode_psk(SECRET) not in explain(caught.value)
    assert f"line 2, bob@x.org / {key}: the file cannot be read" in str(caught.value)


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text(max_size=30))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_gives_rules_or_one_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trust.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(TrustFileError):
        assert isinstance(read_trust_file(path, {}), TrustFileRules)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000])
def test_errors_of_tomllib_that_are_no_toml_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrustFileError):
        rules(tmp_path, text)


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    with pytest.raises(TrustFileError, match="cannot be read"):
        read_trust_file(path, {})
    for content, words in ((b"\xff", "UTF-8"), (b"#" * (TRUST_FILE_BYTES + 1), "more than")):
        path.write_bytes(content)
        with pytest.raises(TrustFileError, match=words):
            read_trust_file(path, {})
    path.write_text("")
    assert read_trust_file(path, {}) == TrustFileRules()


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are a matter of POSIX")
def test_only_its_owner_may_change_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody may read it: it holds no secret. Root's is as good as our own."""
    path = trust(tmp_path, "")
    for mode in (0o600, 0o644, 0o444):
        path.chmod(mode)
        assert read_trust_file(path, {}) == TrustFileRules()
    for mode in (0o646, 0o664, 0o620):
        path.chmod(mode)
        with pytest.raises(TrustFileError, match=r"\(mode 0...\): chmod go-w it. Whoever can change it decides whom you trust"):
            read_trust_file(path, {})
    path.chmod(0o600)
    real = os.fstat
    for owner, taken in ((0, True), (7, False)):
        monkeypatch.setattr(os, "fstat", lambda file, owner=owner: os.stat_result([*real(file)[:4], owner, *real(file)[5:]]))
        if taken:
            assert read_trust_file(path, {}) == TrustFileRules()
        else:
            with pytest.raises(TrustFileError, match="belongs to another user"):
                read_trust_file(path, {})


def test_the_version_of_each_read_file_is_noted(tmp_path: Path) -> None:
    """This holds for a bad file and a missing file too, so that a correction is noticed."""
    path = trust(tmp_path, '["bob@x.org"]\npsk_file = "bob.psk"\n')
    versions: dict[Path, FileVersion] = {}
    with pytest.raises(TrustFileError):
        read_trust_file(path, versions)
    assert versions == {path: file_version(path), tmp_path / "bob.psk": None}


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
def test_line_numbers(text: str, keys: tuple[str, ...], line: int | None) -> None:
    """The number is that of the key, or else of its table, and never of a line within a longer value."""
    assert find_line(text, keys) == line


def test_the_example_and_the_table_of_the_document(tmp_path: Path) -> None:
    """docs/reference/trust-file.md shows a good file, and lists every key."""
    name = "docs/reference/trust-file.md"
    text = documents.blocks(name)["trust-file"].replace("/run/secrets/bob", "bob")
    secret(tmp_path, "bob.psk", encode_psk(SECRET))
    secret(tmp_path, "bob", "correct horse")
    said = rules(tmp_path, text)
    assert set(said.domains) == {"example.org"}
    assert set(said.accounts) == {"alice@example.org", "bob@example.net"}
    listed = [key for row in documents.rows(name, "Keys of a table") for key in documents.code(row[0])]
    assert tuple(listed) == KEYS


@pytest.mark.parametrize(
    ("text", "trust_model", "line"),
    [
        ('["bob@localhost"]\ntrust_model = "server-untrusted"\npolicy = "prefer"\n', None, 3),
        ('["localhost"]\npolicy = "off"\ntrust_model = "server-untrusted"\n', None, 2),
        ('["bob@localhost"]\npolicy = "prefer"\n["localhost"]\ntrust_model = "server-untrusted"\n', None, 2),
        ('["bob@localhost"]\npolicy = "prefer"\n', TrustModel.SERVER_UNTRUSTED, 2),
        ('["localhost"]\npolicy = "require"\ntrust_model = "server-trusted"\n', None, 2),
    ],
)
def test_a_policy_that_contradicts_its_trust_model_is_refused(
    tmp_path: Path, text: str, trust_model: TrustModel | None, line: int
) -> None:
    """In one table, or with what the domain's table or the program says."""
    with pytest.raises(TrustFileError, match=rf"line {line}, .* / policy: `server-"):
        read_trust_file(trust(tmp_path, text), {}, trust_model)


def test_a_policy_may_differ_where_the_trust_model_does(tmp_path: Path) -> None:
    text = '["bob@localhost"]\npolicy = "prefer"\ntrust_model = "server-authenticates"\n["localhost"]\n'
    rules = read_trust_file(trust(tmp_path, text + 'trust_model = "server-untrusted"\n'), {}, TrustModel.SERVER_UNTRUSTED)
    assert rules.of("bob@localhost")[0].policy is Policy.PREFER

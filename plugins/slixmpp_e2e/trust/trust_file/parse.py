"""Parse the trust file: TOML, with one table of rules for each account or domain.

The file is checked as a whole. One mistake makes the whole file bad, because a misspelt rule must not allow what it would have
forbidden. Each error names file, line and key, and never repeats a text that may be a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slixmpp import JID, InvalidJID

from slixmpp_e2e.errors import TrustFileError
from slixmpp_e2e.policy import Policy, check_combination
from slixmpp_e2e.precis import normalize_password
from slixmpp_e2e.trust.trust_file.secret_file import check_unchangeable, decode_psk, read_secret_file
from slixmpp_e2e.trust.trust_uri import parse_keys
from xmpp_e2e.config import VerifyWhen
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import Assurance, Fingerprint, TrustModel

TRUST_FILE_BYTES = 1024 * 1024
"""The longest trust file: some thousand accounts. Reading it takes a second; a running program reads it in a thread."""

_NOT_TOML = (ValueError, RecursionError)
"""The errors of tomllib: TOMLDecodeError is a ValueError; too long numbers and too many brackets raise these."""

FileVersion = tuple[int, int, int] | None
"""Modification time, size and inode of a file, or None if it cannot be found."""


@dataclass(frozen=True)
class TrustFileRule:
    """The rule in one table. None: the table does not set it."""

    policy: Policy | None = None
    trust_model: TrustModel | None = None
    on_key_change: OnKeyChange | None = None
    min_assurance: Assurance | None = None
    """The least assurance of the peer's key, beyond what the trust model demands."""
    pin: tuple[Fingerprint, ...] = ()
    """Keys of the peer, which count as verified."""
    psk: bytes | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    verify_when: VerifyWhen | None = None
    """When shared key and password must prove the peer's key."""

    @property
    def without_pins(self) -> TrustFileRule:
        """The rule without its pins. Open sessions can take in new pins, but no other changes."""
        return replace(self, pin=())


NO_RULE = TrustFileRule()
_ACCOUNTS_ONLY = ("pin", "psk_file", "password_file")
"""Keys of tables for accounts. If a whole domain shared a secret, each account there could pass for any other."""
_RENAMED = {"require": "min_assurance", "each": "verify_when"}


@dataclass(frozen=True)
class TrustFileRules:
    """The rules of a trust file."""

    accounts: Mapping[str, TrustFileRule] = field(default_factory=dict)
    """By bare JID."""
    domains: Mapping[str, TrustFileRule] = field(default_factory=dict)

    def of(self, bare: str) -> tuple[TrustFileRule, TrustFileRule]:
        """Return the rules for an account and for its domain. Rules for parent domains do not apply."""
        return self.accounts.get(bare, NO_RULE), self.domains.get(bare.rpartition("@")[2], NO_RULE)


def file_version(path: Path) -> FileVersion:
    """Return a value that changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_trust_file(path: Path, versions: dict[Path, FileVersion], trust_model: TrustModel | None = None) -> TrustFileRules:
    """Return the rules of a trust file. TrustFileError.

    In both cases ``versions`` then holds the version of each file that was read. ``trust_model`` holds where the file says
    nothing; None if that is not known.
    """
    return _Parser(path, versions, trust_model).parse()


class _Parser:
    """Parses one version of a trust file."""

    def __init__(self, path: Path, versions: dict[Path, FileVersion], trust_model: TrustModel | None) -> None:
        self._path, self._versions, self._trust_model = path, versions, trust_model
        self._text = ""
        self._bare = ""
        """The account or domain of the current table."""

    def parse(self) -> TrustFileRules:
        self._text = self._load()
        try:
            tables = tomllib.loads(self._text)
        except _NOT_TOML as error:
            found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
            where = f", line {found[1]}" if found else ""
            cause = str(error)[: found.start()] if found else str(error)
            raise TrustFileError(f"{self._path}{where}: this is not TOML ({cause})") from None
        accounts: dict[str, TrustFileRule] = {}
        domains: dict[str, TrustFileRule] = {}
        for name, table in tables.items():
            jid = self._parse_name(name, table)
            kind = accounts if jid.local else domains
            if jid.bare in kind:
                raise self._error((name,), f"{jid.bare} has another table already")
            self._bare = jid.bare
            kind[jid.bare] = self._parse_table(name, table, domain=not jid.local)
        rules = TrustFileRules(accounts, domains)
        for name in tables:
            self._check_policy(name, rules)
        return rules

    def _check_policy(self, name: str, rules: TrustFileRules) -> None:
        """Raise TrustFileError if a table's policy contradicts the trust model that holds for it."""
        own, of_domain = rules.of(JID(name).bare)
        if own is NO_RULE:
            own = of_domain
        model = own.trust_model or of_domain.trust_model or self._trust_model
        try:
            check_combination(own.policy, model)
        except ValueError as error:
            raise self._error((name, "policy"), str(error)) from None

    def _load(self) -> str:
        self._versions[self._path] = file_version(self._path)
        try:
            with self._path.open("rb") as opened:
                status = os.fstat(opened.fileno())
                raw = opened.read(TRUST_FILE_BYTES + 1)
            text = raw.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise TrustFileError(f"the trust file {self._path} cannot be read ({reason})") from None
        try:
            check_unchangeable(status)
        except ValueError as error:
            raise TrustFileError(f"{self._path}: {error}. Whoever can change it decides whom you trust") from None
        if len(raw) > TRUST_FILE_BYTES:
            raise TrustFileError(f"the trust file {self._path} has more than {TRUST_FILE_BYTES} bytes")
        return text

    def _parse_name(self, name: str, table: object) -> JID:
        """Return the account or domain that a table is for."""
        if not isinstance(table, dict):
            raise self._error((name,), 'this is outside of a table; a table begins with ["JID"] or ["DOMAIN"]')
        if table and all(isinstance(value, dict) for value in table.values()):
            raise self._error((name, next(iter(table))), 'JIDs and domains need quotation marks: ["example.org"]')
        try:
            jid = JID(name)
        except InvalidJID:
            jid = JID()
        if not jid.domain:
            raise self._error((name,), "this is no JID and no domain")
        if jid.resource:
            raise self._error((name,), f"this is one device, and rules are for accounts: {jid.bare}")
        return jid

    def _parse_table(self, name: str, table: dict[str, Any], *, domain: bool) -> TrustFileRule:
        values = {}
        for key, value in table.items():
            if key in _RENAMED:
                raise self._error((name, key), f"this key is called {_RENAMED[key]} now")
            if key not in _PARSERS:
                raise self._error((name, key), f"there is no such key; the keys are {', '.join(_PARSERS)}")
            if domain and key in _ACCOUNTS_ONLY:
                raise self._error((name, key), "this is for accounts: those who share it could pass for each other")
            try:
                values[_FIELDS.get(key, key)] = _PARSERS[key](self, value)
            except ValueError as error:
                raise self._error((name, key), str(error)) from None
        return TrustFileRule(**values)

    def pins(self, value: object) -> tuple[Fingerprint, ...]:
        listed: list[object] = value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(entry, str) for entry in listed):
            raise ValueError("a fingerprint, SHA256:…, or the URI of a key, or a list of them is expected")
        return tuple(key for entry in listed for key in parse_keys(str(entry), self._bare))

    def psk(self, value: object) -> bytes:
        return decode_psk(self.secret(value))

    def password(self, value: object) -> str:
        password = self.secret(value)
        normalize_password(password)  # ValueError if it cannot be a password
        return password

    def secret(self, value: object) -> str:
        """Return the secret in the file that ``value`` names. Relative paths begin at the trust file's folder."""
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("the path of a file is expected")
        try:
            path = self._path.parent / Path(value).expanduser()
        except RuntimeError:
            raise ValueError("its path names the folder of a user who does not exist") from None
        self._versions[path] = file_version(path)
        return read_secret_file(path)

    def _error(self, keys: tuple[str, ...], cause: str) -> TrustFileError:
        number = find_line(self._text, keys)
        where = f", line {number}" if number else ""
        return TrustFileError(f"{self._path}{where}, {' / '.join(keys)}: {cause}")


def _choice(kind: type[Any]) -> Callable[[_Parser, object], Any]:
    def parse(parser: _Parser, value: object) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{value!r} is not one of {', '.join(member.value for member in kind)}") from None

    return parse


_PARSERS: dict[str, Callable[[_Parser, object], Any]] = {
    "policy": _choice(Policy),
    "trust_model": _choice(TrustModel),
    "on_key_change": _choice(OnKeyChange),
    "min_assurance": lambda parser, value: Assurance.parse(str(value)),
    "verify_when": _choice(VerifyWhen),
    "pin": _Parser.pins,
    "psk_file": _Parser.psk,
    "password_file": _Parser.password,
}
"""All keys that a table can have."""
_FIELDS = {"psk_file": "psk", "password_file": "password"}
KEYS = tuple(_PARSERS)
assert {_FIELDS.get(key, key) for key in KEYS} == {rule_field.name for rule_field in fields(TrustFileRule)}


# --- line numbers ----------------------------------------------------------------------------------------------------


def find_line(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the number of the line (from 1) that sets these keys, or else of their table. tomllib does not tell it."""
    lines = [line.strip() for line in text.split("\n")]
    best, depth = None, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(lines):
        here: tuple[str, ...] = ()
        if line.startswith("["):
            here = _keys_in(line)
            table = here or table
        elif keys[: len(table)] == table and (found := _keys_in(line)):
            here = table + found
        if depth < len(here) <= len(keys) and keys[: len(here)] == here and _is_whole("\n".join(lines[:number])):
            best, depth = number + 1, len(here)
    return best


def _keys_in(line: str) -> tuple[str, ...]:
    """Return the keys of a table's header or of an assignment, or none for another line."""
    source = line if line.startswith("[") else line.partition("=")[0] + "= 0"
    try:
        found: Any = tomllib.loads(source)
    except _NOT_TOML:
        return ()
    keys = []
    while isinstance(found, dict) and found:
        [(key, found)] = found.items()
        keys.append(key)
    return tuple(keys)


def _is_whole(text: str) -> bool:
    """Return whether the text ends with a whole statement. If not, the next line may be inside of a longer value."""
    try:
        tomllib.loads(text)
    except _NOT_TOML:
        return False
    return True

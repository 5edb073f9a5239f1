"""The trust file: what is wanted of whom, written down for bots that nobody watches. TOML, a table for each account or domain.

Parsed and checked as a whole: a file with one mistake has no rules at all, for what a misspelt rule would have forbidden must
not be allowed. Every complaint names file, line and key, and never what stands in the place of a secret.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slixmpp import JID, InvalidJID

from slixmpp_e2e.precis import opaque
from slixmpp_e2e.trust.trust_file.secret_file import psk_in, secret_in
from slixmpp_e2e.trust.trust_uri import keys_in
from xmpp_e2e.config import Each
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance, Fingerprint, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy

FILE_BYTES = 1024 * 1024
"""The longest trust file: some thousand accounts. It is read in a second, by a thread if the program runs already."""

_NOT_TOML = (ValueError, RecursionError)
"""What tomllib raises: TOMLDecodeError and, of numbers that are too long and brackets that are too many, these."""

Stamp = tuple[int, int, int] | None
"""Of a file: when it was changed, its size, and which one it is; None if it cannot be found."""


class TrustFileWrong(LocalError):
    """The trust file, or a file that it names, cannot be used."""

    remedy = "Correct what the message names. A program that runs goes on with the rules that it had until then."


@dataclass(frozen=True)
class Rule:
    """What one table says; None: nothing."""

    policy: Policy | None = None
    trust_model: TrustModel | None = None
    on_key_change: OnKeyChange | None = None
    require: Assurance | None = None
    """The least that must be proved of the peer's key, beyond what the trust model asks for."""
    pin: tuple[Fingerprint, ...] = ()
    """Keys that are the peer's: verified."""
    psk: bytes | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    each: Each | None = None
    """When key and password must prove the peer's key."""

    @property
    def terms(self) -> Rule:
        """The same without pins, which sessions that are there can take in."""
        return replace(self, pin=())


NOTHING = Rule()
_ACCOUNTS_ONLY = ("pin", "psk_file", "password_file")
"""A key or a secret that a whole domain shares would prove of each account there that it is any other."""


@dataclass(frozen=True)
class Rules:
    """What a trust file says."""

    accounts: Mapping[str, Rule] = field(default_factory=dict)
    """By bare JID."""
    domains: Mapping[str, Rule] = field(default_factory=dict)

    def of(self, bare: str) -> tuple[Rule, Rule]:
        """For the account itself, and for its domain (not for domains above that)."""
        return self.accounts.get(bare, NOTHING), self.domains.get(bare.rpartition("@")[2], NOTHING)


def stamp(path: Path) -> Stamp:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read(path: Path, stamps: dict[Path, Stamp]) -> Rules:
    """What the file says. TrustFileWrong; in any case ``stamps`` has been given each file that was looked into, as it was."""
    return _Reading(path, stamps).rules()


class _Reading:
    """One look into a trust file."""

    def __init__(self, path: Path, stamps: dict[Path, Stamp]) -> None:
        self._path, self._stamps = path, stamps
        self._text = ""
        self._bare = ""
        """Whose table is read."""

    def rules(self) -> Rules:
        self._text = self._load()
        try:
            tables = tomllib.loads(self._text)
        except _NOT_TOML as error:
            found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
            where = f", line {found[1]}" if found else ""
            cause = str(error)[: found.start()] if found else str(error)
            raise TrustFileWrong(f"{self._path}{where}: this is not TOML ({cause})") from None
        accounts: dict[str, Rule] = {}
        domains: dict[str, Rule] = {}
        for name, table in tables.items():
            jid = self._whose(name, table)
            kind = accounts if jid.local else domains
            if jid.bare in kind:
                raise self._wrong((name,), f"{jid.bare} has another table already")
            self._bare = jid.bare
            kind[jid.bare] = self._rule(name, table, domain=not jid.local)
        return Rules(accounts, domains)

    def _load(self) -> str:
        self._stamps[self._path] = stamp(self._path)
        try:
            with self._path.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                raw = opened.read(FILE_BYTES + 1)
            text = raw.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise TrustFileWrong(f"the trust file {self._path} cannot be read ({reason})") from None
        if os.name == "posix" and mode & stat.S_IWOTH:
            raise TrustFileWrong(f"the trust file {self._path} can be changed by everybody: chmod o-w it")
        if len(raw) > FILE_BYTES:
            raise TrustFileWrong(f"the trust file {self._path} has more than {FILE_BYTES} bytes")
        return text

    def _whose(self, name: str, table: object) -> JID:
        """Whom a table is for."""
        if not isinstance(table, dict):
            raise self._wrong((name,), 'this stands outside of a table; a table begins with ["JID"] or ["DOMAIN"]')
        if table and all(isinstance(value, dict) for value in table.values()):
            raise self._wrong((name, next(iter(table))), 'JIDs and domains need quotation marks: ["example.org"]')
        try:
            jid = JID(name)
        except InvalidJID:
            jid = JID()
        if not jid.domain:
            raise self._wrong((name,), "this is no JID and no domain")
        if jid.resource:
            raise self._wrong((name,), f"this is one device; rules are for accounts: {jid.bare}")
        return jid

    def _rule(self, name: str, table: dict[str, Any], *, domain: bool) -> Rule:
        said = {}
        for key, value in table.items():
            if key not in _PARSERS:
                raise self._wrong((name, key), f"there is no such key; the keys are {', '.join(_PARSERS)}")
            if domain and key in _ACCOUNTS_ONLY:
                raise self._wrong((name, key), "this is for accounts: whoever shares it could pose as everybody there")
            try:
                said[_FIELDS.get(key, key)] = _PARSERS[key](self, value)
            except ValueError as error:
                raise self._wrong((name, key), str(error)) from None
        return Rule(**said)

    def pins(self, value: object) -> tuple[Fingerprint, ...]:
        listed: list[object] = value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(entry, str) for entry in listed):
            raise ValueError("a fingerprint, SHA256:…, or the URI of a key, or a list of them is expected")
        return tuple(key for entry in listed for key in keys_in(str(entry), self._bare))

    def psk(self, value: object) -> bytes:
        return psk_in(self.secret(value))

    def password(self, value: object) -> str:
        password = self.secret(value)
        opaque(password)  # it says so if this can be none
        return password

    def secret(self, value: object) -> str:
        """What the file holds that ``value`` names, from the trust file's folder on."""
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("the path of a file is expected")
        try:
            path = self._path.parent / Path(value).expanduser()
        except RuntimeError:
            raise ValueError("there is no such user whose folder it could be in") from None
        self._stamps[path] = stamp(path)
        return secret_in(path)

    def _wrong(self, keys: tuple[str, ...], cause: str) -> TrustFileWrong:
        number = line_of(self._text, keys)
        where = f", line {number}" if number else ""
        return TrustFileWrong(f"{self._path}{where}, {' / '.join(keys)}: {cause}")


def _word(kind: type[Any]) -> Callable[[_Reading, object], Any]:
    def parse(reading: _Reading, value: object) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{value!r} is none of {', '.join(member.value for member in kind)}") from None

    return parse


_PARSERS: dict[str, Callable[[_Reading, object], Any]] = {
    "policy": _word(Policy),
    "trust_model": _word(TrustModel),
    "on_key_change": _word(OnKeyChange),
    "require": lambda reading, value: Assurance.parse(str(value)),
    "each": _word(Each),
    "pin": _Reading.pins,
    "psk_file": _Reading.psk,
    "password_file": _Reading.password,
}
"""Every key that a table can have."""
_FIELDS = {"psk_file": "psk", "password_file": "password"}
KEYS = tuple(_PARSERS)
assert {_FIELDS.get(key, key) for key in KEYS} == {each.name for each in fields(Rule)}


# --- which line ------------------------------------------------------------------------------------------------------


def line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """The number of the line, from 1, where these keys are set, or else the table around them; tomllib does not tell."""
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
    """The keys of a table's header, or of the beginning of an assignment; none if it is neither."""
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
    """Does a statement end with it? What looks like one may be a line within a longer value."""
    try:
        tomllib.loads(text)
    except _NOT_TOML:
        return False
    return True

"""The files that a Prosody under test starts from: its configuration, accounts and rosters, as Lua text.

Accounts are written straight into Prosody's "internal" storage: ``prosodyctl register`` takes half a second for each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

MODULES = ("roster", "saslauth", "tls", "disco", "ping", "smacks", "carbons", "pep", "blocklist")
"""What Debian enables and our plugin can meet: nothing that opens a port, and no registration."""
DEBIAN_LIMITS = 'limits = { c2s = { rate = "10kb/s" }; s2sin = { rate = "30kb/s" } }'
"""As in /etc/prosody/prosody.cfg.lua of Debian 12."""


@dataclass(frozen=True)
class Layout:
    """Where everything of one server lies, below a folder of its own."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "prosody.cfg.lua"

    @property
    def data(self) -> Path:
        """Accounts, rosters, everything stored."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What Prosody logs."""
        return self.root / "prosody.log"

    @property
    def console(self) -> Path:
        """What it prints on standard error: a traceback, if it does not get as far as a log."""
        return self.root / "console.txt"

    @property
    def tap(self) -> Path:
        """What mod_tap records."""
        return self.root / "handled.jsonl"

    @property
    def pid(self) -> Path:
        """The file in which Prosody keeps its process id."""
        return self.root / "prosody.pid"


def quote(text: str) -> str:
    """``text`` as a Lua string literal, in which whatever is not harmless becomes a decimal escape of its UTF-8."""
    return '"' + re.sub(rb"[^A-Za-z0-9_@/. -]", lambda match: b"\\%03d" % match[0][0], text.encode()).decode() + '"'


def storage_name(text: str) -> str:
    """``text`` as a name in Prosody's internal storage (util.datamanager): other than letters and digits, ``%xx``."""
    return re.sub(rb"[^A-Za-z0-9]", lambda match: b"%%%02x" % match[0][0], text.encode()).decode()


def configuration(
    layout: Layout,
    *,
    domain: str,
    port: int,
    key: Path,
    chain: Path,
    modules: Collection[str],
    limits: bool,
    network_backend: str | None,
    extra: str,
) -> str:
    """The text of the configuration file. ``extra`` is Lua for the global section, for what only one scene wants."""
    enabled = [*MODULES, *modules, "tap", *(["limits"] if limits else [])]
    lines = [
        f"plugin_paths = {{ {quote(str(Path(__file__).parent))} }}",
        f"run_as_root = {'true' if os.geteuid() == 0 else 'false'}",
        f"pidfile = {quote(str(layout.pid))}",
        f"certificates = {quote(str(layout.root))}",
        f"data_path = {quote(str(layout.data))}",
        f"log = {{ info = {quote(str(layout.log))} }}",
        f"tap_file = {quote(str(layout.tap))}",
        'interfaces = { "127.0.0.1" }',
        f"c2s_ports = {{ {port} }}",
        f"modules_enabled = {{ {', '.join(map(quote, enabled))} }}",
        # Alone on its domain: no port for other servers, and no question to any name server.
        'modules_disabled = { "s2s" }',
        'storage = "internal"',
        'authentication = "internal_plain"',
        "c2s_require_encryption = true",
        "allow_registration = false",
        DEBIAN_LIMITS if limits else "",
        f"network_backend = {quote(network_backend)}" if network_backend else "",
        extra,
        f"VirtualHost {quote(domain)}",
        f"ssl = {{ key = {quote(str(key))}, certificate = {quote(str(chain))} }}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def write_accounts(data: Path, domain: str, accounts: Mapping[str, str], *, friends: bool) -> None:
    """Write passwords (name → password) and rosters; as friends, all accounts are subscribed to each other."""
    host = data / storage_name(domain)
    for store in ("accounts", "roster"):
        (host / store).mkdir(parents=True)
    for name, password in accounts.items():
        file = storage_name(name) + ".dat"
        (host / "accounts" / file).write_text(f"return {{ password = {quote(password)} }};\n")
        contacts = "".join(
            f'  [{quote(f"{other}@{domain}")}] = {{ subscription = "both"; groups = {{}}; }};\n'
            for other in accounts
            if friends and other != name
        )
        (host / "roster" / file).write_text(f"return {{\n  [false] = {{ version = 1 }};\n{contacts}}};\n")

"""The files of Prosody: its configuration, accounts and rosters, as Lua text.

Accounts go straight into Prosody's "internal" storage: ``prosodyctl register`` takes half a second for each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.servers import daemon

MODULES = ("roster", "saslauth", "tls", "disco", "ping", "smacks", "carbons", "pep", "blocklist")
"""The modules that Debian enables and our plugin can meet. None opens a port or registers accounts."""
DEBIAN_LIMITS = 'limits = { c2s = { rate = "10kb/s" }; s2sin = { rate = "30kb/s" } }'
"""As in /etc/prosody/prosody.cfg.lua of Debian 12."""


PRIVILEGES = """privileged_entities = {{ [{}] = {{ roster = "both"; message = "outgoing"; iq = {{
  ["http://jabber.org/protocol/pubsub"] = "both"; ["http://jabber.org/protocol/pubsub#owner"] = "set";
}} }} }}"""
"""What slidge's documentation asks for."""


class Layout(daemon.Layout):
    """The files of one Prosody."""

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "prosody.cfg.lua"

    @property
    def data(self) -> Path:
        """Accounts, rosters and everything else that is stored."""
        return self.root / "data"

    @property
    def pid(self) -> Path:
        """The file with Prosody's process id."""
        return self.root / "prosody.pid"


@dataclass(frozen=True)
class Peer:
    """Another server on this machine."""

    domain: str
    port: int
    """Its port for servers."""


def quote(text: str) -> str:
    """Return ``text`` as a Lua string literal. Characters that are not harmless become decimal escapes of their UTF-8."""
    return '"' + re.sub(rb"[^A-Za-z0-9_@/. -]", lambda match: b"\\%03d" % match[0][0], text.encode()).decode() + '"'


def storage_name(text: str) -> str:
    """Return ``text`` as a name in Prosody's internal storage (util.datamanager): ``%xx`` for all but letters and
    digits."""
    return re.sub(rb"[^A-Za-z0-9]", lambda match: b"%%%02x" % match[0][0], text.encode()).decode()


def federated(port: int | None, peer: Peer | None) -> list[str]:
    """Return lines for the global section. ``port`` is ours for other servers, which authenticate by certificates only."""
    if peer is None:
        # Without federation: no port for other servers, and no name server.
        return ['modules_disabled = { "s2s" }']
    # libunbound answers only from this data and asks nobody. Prosody's binding crashes with a list of values, so there can
    # be only one other server.
    options = {
        "local-zone:": f"{peer.domain.rpartition('.')[2]}. static",
        "local-data:": f"_xmpp-server._tcp.{peer.domain}. IN SRV 0 0 {peer.port} localhost.",
    }
    return [
        f"s2s_ports = {{ {port} }}",
        "s2s_require_encryption = true",
        "s2s_secure_auth = true",
        "unbound = { resolvconf = false, hoststxt = false, options = {",
        *(f"  [{quote(name)}] = {quote(value)};" for name, value in options.items()),
        "} }",
    ]


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
    s2s_port: int | None,
    peer: Peer | None,
    component: tuple[str, str, int],
    privileges: bool,
) -> str:
    """Return the text of the configuration file.

    ``extra`` is Lua for the global section, for a single scene. ``component`` is its domain, its secret and its port.
    ``privileges`` let it act for users: mod_privilege is in Debian's package prosody-modules.
    """
    privilege = ["privilege"] if privileges else []
    enabled = [*MODULES, *modules, *privilege, "tap", *(["limits"] if limits else [])]
    ssl = f"ssl = {{ key = {quote(str(key))}, certificate = {quote(str(chain))}, cafile = {quote(str(layout.ca))} }}"
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
        *federated(s2s_port, peer),
        'storage = "internal"',
        'authentication = "internal_plain"',
        "c2s_require_encryption = true",
        "allow_registration = false",
        DEBIAN_LIMITS if limits else "",
        f"network_backend = {quote(network_backend)}" if network_backend else "",
        extra,
        f"component_ports = {{ {component[2]} }}",
        'component_interfaces = { "127.0.0.1" }',
        f"VirtualHost {quote(domain)}",
        ssl,
        *([PRIVILEGES.format(quote(component[0]))] if privileges else []),
        f"Component {quote(component[0])}",
        f"component_secret = {quote(component[1])}",
        ssl,
        'modules_enabled = { "privilege" }' if privileges else "",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def write_accounts(
    data: Path, domain: str, accounts: Mapping[str, str], contacts: Mapping[str, Collection[str]]
) -> None:
    """Write passwords (by name) and rosters (bare JIDs by name, subscribed both ways)."""
    host = data / storage_name(domain)
    for store in ("accounts", "roster"):
        (host / store).mkdir(parents=True)
    for name, password in accounts.items():
        file = storage_name(name) + ".dat"
        (host / "accounts" / file).write_text(f"return {{ password = {quote(password)} }};\n")
        items = "".join(f'  [{quote(jid)}] = {{ subscription = "both"; groups = {{}}; }};\n' for jid in contacts[name])
        (host / "roster" / file).write_text(f"return {{\n  [false] = {{ version = 1 }};\n{items}}};\n")

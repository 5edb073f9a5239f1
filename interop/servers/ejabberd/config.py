"""The configuration of ejabberd. The YAML is written as JSON, which is valid YAML and needs no quoting rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from interop.servers import daemon

Options: TypeAlias = dict[str, object]

MODULES: Mapping[str, Options] = {
    "mod_roster": {"versioning": True},
    "mod_disco": {},
    "mod_ping": {},
    "mod_caps": {},
    "mod_stream_mgmt": {"resend_on_timeout": "if_offline"},
    "mod_carboncopy": {},
    "mod_pubsub": {"plugins": ["flat", "pep"]},
    "mod_privacy": {},
    "mod_blocking": {},
    "mod_offline": {},
}
"""The modules that Debian enables and our plugin can meet, as on Prosody. None opens a port or registers accounts."""
ARCHIVE: Options = {"default": "always"}
"""Let mod_mam archive everything (XEP-0313)."""
PRIVILEGES: Options = {"message": {"outgoing": "all"}}
"""Let components, which alone ask for it, write for users (XEP-0356). Rosters it would let them change, too, but ejabberd 23.01
looks for the options of mod_roster at the domain of the component then, and crashes."""
MAX_STANZA = {"ejabberd_c2s": 262_144, "ejabberd_s2s_in": 524_288, "ejabberd_service": 524_288}
"""Maximum stanza size in bytes, by listener. This and the next two are as in /etc/ejabberd/ejabberd.yml of Debian 12."""
DEBIAN_SHAPERS: Options = {"normal": {"rate": 3_000, "burst_size": 20_000}, "fast": 200_000}
"""Bytes per second from a client (normal) and from another server (fast)."""
DEBIAN_LIMITS: Mapping[str, Options] = {"mod_pres_counter": {"count": 5, "interval": 60}}
"""At most five subscriptions a minute."""


class Layout(daemon.Layout):
    """The files of one ejabberd."""

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "ejabberd.yml"

    @property
    def data(self) -> Path:
        """Mnesia's folder, with everything stored."""
        return self.root / "mnesia"

    @property
    def log(self) -> Path:
        """Its output, which includes its log and earlier errors."""
        return self.console

    @property
    def copy(self) -> Path:
        """ejabberd's own copy of the log."""
        return self.root / "ejabberd.log"

    @property
    def resolver(self) -> Path:
        """The configuration of Erlang's resolver."""
        return self.root / "inetrc"


def configuration(
    layout: Layout,
    *,
    domain: str,
    port: int,
    s2s_port: int | None,
    certificates: Collection[Path],
    accounts: Mapping[str, str],
    contacts: Mapping[str, Collection[str]],
    modules: Mapping[str, Options],
    limits: bool,
    benchmark: bool,
    component: tuple[str, str, int],
) -> str:
    """Return the text of the configuration file.

    mod_tap creates ``accounts`` and ``contacts``. ``component`` is its domain, its secret and its port. ``benchmark`` needs no
    TLS, and lets mod_tap record nothing.
    """
    name, secret, its_port = component
    listeners = [
        _listener("ejabberd_c2s", port, starttls_required=not benchmark, shaper="c2s_shaper"),
        _listener("ejabberd_service", its_port, shaper="none", hosts={name: {"password": secret}}),
    ]
    if s2s_port is not None:
        listeners.append(_listener("ejabberd_s2s_in", s2s_port, shaper="s2s_shaper"))
    tap = {"file": str(layout.tap), "record": not benchmark, "accounts": accounts, "contacts": contacts}
    settings = {
        "hosts": [domain],
        "loglevel": "info",
        "certfiles": [str(path) for path in certificates],
        "ca_file": str(layout.ca),
        "listen": listeners,
        "auth_password_format": "plain",
        "disable_sasl_mechanisms": ["digest-md5", "X-OAUTH2"],
        "s2s_use_starttls": "required",
        # Without federation it talks to no other server and no name server.
        "s2s_access": "all" if s2s_port is not None else "none",
        "outgoing_s2s_families": ["ipv4"],
        # By default it answers for up to five minutes after a lost connection that the other server cannot be reached.
        "s2s_max_retry_delay": 2,
        "shaper": DEBIAN_SHAPERS,
        "shaper_rules": {
            "c2s_shaper": "normal" if limits else "none",
            "s2s_shaper": "fast" if limits else "none",
            "max_user_sessions": 10,
        },
        # Without mod_s2s_dialback, servers authenticate by certificates only.
        "modules": {**MODULES, **(DEBIAN_LIMITS if limits else {}), **modules, "mod_tap": tap},
    }
    return json.dumps(settings, indent=1, ensure_ascii=False) + "\n"


def resolver(name_server: int | None) -> str:
    """Return the configuration of Erlang's resolver: only the DNS server on this port of 127.0.0.1, or none."""
    server = "" if name_server is None else f"{{nameserver, {{127,0,0,1}}, {name_server}}}.\n"
    return '{resolv_conf, ""}.\n{hosts_file, ""}.\n{lookup, [dns]}.\n' + server


def _listener(module: str, port: int, **options: object) -> Options:
    return {"port": port, "ip": "127.0.0.1", "module": module, "max_stanza_size": MAX_STANZA[module], **options}

"""ejabberd as a child process, with a temporary folder, free ports on 127.0.0.1 and its own domain.

    async with Ejabberd("e.test", {"bob": "secret"}) as server:
        server.connect(client)        # STARTTLS, verified against server.ca_file
        ...
        assert "hello" in server.handled()[-1].text

Erlang runs it directly, without ejabberdctl and without a node name, so that no epmd outlives it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from interop.servers.ca import Authority
from interop.servers.daemon import ACCOUNTS, COMPONENT_SECRET, Daemon, ServerOptions
from interop.servers.ejabberd.config import ARCHIVE, PRIVILEGES, Layout, Options, configuration, resolver
from interop.servers.process import ServerFailed, program
from interop.servers.setup import Setup

BOOT = (
    "[Source] = init:get_plain_arguments(),"
    "{ok, Module, Code} = compile:file(Source, [binary, report]),"
    "{module, Module} = code:load_binary(Module, Source, Code),"
    "ejabberd:start()."
)
"""Compile mod_tap in the same Erlang, which takes 0.3 s; erlc would start a second one."""
QUIET = ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")
"""Erlang's schedulers must not spin while they wait: the cores are for the tests."""

LIBRARIES = Path("/usr/lib")
"""Debian's ejabberd is below it, in the folder of the machine's architecture."""


def libraries() -> Path:
    """Return the folder of Debian's ejabberd application, which Erlang does not find by itself."""
    found = sorted(LIBRARIES.glob("*/ejabberd-*/ebin/ejabberd.app"))
    if not found:
        raise ServerFailed("ejabberd is not installed. See interop/servers/install.sh (Debian package ejabberd).")
    return found[-1].parents[2]


class Ejabberd(Daemon):
    """One server. Use it as an async context manager. Each use begins with empty storage and, by default, a new
    authority."""

    name = "ejabberd"

    def __init__(
        self,
        domain: str = "e.test",
        accounts: Mapping[str, str] = ACCOUNTS,
        *,
        modules: Mapping[str, Options] | None = None,
        name_server: int | None = None,
        benchmark: bool = False,
        **options: Unpack[ServerOptions],
    ) -> None:
        """``accounts`` maps names to passwords. ``modules`` are loaded in addition to `config.MODULES`, with their
        options. ``name_server`` is the port of a DNS server on 127.0.0.1: the server federates with the domains that
        it knows, and both sides need certificates of one ``authority``. Debian's ``limits`` are 3 kB/s from a client.
        ``benchmark`` lets clients in without TLS, and keeps no log of stanzas, which costs time."""
        super().__init__(domain, accounts, federated=name_server is not None, **options)
        self._modules = modules or {}
        self._name_server = name_server
        self._benchmark = benchmark

    @classmethod
    def of(cls, setup: Setup, **more: Any) -> Self:
        """Create the server for a scene."""
        modules = {"mod_mam": ARCHIVE} if setup.archive else {}
        if setup.privileges:
            modules["mod_privilege"] = PRIVILEGES
        return cls(friends=setup.friends, modules=modules, limits=setup.limits, **more)

    @property
    def _layout(self) -> Layout:
        return Layout(self._root)

    def _write(self, authority: Authority, contacts: Mapping[str, Collection[str]]) -> Sequence[str]:
        layout = self._layout
        key, chain = authority.issue(self.domain, self.component).write(layout.root, "domain")
        layout.resolver.write_text(resolver(self._name_server))
        layout.config.write_text(
            configuration(
                layout,
                domain=self.domain,
                port=self.port,
                s2s_port=self.s2s_port,
                certificates=[key, chain],
                accounts=self.accounts,
                contacts=contacts,
                modules=self._modules,
                limits=self._limits,
                benchmark=self._benchmark,
                component=(self.component, COMPONENT_SECRET, self.component_port),
            ),
            encoding="utf-8",
        )
        source = Path(__file__).with_name("mod_tap.erl")
        # An Erlang term. We chose the folder's name, so it needs no escapes.
        storage = f'"{layout.data}"'
        return (
            *(program("erl", "ejabberd"), *QUIET, "-noinput", "-mnesia", "dir", storage),
            *("-eval", BOOT, "-extra", str(source)),
        )

    def _environment(self) -> Mapping[str, str]:
        layout = self._layout
        return {
            "ERL_LIBS": str(libraries()),
            "ERL_INETRC": str(layout.resolver),
            "ERL_CRASH_DUMP_SECONDS": "0",
            "EJABBERD_CONFIG_PATH": str(layout.config),
            "EJABBERD_LOG_PATH": str(layout.copy),
            # A folder without translations: reading all of them takes a fifth of the start.
            "EJABBERD_MSGS_PATH": str(layout.root),
            "HOME": str(layout.root),
        }

    def _complains_of(self, port: int) -> bool:
        # Erlang breaks terms into lines anywhere.
        log = "".join(self._layout.log.read_text(errors="replace").split())
        return f"{{failed_to_start_child,{{{port},{{127,0,0,1}},tcp}},eaddrinuse}}" in log

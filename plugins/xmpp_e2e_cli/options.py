"""Options and arguments that several commands share, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from slixmpp_e2e.errors import ConfigError
from slixmpp_e2e.settings import accept_from
from xmpp_e2e.types import TrustModel
from xmpp_e2e_cli.errors import UsageError

ACCOUNT_HELP = "Your own account [env: XMPP_E2E_JID; else the only one]."
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, one object per line.")]
Account: TypeAlias = Annotated[
    str | None,
    typer.Option("--account", "--from", "--jid", metavar="JID", help=ACCOUNT_HELP, show_default=False),
]
OwnJid: TypeAlias = Annotated[str | None, typer.Argument(metavar="JID", help=ACCOUNT_HELP, show_default=False)]
Peer: TypeAlias = Annotated[str, typer.Argument(metavar="JID", help="The peer's address.", show_default=False)]
Key: TypeAlias = Annotated[str, typer.Argument(metavar="SHA256:…", help="The key's fingerprint.", show_default=False)]
Host: TypeAlias = Annotated[str | None, typer.Option(help="The server's name or IP address, instead of DNS.")]
Port: TypeAlias = Annotated[int | None, typer.Option(min=1, max=65535, help="The server's port.", show_default=False)]
CaFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="Trust these certificate authorities (PEM) instead of the system's.", show_default=False)
]
DirectTls: TypeAlias = Annotated[bool, typer.Option("--direct-tls", help="Direct TLS, not STARTTLS; with --host or --port.")]
Plaintext: TypeAlias = Annotated[bool, typer.Option("--plaintext-loopback", hidden=True)]
PasswordFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Read the password from this file [else env: XMPP_E2E_PASSWORD, keyring, prompt].", show_default=False),
]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Read the store's passphrase from it [else env: XMPP_E2E_PASSPHRASE, prompt].", show_default=False),
]
BackupPassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Read the backup's passphrase from it [else env: XMPP_E2E_BACKUP_PASSPHRASE, prompt].", show_default=False
    ),
]
SecretFile: TypeAlias = Annotated[
    Path | None, typer.Option("--file", help="Read it from the first line of this file.", show_default=False)
]
TrustFile: TypeAlias = Annotated[Path | None, typer.Option(help="A trust file, with rules for each peer.", show_default=False)]
Model: TypeAlias = Annotated[TrustModel, typer.Option("--trust-model", help="What must be verified before anything is sent.")]
Timeout: TypeAlias = Annotated[float, typer.Option(min=1.0, help="Seconds to wait for each answer of the peer.")]
Verbose: TypeAlias = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show how far a long message has come, also without a terminal.")
]


def parse_accept_from(words: list[str] | None) -> str | frozenset[str]:
    """Return the plugin's setting ``accept_from``: ``roster``, ``anyone``, or JIDs and domains. Raises UsageError."""
    groups = {"roster", "anyone"}.intersection(words or ())
    if words and groups and len(words) > 1:
        raise UsageError("--accept-from takes `roster`, `anyone` or JIDs, and no mixture of these")
    try:
        return accept_from(groups.pop() if groups else words or None, component=False)
    except ConfigError as error:
        raise UsageError(f"--accept-from: {error}") from None

"""What options and arguments mean, once for all commands: the names of their types, and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from xmpp_e2e.identity import TrustModel
from xmpp_e2e_cli import account
from xmpp_e2e_cli.codes import UsageProblem

WHOSE = "Your own account [env: XMPP_E2E_JID; else the only one]."
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object a line.")]
Account: TypeAlias = Annotated[
    str | None,
    typer.Option("--account", "--from", "--jid", metavar="JID", help=WHOSE, show_default=False),
]
OwnJid: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="JID", help=WHOSE, show_default=False)
]
Peer: TypeAlias = Annotated[str, typer.Argument(metavar="JID", help="The peer's address.", show_default=False)]
Key: TypeAlias = Annotated[str, typer.Argument(metavar="SHA256:…", help="The key's fingerprint.", show_default=False)]
Host: TypeAlias = Annotated[str | None, typer.Option(help="The server's name or number, if not as DNS says.")]
Port: TypeAlias = Annotated[int | None, typer.Option(min=1, max=65535, help="The server's port.", show_default=False)]
CaFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="Believe these authorities (PEM) in place of the system's.", show_default=False)
]
DirectTls: TypeAlias = Annotated[bool, typer.Option("--direct-tls", help="With --host or --port: TLS at once, not STARTTLS.")]
Plaintext: TypeAlias = Annotated[bool, typer.Option("--plaintext-loopback", hidden=True)]
PasswordFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Read the password from this file [else env: XMPP_E2E_PASSWORD, keyring, prompt].", show_default=False),
]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Read the store's passphrase from it [else env: XMPP_E2E_PASSPHRASE, prompt].", show_default=False),
]
SecretFile: TypeAlias = Annotated[
    Path | None, typer.Option("--file", help="Read it from the first line of this file.", show_default=False)
]
TrustFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="What you want of whom, written down (docs/policy.md).", show_default=False)
]
Model: TypeAlias = Annotated[TrustModel, typer.Option("--trust-model", help="What must be proved before anything flows.")]
Timeout: TypeAlias = Annotated[float, typer.Option(min=1.0, help="Seconds to wait for each of the peer's answers.")]


def accept_from(words: list[str] | None) -> str | list[str]:
    """The plugin's ``accept_from``: ``roster``, ``anyone``, or a list of JIDs and domains."""
    if not words:
        return "roster"
    if len(words) == 1 and words[0] in ("roster", "anyone"):
        return words[0]
    if {"roster", "anyone"} & set(words):
        raise UsageProblem("--accept-from takes `roster`, or `anyone`, or JIDs: not one together with another")
    return [account.parse_jid(word).bare if "@" in word else word for word in words]

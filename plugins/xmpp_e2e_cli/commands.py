"""The commands about peers and files: ``trust`` manages keys, ``psk`` and ``password`` share a secret, ``config`` checks files,
``backup`` and ``restore`` copy the store, ``identity`` replaces or deletes the account's own key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e_cli import account, cmd_backup, cmd_identity, cmd_keys, cmd_secrets, cmd_send, cmd_verify, connection, output
from xmpp_e2e_cli.cmd_verify import VerificationMethod
from xmpp_e2e_cli.options import (
    Account,
    BackupPassphraseFile,
    CaFile,
    DirectTls,
    Host,
    Json,
    Key,
    PassphraseFile,
    PasswordFile,
    Peer,
    Plaintext,
    Port,
    SecretFile,
    Timeout,
)
from xmpp_e2e_cli.output import Output
from xmpp_e2e_cli.prompts import TerminalUser

trust = typer.Typer(
    short_help="Show, pin, verify, accept and block peers' keys.",
    help="Show peers' keys, and decide which ones to trust.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
identity = typer.Typer(
    short_help="Replace or delete your own key.",
    help="Give up your own key, for a new one or for good.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
psk = typer.Typer(
    short_help="Share generated keys with peers.",
    help="Share generated keys with peers. Such a key verifies the peer before anything is sent.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
config = typer.Typer(
    short_help="Check trust files.",
    help="Check trust files: the rules of programs that run unattended.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


# --- the store -------------------------------------------------------------------------------------------------------


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    own: Account = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    passphrase_file: PassphraseFile = None,
    backup_passphrase_file: BackupPassphraseFile = None,
    json: Json = False,
) -> None:
    """Copy your store, with the key that opens it, to one file that a passphrase seals. Programs may use it meanwhile."""
    out, mine = Output(as_json=json), account.choose(own)
    cmd_backup.back_up(mine, out, file, passphrase_file, backup_passphrase_file, overwrite=overwrite)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` has written.", show_default=False)],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also if the account has a store here, which is moved aside.")
    ] = False,
    backup_passphrase_file: BackupPassphraseFile = None,
    json: Json = False,
) -> None:
    """Make the store of an account from a backup, and print its fingerprint. End the programs that use the account first."""
    cmd_backup.put_back(Output(as_json=json), file, backup_passphrase_file, overwrite=overwrite)


@identity.command(name="rotate")
def identity_rotate(own: Account = None, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Replace your key by a new one. Peers who have verified the old one are told, and take the new one for verified."""
    cmd_identity.rotate(account.choose(own), Output(as_json=json), passphrase_file)


@identity.command(name="delete")
def identity_delete(
    own: Account = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also what you know of peers, and shared secrets.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete your key from this device. End the programs that use the account first. `init` makes a new one."""
    cmd_identity.delete(account.choose(own), Output(as_json=json), everything=everything, confirmed=yes)


# --- trust -----------------------------------------------------------------------------------------------------------


@trust.command(name="list")
def trust_list(own: Account = None, json: Json = False) -> None:
    """List all peers with their keys."""
    cmd_keys.KeyCommands(account.choose(own), Output(as_json=json)).list_keys()


@trust.command(name="show")
def trust_show(peer: Peer, own: Account = None, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Show your own fingerprint and a peer's, to compare."""
    cmd_keys.KeyCommands(account.choose(own), Output(as_json=json), passphrase_file).show_keys(account.parse_jid(peer))


@trust.command(name="pin")
def trust_pin(
    peer: Annotated[
        str, typer.Argument(metavar="JID|URI", help="The peer's address, or the URI of their key.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="SHA256:…", help="The key's fingerprint, or its URI.", show_default=False)
    ] = None,
    own: Account = None,
    json: Json = False,
) -> None:
    """Mark a key as verified, after you have compared it over another channel.

    The peer's `xmpp-e2e fingerprint --uri` prints a URI, xmpp:…; --qr shows it as a QR code."""
    cmd_keys.KeyCommands(account.choose(own), Output(as_json=json)).pin(*cmd_keys.parse_pin(peer, key))


@trust.command(name="verify", short_help="Verify a key while the peer is online.")
def trust_verify(
    peer: Annotated[
        str, typer.Argument(metavar="PEER", help="A JID; a bare one means the peer's first device.", show_default=False)
    ],
    sas: Annotated[bool, typer.Option("--sas", help="Compare a short string that both sides show [default].")] = False,
    password: Annotated[bool, typer.Option("--password", help="Enter a password that both of you know.")] = False,
    key: Annotated[bool, typer.Option("--key", help="Use a key that both of you hold: see psk.")] = False,
    form: Annotated[
        SasForm | None, typer.Option(help="Form of the short string [default: decimal].", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the password from the first line of this file.", show_default=False)
    ] = None,
    own: Account = None,
    timeout: Timeout = 60.0,
    host: Host = None,
    port: Port = None,
    ca_file: CaFile = None,
    direct_tls: DirectTls = False,
    plaintext_loopback: Plaintext = False,
    password_file: PasswordFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Verify a peer's key in a session. The peer has to be online and to take part.

    Afterwards both keys count as verified, on both sides."""
    out, mine, to = Output(as_json=json), account.choose(own), account.parse_jid(peer)
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    options = {VerificationMethod.SAS: sas, VerificationMethod.PASSWORD: password, VerificationMethod.KEY: key}
    chosen = cmd_verify.choose_verification(to, [method for method, named in options.items() if named], form, file)
    settings: dict[str, Any] = {"policy": "require", "accept_from": [], "key_protection": account.unlock(mine, passphrase_file)}
    login = account.password_for(mine, password_file)

    async def verify() -> cmd_send.Delivery:
        out.info(f"logging in as {mine.bare}")
        async with connection.logged_in(mine, login, server, settings | chosen.settings) as (client, e2e):
            return await cmd_verify.verify(client, e2e, to, chosen, TerminalUser(out), timeout, out.info_escaped)

    done = connection.run(verify())
    data = {"account": mine.bare, "peer": done.peer, "assurance": str(done.assurance), "method": chosen.method.value}
    text = f"{output.one_line(done.peer)} [{done.assurance}] {done.fingerprint} by {chosen.method.value}"
    out.result(data | {"fingerprint": str(done.fingerprint)}, text)


@trust.command(name="accept")
def trust_accept(peer: Peer, key: Key, own: Account = None, json: Json = False) -> None:
    """Accept a key that you have not compared, though another key of the peer is verified.

    It is never shown as verified. Without this, nothing is sent to such a key."""
    keys = cmd_keys.KeyCommands(account.choose(own), Output(as_json=json))
    keys.accept(account.parse_jid(peer), cmd_keys.parse_fingerprint(key))


@trust.command(name="block")
def trust_block(peer: Peer, key: Key, own: Account = None, json: Json = False) -> None:
    """Refuse a key until you forget it."""
    keys = cmd_keys.KeyCommands(account.choose(own), Output(as_json=json))
    keys.block(account.parse_jid(peer), cmd_keys.parse_fingerprint(key))


@trust.command(name="forget")
def trust_forget(
    peer: Peer,
    key: Annotated[str | None, typer.Argument(metavar="SHA256:…", help="[default: all keys]", show_default=False)] = None,
    own: Account = None,
    json: Json = False,
) -> None:
    """Forget one key of a peer, or all of them."""
    chosen = cmd_keys.parse_fingerprint(key) if key is not None else None
    cmd_keys.KeyCommands(account.choose(own), Output(as_json=json)).forget(account.parse_jid(peer), chosen)


@trust.command(name="unlock", short_help="Unlock a shared password after wrong guesses.")
def trust_unlock(peer: Peer, own: Account = None, json: Json = False) -> None:
    """Forget the wrong guesses of a shared password, so that it can be tried again."""
    cmd_secrets.SecretCommands(account.choose(own), account.parse_jid(peer), Output(as_json=json)).unlock()


@config.command(name="check", short_help="Check a trust file.")
def config_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trust file (docs/reference).", show_default=False)],
    json: Json = False,
) -> None:
    """Check that a trust file and all files that it names can be used. Print the line and the reason if not."""
    cmd_keys.check_trust_file(file, Output(as_json=json))


# --- shared secrets --------------------------------------------------------------------------------------------------


@psk.command(name="new", short_help="Create a key and print it; with a JID, store it too.")
def psk_new(
    peer: Annotated[str | None, typer.Argument(metavar="JID", help="Store it for this peer.", show_default=False)] = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Create a key and print it, for you to give to the peer. With a JID, store it for that peer too."""
    out = Output(as_json=json)
    if peer is None:
        cmd_secrets.print_key(out, cmd_secrets.generate_key(), {})
    else:
        cmd_secrets.SecretCommands(account.choose(own), account.parse_jid(peer), out, passphrase_file).create_key()


@psk.command(name="add")
def psk_add(
    peer: Peer,
    file: SecretFile = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Store a key that the peer has created, from a file or standard input."""
    secrets = cmd_secrets.SecretCommands(account.choose(own), account.parse_jid(peer), Output(as_json=json), passphrase_file)
    secrets.add_key(file)


@psk.command(name="forget")
def psk_forget(peer: Peer, own: Account = None, json: Json = False) -> None:
    """Delete the key that you share with a peer."""
    cmd_secrets.SecretCommands(account.choose(own), account.parse_jid(peer), Output(as_json=json)).forget("psk")


def password(
    peer: Peer,
    file: SecretFile = None,
    forget: Annotated[bool, typer.Option("--forget", help="Delete the shared password.")] = False,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Share a password with a peer. It verifies the peer before anything is sent."""
    secrets = cmd_secrets.SecretCommands(account.choose(own), account.parse_jid(peer), Output(as_json=json), passphrase_file)
    if forget:
        secrets.forget("srp")
    else:
        secrets.set_password(file)

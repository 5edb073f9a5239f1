"""The commands about peers: ``trust`` decides about keys, ``psk`` and ``password`` share a secret, ``config`` checks files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e_cli import account, connection, sending, sharing, show, trusting, verifying
from xmpp_e2e_cli.asking import Person
from xmpp_e2e_cli.options import (
    Account,
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
from xmpp_e2e_cli.show import Output
from xmpp_e2e_cli.verifying import Method

trust = typer.Typer(
    short_help="See and decide which keys are whose.",
    help="What is remembered of peers' keys, and what you decide about them.", no_args_is_help=True, rich_markup_mode=None
)
psk = typer.Typer(
    short_help="Generated keys that you share with peers.",
    help="Generated keys that you share with peers: each proves the peer before anything flows.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


config = typer.Typer(
    short_help="Check what is written down for programs.",
    help="What is written down for programs that nobody watches.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


# --- trust -----------------------------------------------------------------------------------------------------------


@trust.command(name="list")
def trust_list(own: Account = None, json: Json = False) -> None:
    """Every peer of whom a key is remembered, with all keys."""
    trusting.Trusting(account.choose(own), Output(as_json=json)).overview()


@trust.command(name="show")
def trust_show(peer: Peer, own: Account = None, passphrase_file: PassphraseFile = None, json: Json = False) -> None:
    """Your own fingerprint and a peer's, to compare."""
    trusting.Trusting(account.choose(own), Output(as_json=json), passphrase_file).compare(account.parse_jid(peer))


@trust.command(name="pin")
def trust_pin(
    peer: Annotated[
        str, typer.Argument(metavar="JID|URI", help="The peer's address; or the URI of his key.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="SHA256:…", help="The key's fingerprint; or its URI.", show_default=False)
    ] = None,
    own: Account = None,
    json: Json = False,
) -> None:
    """This key is the peer's: you have compared it by another way. It counts as verified.

    A URI, xmpp:…, is what `xmpp-e2e fingerprint --uri` prints at the peer's, and --qr shows."""
    trusting.Trusting(account.choose(own), Output(as_json=json)).pin(*trusting.to_pin(peer, key))


@trust.command(name="verify", short_help="Prove a key while its owner is online.")
def trust_verify(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A JID; a bare one means his first device.", show_default=False)],
    sas: Annotated[bool, typer.Option("--sas", help="Both see the same numbers, and compare them [default].")] = False,
    password: Annotated[bool, typer.Option("--password", help="Both know the same password, asked for now.")] = False,
    key: Annotated[bool, typer.Option("--key", help="Both hold the same key: see psk.")] = False,
    form: Annotated[Form | None, typer.Option(help="What to compare [default: decimal].", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="The password is the first line of this file.", show_default=False)
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
    """Prove a peer's key in a session with him: he is online, and takes part.

    Both keys are verified from then on, on both sides."""
    out, mine, whom = Output(as_json=json), account.choose(own), account.parse_jid(peer)
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    options = {Method.SAS: sas, Method.PASSWORD: password, Method.KEY: key}
    wanted = verifying.proof(whom, [method for method, named in options.items() if named], form, file)
    settings: dict[str, Any] = {"policy": "require", "accept_from": [], "seal": account.unlocked(mine, passphrase_file)}
    login = account.password_for(mine, password_file)

    async def verify() -> sending.Delivered:
        person = Person.at_terminal(out)
        client = connection.make_client(mine, login, server, settings | wanted.settings)
        out.tell(f"logging in as {mine.bare}")
        async with connection.online(client, server) as e2e:
            return await verifying.verify(client, e2e, whom, wanted, person, timeout, out.tell_plainly)

    done = asyncio.run(verify())
    data = {"account": mine.bare, "peer": done.peer, "assurance": str(done.assurance), "method": wanted.method.value}
    text = f"{show.one_line(done.peer)} [{done.assurance}] {done.fingerprint} by {wanted.method.value}"
    out.result(data | {"fingerprint": str(done.fingerprint)}, text)


@trust.command(name="block")
def trust_block(peer: Peer, key: Key, own: Account = None, json: Json = False) -> None:
    """Refuse this key for good."""
    trusting.Trusting(account.choose(own), Output(as_json=json)).block(account.parse_jid(peer), trusting.fingerprint_of(key))


@trust.command(name="forget")
def trust_forget(
    peer: Peer,
    key: Annotated[str | None, typer.Argument(metavar="SHA256:…", help="[default: all of his]", show_default=False)] = None,
    own: Account = None,
    json: Json = False,
) -> None:
    """Forget one key of a peer, or all of them: he is met anew."""
    chosen = trusting.fingerprint_of(key) if key is not None else None
    trusting.Trusting(account.choose(own), Output(as_json=json)).forget(account.parse_jid(peer), chosen)


@trust.command(name="unlock", short_help="Forget wrong guesses of a shared password.")
def trust_unlock(peer: Peer, own: Account = None, json: Json = False) -> None:
    """Forget wrong guesses of the password that you share with a peer: it is tried again."""
    sharing.Sharing(account.choose(own), account.parse_jid(peer), Output(as_json=json)).unlock()


@config.command(name="check", short_help="Can this trust file be used?")
def config_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trust file (docs/policy.md).", show_default=False)],
    json: Json = False,
) -> None:
    """Can this trust file be used, with all that it names? If not: which line, and why."""
    trusting.check_file(file, Output(as_json=json))


# --- secrets that are shared -----------------------------------------------------------------------------------------


@psk.command(name="new", short_help="Make a key and print it; with a JID, store it, too.")
def psk_new(
    peer: Annotated[str | None, typer.Argument(metavar="JID", help="Store it for this peer.", show_default=False)] = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a key and print it, for you to take to the peer; with a JID it is stored for him, too."""
    out = Output(as_json=json)
    if peer is None:
        sharing.tell_key(out, sharing.new_key(), {})
    else:
        sharing.Sharing(account.choose(own), account.parse_jid(peer), out, passphrase_file).make_key()


@psk.command(name="add")
def psk_add(
    peer: Peer,
    file: SecretFile = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Store a key that the peer has made, from a file or standard input."""
    sharing.Sharing(account.choose(own), account.parse_jid(peer), Output(as_json=json), passphrase_file).add_key(file)


@psk.command(name="forget")
def psk_forget(peer: Peer, own: Account = None, json: Json = False) -> None:
    """Share no key with a peer any more."""
    sharing.Sharing(account.choose(own), account.parse_jid(peer), Output(as_json=json)).forget("psk")


def password(
    peer: Peer,
    file: SecretFile = None,
    forget: Annotated[bool, typer.Option("--forget", help="Share none any more.")] = False,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Share a password with a peer, asked for twice: it proves him before anything flows."""
    shared = sharing.Sharing(account.choose(own), account.parse_jid(peer), Output(as_json=json), passphrase_file)
    if forget:
        shared.forget("srp")
    else:
        shared.set_password(file)

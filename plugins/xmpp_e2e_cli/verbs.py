"""The commands about a peer: ``trust`` decides about his keys, ``psk`` and ``password`` share a secret with him."""

from __future__ import annotations

from typing import Annotated

import typer

from xmpp_e2e_cli import account, sharing, trusting
from xmpp_e2e_cli.options import Account, Json, Key, PassphraseFile, Peer, SecretFile
from xmpp_e2e_cli.show import Output

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


@trust.command(name="unlock")
def trust_unlock(peer: Peer, own: Account = None, json: Json = False) -> None:
    """Forget wrong guesses of the password that you share with a peer: it is tried again."""
    sharing.Sharing(account.choose(own), account.parse_jid(peer), Output(as_json=json)).unlock()


# --- secrets that are shared -----------------------------------------------------------------------------------------


@psk.command(name="new")
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

"""Define the command line. Every error becomes an exit code here."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from slixmpp_e2e.policy import Policy
from slixmpp_e2e.trust.own_key import load_own_key
from slixmpp_e2e.trust.trust_uri import build_trust_uri
from xmpp_e2e.errors import E2EError
from xmpp_e2e.key_decision import OnKeyChange
from xmpp_e2e.types import TrustModel
from xmpp_e2e_cli import account, cmd_listen, cmd_protection, cmd_send, commands, connection, demo, options, output, prompts
from xmpp_e2e_cli.cmd_protection import Protection
from xmpp_e2e_cli.demo import ServerKind
from xmpp_e2e_cli.errors import UsageError
from xmpp_e2e_cli.exit_codes import ExitCode, exit_code_of
from xmpp_e2e_cli.options import (
    Account,
    CaFile,
    DirectTls,
    Host,
    Json,
    Model,
    OwnJid,
    PassphraseFile,
    PasswordFile,
    Plaintext,
    Port,
    Timeout,
    TrustFile,
    Verbose,
)
from xmpp_e2e_cli.output import Output

STDIN_BYTES = 1024 * 1024
"""Maximum size of a message. A message is one stanza: more input is a mistake."""
_CLICK_USAGE = 2
"""The exit code of typer for a wrong command line."""

EPILOG = (
    "Exit codes: 0 ok, 1 usage, 2 bug, 3 network or server, 4 untrusted or changed key, 5 verification refused, "
    "6 peer offline or without E2E, 7 refused by policy."
)
app = typer.Typer(
    help="End-to-end encryption for XMPP, between two clients. Begin with: xmpp-e2e demo",
    epilog=EPILOG,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run(words: list[str]) -> int:
    """Run a command line and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal cannot show must not end the program
    out = Output(as_json="--json" in words)
    # The commands print errors and events themselves: no log goes to the terminal.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(words, prog_name="xmpp-e2e")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        return int(ExitCode.USAGE) if code == _CLICK_USAGE else code
    except E2EError as error:
        out.error(error)
        if exit_code_of(error) is ExitCode.UNTRUSTED and not out.as_json and len(account.initialized_accounts()) > 1:
            out.info("  There are several accounts here: add --account JID to the command.")
        return int(exit_code_of(error))
    except Exception:  # the outermost handler: anything else is a bug
        traceback.print_exc()
        out.info("This is a bug in xmpp-e2e. Please report it, with the lines above.")
        return int(ExitCode.BUG)
    return int(ExitCode.OK)


@app.command(name="demo", short_help="Watch a demonstration: Alice, Bob, and a server that attacks.")
def demo_command(
    server: Annotated[
        ServerKind, typer.Option(help="The embedded server, or a real Prosody (in a checkout only).")
    ] = ServerKind.LOOPBACK,
) -> None:
    """Alice and Bob talk through a server that reads along, and then attacks. Needs no account and no root; leaves no files."""
    asyncio.run(demo.run(server))


@app.command(short_help="Create a key for your account on this device.")
def init(
    jid: Annotated[str, typer.Argument(metavar="JID", help="Your own account.", show_default=False)],
    protection: Annotated[
        Protection | None, typer.Option(help="What protects the key [default: key-file].", show_default=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Create a key for your account on this device. Needs no password and no network. A second run changes nothing."""
    out, mine = Output(as_json=json), account.choose(jid)
    store, fingerprint, existed = account.make_store(mine, protection, passphrase_file)
    with closing(store):
        notice, path, kind = store.key_notice, str(store.path), store.protection_kind()
    data = {"account": mine.bare, "fingerprint": str(fingerprint), "created": not existed, "store": path}
    data |= {"protection": kind, "notice": notice}
    out.result(data, str(fingerprint))
    if existed:
        out.info(f"{mine.bare} has this key already; nothing has changed.")
        return
    out.info(f"This is the fingerprint of {mine.bare} on this device. Peers compare it and pin it.\n{notice}")


@app.command(short_help="Print the fingerprint of your own key.")
def fingerprint(
    jid: OwnJid = None,
    uri: Annotated[bool, typer.Option("--uri", help="Print a URI, which names the account too.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Print a QR code of the URI too, for a dark terminal.")] = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Print the fingerprint of your own key, for peers to compare and pin."""
    out, mine = Output(as_json=json), account.choose(jid)
    with closing(account.open_store(mine, passphrase_file)) as store:
        own = load_own_key(store).fingerprint
    link = build_trust_uri(mine.bare, own)
    lines = [link if uri else str(own), *([output.qr_code(link)] if qr else [])]
    out.result({"account": mine.bare, "fingerprint": str(own), "uri": link}, *lines)


@app.command(name="protection", short_help="Show or change what protects your key.")
def protection_command(
    kind: Annotated[Protection | None, typer.Argument(metavar="[key-file|keyring|passphrase]", show_default=False)] = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Read the new passphrase from it [else env: XMPP_E2E_NEW_PASSPHRASE, prompt].", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show what protects the private key and the secrets in your store, or change it.

    A change happens as a whole or not at all, and deletes the old protection key."""
    out, mine = Output(as_json=json), account.choose(own)
    with closing(account.open_store(mine, passphrase_file)) as store:
        current = cmd_protection.protection_of(mine) or Protection.KEY_FILE
        if kind is None:
            cmd_protection.show(mine, out, current)
        else:
            cmd_protection.change(store, mine, out, current, kind, new_passphrase_file)


@app.command(short_help="Print messages as they arrive; echo them.")
def listen(
    jid: OwnJid = None,
    echo: Annotated[bool, typer.Option("--echo", help="Send every message back to its sender.")] = False,
    accept_from: Annotated[
        list[str] | None,
        typer.Option(metavar="roster|anyone|JID…", help="Who may open sessions; repeatable [default: roster]."),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Policy: `opportunistic` answers plaintext in plaintext, `require` refuses it [default: prefer; with"
            " server-untrusted: require].",
            show_default=False,
        ),
    ] = None,
    trust_model: Model = TrustModel.SERVER_AUTHENTICATES,
    on_key_change: Annotated[OnKeyChange, typer.Option(help="The reaction to a peer's new key.")] = OnKeyChange.BY_TRUST_MODEL,
    trust_file: TrustFile = None,
    host: Host = None,
    port: Port = None,
    ca_file: CaFile = None,
    direct_tls: DirectTls = False,
    plaintext_loopback: Plaintext = False,
    password_file: PasswordFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Print messages as they arrive, each with its assurance, until Ctrl-C or SIGTERM. Plaintext messages are marked [none].

    When the server is lost, it logs in again by itself."""
    out, mine = Output(as_json=json), account.choose(jid)
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    accept = options.parse_accept_from(accept_from)
    settings: dict[str, Any] = {
        "policy": policy and policy.value,
        "trust_model": trust_model.value,
        "on_key_change": on_key_change.value,
        "accept_from": accept,
    }
    settings["key_protection"], settings["trust_file"] = account.unlock(mine, passphrase_file), trust_file
    password = account.password_for(mine, password_file)

    async def run_listener() -> None:
        settings["disconnect_seconds"] = cmd_listen.FLUSH_SECONDS
        async with connection.logged_in(mine, password, server, settings | prompts.prompt_settings(out)) as (client, e2e):
            await cmd_listen.Listener(client, out, echo=echo, accept=accept).run(e2e, server)

    asyncio.run(run_listener())


@app.command(short_help="Send one message, encrypted or not at all.")
def send(
    peer: Annotated[
        str, typer.Argument(metavar="PEER", help="A JID; a bare one means all the peer's devices.", show_default=False)
    ],
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="The text [else: standard input].", show_default=False)
    ] = None,
    own: Account = None,
    trust_model: Model = TrustModel.SERVER_AUTHENTICATES,
    trust_file: TrustFile = None,
    subscribe: Annotated[bool, typer.Option("--subscribe", help="Ask the peer to share their presence with you.")] = False,
    timeout: Timeout = 60.0,
    verbose: Verbose = False,
    host: Host = None,
    port: Port = None,
    ca_file: CaFile = None,
    direct_tls: DirectTls = False,
    plaintext_loopback: Plaintext = False,
    password_file: PasswordFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Send one message, encrypted or not at all (policy `require`), and wait until the peer has acknowledged it."""
    out, mine, to = Output(as_json=json, verbose=verbose), account.choose(own), account.parse_jid(peer)
    if trust_model is TrustModel.SERVER_TRUSTED:
        raise UsageError("server-trusted means plaintext, but this command sends encrypted or not at all")
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    # Nobody needs to open a session with us meanwhile: answers arrive through our own session.
    settings: dict[str, Any] = {"policy": Policy.REQUIRE.value, "trust_model": trust_model.value, "accept_from": []}
    settings["key_protection"], settings["trust_file"] = account.unlock(mine, passphrase_file), trust_file
    password = account.password_for(mine, password_file)
    body = _body(message, out)
    outgoing = cmd_send.Message(to, body, timeout, subscribe, can_ask=prompts.has_terminal())

    async def run_send() -> list[cmd_send.Delivery]:
        out.info(f"logging in as {mine.bare}")
        async with connection.logged_in(mine, password, server, settings | prompts.prompt_settings(out)) as (client, e2e):
            return await cmd_send.deliver(client, e2e, outgoing, out.info_escaped, out.carried)

    delivered = connection.run(run_send())
    data = [{"peer": one.peer, "assurance": str(one.assurance), "fingerprint": str(one.fingerprint)} for one in delivered]
    lines = [f"delivered to {output.one_line(one.peer)} [{one.assurance}] {one.fingerprint}" for one in delivered]
    out.result({"account": mine.bare, "delivered": data}, *lines)


app.command(name="backup", short_help="Copy your store to one sealed file.")(commands.backup)
app.command(name="restore", short_help="Make your store from such a file.")(commands.restore)
app.command(name="password", short_help="Share a password with a peer.")(commands.password)
app.add_typer(commands.identity, name="identity")
app.add_typer(commands.trust, name="trust")
app.add_typer(commands.psk, name="psk")
app.add_typer(commands.config, name="config")


def _body(message: str | None, out: Output) -> str:
    """Return the text to send, from the option or standard input. Raises UsageError if it is empty or too long."""
    if message is None:
        if sys.stdin.isatty():
            out.info("Type the message. End it with Ctrl-D on a line of its own.")
        try:
            message = sys.stdin.buffer.read(STDIN_BYTES + 1).decode()
        except UnicodeDecodeError:
            raise UsageError("standard input is not UTF-8 text") from None
        message = message.removesuffix("\n")
    if not message.strip():
        raise UsageError("there is nothing to send: use -m TEXT, or write the text to standard input")
    if len(message) > STDIN_BYTES:
        raise UsageError(f"the message is longer than {STDIN_BYTES} bytes")
    return message

"""The commands: what each takes from its command line, and whom it asks to do it. Every error becomes an exit code here."""

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

from slixmpp_e2e.trust.trust_uri import key_uri
from xmpp_e2e.errors import E2EError
from xmpp_e2e.identity import TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e_cli import account, asking, connection, demo, listening, options, sealing, sending, show, verbs
from xmpp_e2e_cli.asking import Person
from xmpp_e2e_cli.codes import Exit, UsageProblem, code_of
from xmpp_e2e_cli.demo import Kind
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
)
from xmpp_e2e_cli.sealing import Seal
from xmpp_e2e_cli.show import Output

STDIN_BYTES = 1024 * 1024
"""A message is one stanza, and far smaller; whoever pipes more has piped the wrong thing."""
_CLICK_USAGE = 2
"""With what typer ends when the command line is wrong."""

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
    """Run a command line; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character still gets the rest
    out = Output(as_json="--json" in words)
    # Ours and slixmpp's warnings are told as errors and events; nobody's log goes to the terminal by default.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(words, prog_name="xmpp-e2e")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        return int(Exit.USAGE) if code == _CLICK_USAGE else code
    except E2EError as error:
        out.error(error)
        if code_of(error) is Exit.UNTRUSTED and not out.as_json and len(account.initialised()) > 1:
            out.tell("  There are several accounts here: add --account JID to the command.")
        return int(code_of(error))
    except Exception:  # the edge of the program: a bug is told as one
        traceback.print_exc()
        out.tell("This is a bug in xmpp-e2e: please report it with the lines above.")
        return int(Exit.BUG)
    return int(Exit.OK)


@app.command(name="demo", short_help="See what this is: Alice, Bob, a server that attacks.")
def demo_(
    server: Annotated[Kind, typer.Option(help="Embedded, or a real Prosody (from the repository only).")] = Kind.LOOPBACK,
) -> None:
    """Alice and Bob talk through a server that reads along, and then attacks. No account, no root, nothing left behind."""
    asyncio.run(demo.tell(server))


@app.command(short_help="Make a key for your account on this device.")
def init(
    jid: Annotated[str, typer.Argument(metavar="JID", help="Your own account.", show_default=False)],
    seal: Annotated[Seal | None, typer.Option(help="What protects the key [default: key-file].", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a key for your account on this device. Needs no password and no network; twice does no harm."""
    out, mine = Output(as_json=json), account.parse_jid(jid)
    store, fingerprint, existed = account.make_store(mine, seal, passphrase_file)
    with closing(store):
        notice, path, kind = store.created_notice, str(store.path), store.sealed_with()
    data = {"account": mine.bare, "fingerprint": str(fingerprint), "created": not existed, "store": path}
    data |= {"seal": kind, "notice": notice}
    out.result(data, str(fingerprint))
    if existed:
        out.tell(f"{mine.bare} had this key before; nothing was changed.")
        return
    out.tell(f"This is the fingerprint of {mine.bare} on this device; peers compare it and pin it.\n{notice}")


@app.command(short_help="Print the fingerprint of your own key.")
def fingerprint(
    jid: OwnJid = None,
    uri: Annotated[bool, typer.Option("--uri", help="As a URI, which names the account too.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Also the URI as a QR code, for a terminal with a dark background.")] = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Print the fingerprint of your own key, for peers to compare and pin."""
    out, mine = Output(as_json=json), account.choose(jid)
    with closing(account.open_store(mine, passphrase_file)) as store:
        own = account.own_fingerprint(store)
    link = key_uri(mine.bare, own)
    lines = [link if uri else str(own), *([show.qr(link)] if qr else [])]
    out.result({"account": mine.bare, "fingerprint": str(own), "uri": link}, *lines)


@app.command(name="seal", short_help="See or change what protects your key.")
def seal_(
    kind: Annotated[Seal | None, typer.Argument(metavar="[key-file|keyring|passphrase]", show_default=False)] = None,
    own: Account = None,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="The one to be [else env: XMPP_E2E_NEW_PASSPHRASE, prompt].", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """See what protects the private key and the secrets in your store, or change it: all or nothing, and the old key goes."""
    out, mine = Output(as_json=json), account.choose(own)
    with closing(account.open_store(mine, passphrase_file)) as store:
        present = sealing.kind_of(mine) or Seal.KEY_FILE
        if kind is None:
            sealing.tell(mine, out, present)
        else:
            sealing.change(store, mine, out, present, kind, new_passphrase_file)


@app.command(short_help="Print messages as they come; echo them.")
def listen(
    jid: OwnJid = None,
    echo: Annotated[bool, typer.Option("--echo", help="Answer every message with itself.")] = False,
    accept_from: Annotated[
        list[str] | None,
        typer.Option(metavar="roster|anyone|JID…", help="Who may open sessions; repeat it for several [default: roster]."),
    ] = None,
    policy: Annotated[Policy, typer.Option(help="What to do with messages in clear: `require` refuses them.")] = Policy.PREFER,
    trust_model: Model = TrustModel.SERVER_AUTHENTICATES,
    on_key_change: Annotated[OnKeyChange, typer.Option(help="When a peer shows a new key.")] = OnKeyChange.BY_TRUST_MODEL,
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
    """Print messages as they come, each with its assurance, until Ctrl-C. Messages in clear are marked [none]."""
    out, mine = Output(as_json=json), account.choose(jid)
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    accept = options.accept_from(accept_from)
    settings: dict[str, Any] = {
        "policy": policy.value,
        "trust_model": trust_model.value,
        "on_key_change": on_key_change.value,
        "accept_from": accept,
    }
    settings["seal"], settings["trust_file"] = account.unlocked(mine, passphrase_file), trust_file
    password = account.password_for(mine, password_file)

    async def listening_() -> None:
        person = Person.at_terminal(out)
        client = connection.make_client(mine, password, server, settings | (person.settings if person is not None else {}))
        async with connection.online(client, server) as e2e:
            heard = accept if isinstance(accept, str) else frozenset(accept)
            await listening.Listener(client, out, echo=echo, accept=heard).run(e2e)

    asyncio.run(listening_())


@app.command(short_help="Send one message, encrypted or not at all.")
def send(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A JID; a bare one means all his devices.", show_default=False)],
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="What to send [else: standard input].", show_default=False)
    ] = None,
    own: Account = None,
    trust_model: Model = TrustModel.SERVER_AUTHENTICATES,
    trust_file: TrustFile = None,
    subscribe: Annotated[bool, typer.Option("--subscribe", help="Ask the peer to let you see his presence.")] = False,
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
    """Send one message, encrypted or not at all (policy `require`), and wait until it has really arrived."""
    out, mine, to = Output(as_json=json), account.choose(own), account.parse_jid(peer)
    if trust_model is TrustModel.SERVER_TRUSTED:
        raise UsageProblem("server-trusted means plain XMPP, and this command sends encrypted or not at all")
    server = connection.Server(host, port, ca_file, direct_tls, plaintext_loopback)
    # Nobody has to open a session with us meanwhile: answers come through ours.
    settings: dict[str, Any] = {"policy": Policy.REQUIRE.value, "trust_model": trust_model.value, "accept_from": []}
    settings["seal"], settings["trust_file"] = account.unlocked(mine, passphrase_file), trust_file
    password = account.password_for(mine, password_file)
    body = _body(message, out)
    errand = sending.Errand(to, body, timeout, subscribe, asks=asking.is_there())

    async def sending_() -> list[sending.Delivered]:
        person = Person.at_terminal(out)
        client = connection.make_client(mine, password, server, settings | (person.settings if person is not None else {}))
        out.tell(f"logging in as {mine.bare}")
        async with connection.online(client, server) as e2e:
            return await sending.deliver(client, e2e, errand, out.tell_plainly)

    delivered = asyncio.run(sending_())
    data = [
        {"peer": one.peer, "assurance": str(one.assurance), "fingerprint": str(one.fingerprint)} for one in delivered
    ]
    lines = [f"delivered to {show.one_line(one.peer)} [{one.assurance}] {one.fingerprint}" for one in delivered]
    out.result({"account": mine.bare, "delivered": data}, *lines)




app.command(name="password", short_help="Share a password with a peer.")(verbs.password)
app.add_typer(verbs.trust, name="trust")
app.add_typer(verbs.psk, name="psk")
app.add_typer(verbs.config, name="config")


def _body(message: str | None, out: Output) -> str:
    """What to send; UsageProblem if there is nothing, or too much."""
    if message is None:
        if sys.stdin.isatty():
            out.tell("Type the message, and end it with Ctrl-D on a line of its own.")
        try:
            message = sys.stdin.buffer.read(STDIN_BYTES + 1).decode()
        except UnicodeDecodeError:
            raise UsageProblem("standard input is not UTF-8 text") from None
        message = message.removesuffix("\n")
    if not message.strip():
        raise UsageProblem("there is nothing to send: give -m TEXT, or the text on standard input")
    if len(message) > STDIN_BYTES:
        raise UsageProblem(f"this is more than {STDIN_BYTES} bytes: not a message")
    return message

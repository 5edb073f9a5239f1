"""``xmpp-e2e trust`` and ``config``: show peers' keys, and record what the user decides about them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from rich.text import Text
from slixmpp import JID

from slixmpp_e2e.alarms import held_alarm
from slixmpp_e2e.store import Change, SQLStore
from slixmpp_e2e.store.key_table import ROTATED
from slixmpp_e2e.trust.own_key import load_own_key
from slixmpp_e2e.trust.secrets import PeerSecrets
from slixmpp_e2e.trust.trust_file import parse as trustfile
from slixmpp_e2e.trust.trust_uri import is_trust_uri, parse_keys, parse_trust_uri
from slixmpp_e2e.verification.attempt_limiter import MAX_PASSWORD_ATTEMPTS
from xmpp_e2e.types import Assurance, Fingerprint, KnownKey
from xmpp_e2e_cli import account, output
from xmpp_e2e_cli.errors import UsageError, UsageReason
from xmpp_e2e_cli.output import Output
from xmpp_e2e_cli.password_strength import describe_weakness

SECRET_NAMES = {"psk": "key", "srp": "password"}
"""The name of a shared secret for users, by method."""
PROGRAMS_NOTICE = "Programs with an open session to the peer notice this within about a second."


def parse_fingerprint(text: str) -> Fingerprint:
    """Parse a fingerprint. Raises UsageError."""
    try:
        return Fingerprint.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def parse_pin(peer: str, key: str | None) -> tuple[JID, tuple[Fingerprint, ...]]:
    """Return the peer and the fingerprints to pin. Raises UsageError.

    The arguments are a JID and a fingerprint, a JID and a key URI, or a key URI alone.
    """
    try:
        if key is not None:
            jid = account.parse_jid(peer)
            return jid, parse_keys(key, jid.bare)
        if is_trust_uri(peer):
            bare, keys = parse_trust_uri(peer)
            return JID(bare), keys
    except ValueError as error:
        raise UsageError(str(error)) from None
    raise UsageError(f"missing fingerprint. Usage: trust pin {peer} SHA256:…, or trust pin with a key URI (xmpp:…)")


def format_date(at: float) -> str:
    """Format seconds since the epoch as a local date."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def check_trust_file(path: Path, out: Output) -> None:
    """Check that a trust file can be used, and print a warning for each weak password in it. Raises TrustFileError."""
    rules = trustfile.read_trust_file(path.expanduser(), {})
    for bare, rule in rules.accounts.items():
        if rule.password is not None and (weak := describe_weakness(rule.password, (bare,))):
            out.info(f"the password for {output.one_line(bare)} is weak: {weak}")
    accounts, domains = sorted(rules.accounts), sorted(rules.domains)
    summary = f"{path} is valid: rules for {_counted(len(accounts), 'account')} and {_counted(len(domains), 'domain')}"
    out.result({"file": str(path), "accounts": accounts, "domains": domains}, summary)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _key_lines(keys: tuple[KnownKey, ...], before: Mapping[Fingerprint, Fingerprint], indent: str) -> Iterator[Text]:
    for key in keys:
        yield Text(indent) + output.key_text(key, format_date, before.get(key.fingerprint))


def _predecessors(history: tuple[Change, ...]) -> dict[Fingerprint, Fingerprint]:
    """Return the keys that took the place of others, with those."""
    return {new.fingerprint: old.fingerprint for old, new in pairwise(history) if new.what == ROTATED}


class KeyCommands:
    """The commands for the keys that one account remembers."""

    def __init__(self, mine: JID, out: Output, passphrase_file: Path | None = None) -> None:
        self._mine = mine.bare
        self._passphrase_file = passphrase_file
        self._out = out

    def _store(self) -> closing[SQLStore]:
        return closing(account.open_address(JID(self._mine), self._passphrase_file))

    def list_keys(self) -> None:
        """Print every peer with their keys."""
        with self._store() as store:
            known = {peer: store.known_keys(peer, self._mine).keys for peer in store.peers()}
            before = {peer: _predecessors(store.history(peer, self._mine)) for peer in known}
        peers = {peer: keys for peer, keys in known.items() if keys}  # the others are known at other addresses of a component
        data = {peer: [output.key_json(key) for key in keys] for peer, keys in peers.items()}
        lines: list[Text | str] = []
        for peer, keys in peers.items():
            lines += [output.one_line(peer), *_key_lines(keys, before[peer], "  ")]
        self._out.result({"account": self._mine, "peers": data}, *lines)
        if not peers:
            self._out.info(f"{self._mine} has no keys of peers yet: the first session with a peer adds one.")

    def show_keys(self, peer: JID) -> None:
        """Print our own fingerprint above the peer's, and the history of the peer's keys."""
        with self._store() as store:
            own = load_own_key(store).fingerprint
            keys, history = store.known_keys(peer.bare, self._mine).keys, store.history(peer.bare, self._mine)
            secrets = PeerSecrets(store, store.component or self._mine)
            shared = [name for kind, name in SECRET_NAMES.items() if secrets.has(peer.bare, kind, self._mine)]
            guesses, cut = (store.failed_attempts(peer.bare, kind, self._mine) for kind in ("srp", "sas"))
        data = {
            "account": self._mine,
            "fingerprint": str(own),
            "peer": peer.bare,
            "keys": [output.key_json(key) for key in keys],
            "shared": shared,
            "wrong_guesses": guesses,
            "interrupted_comparisons": cut,
            "history": [
                {"at": line.at, "what": line.what, "fingerprint": str(line.fingerprint), "method": line.method}
                for line in history
            ],
        }
        lines: list[Text | str] = [
            f"you   {self._mine}",
            f"      {own}",
            f"peer  {output.one_line(peer.bare)}",
            *_key_lines(keys, _predecessors(history), "      "),
        ]
        if not keys:
            lines.append("      no key yet")
        lines += [f"      you share a {name}" for name in shared]
        if guesses:
            locked = f", and it is locked: xmpp-e2e trust unlock {peer.bare}" if guesses >= MAX_PASSWORD_ATTEMPTS else ""
            lines.append(f"      wrong guesses of the password: {guesses}{locked}")
        if cut:
            lines.append(f"      interrupted comparisons (sas): {cut}")
        self._out.result(data, *lines)
        if cut:
            self._out.info("Somebody in the middle interrupts a comparison when it is about to fail. Check carefully.")
        if any(not key.blocked and key.assurance < Assurance.VERIFIED for key in keys):
            self._out.info(
                "Compare the fingerprints by telephone or face to face: the peer reads out what `xmpp-e2e fingerprint`\n"
                f"prints on their side. If it is the same: xmpp-e2e trust pin {peer.bare} SHA256:…\n"
                f"Or compare a short number while both of you are online: xmpp-e2e trust verify {peer.bare}"
            )

    def pin(self, peer: JID, fingerprints: tuple[Fingerprint, ...]) -> None:
        """Mark keys as verified: the user has compared them."""
        for fingerprint in fingerprints:
            with self._store() as store:
                changed = store.pin(peer.bare, fingerprint, time.time(), self._mine)
            result = "is pinned and counts as verified from now on" if changed else "was verified before"
            self._done("pinned", peer, fingerprint, changed, f"The key {fingerprint} of {peer.bare} {result}.")
        with self._store() as store:
            held = store.known_keys(peer.bare, self._mine).held
        for other in held:
            self._out.info(held_alarm(peer.bare, other))

    def accept(self, peer: JID, fingerprint: Fingerprint) -> None:
        """Let stanzas flow to a key that is not verified, though another one of the peer is."""
        with self._store() as store:
            changed = store.accept(peer.bare, fingerprint, time.time(), self._mine)
        result = "is accepted from now on, without being verified" if changed else "was accepted or verified before"
        self._done("accepted", peer, fingerprint, changed, f"The key {fingerprint} of {peer.bare} {result}.")

    def block(self, peer: JID, fingerprint: Fingerprint) -> None:
        """Refuse this key until the user forgets it."""
        with self._store() as store:
            changed = store.block(peer.bare, fingerprint, time.time(), self._mine)
        result = "is blocked until you forget it" if changed else "was blocked before"
        self._done("blocked", peer, fingerprint, changed, f"The key {fingerprint} of {peer.bare} {result}.")

    def forget(self, peer: JID, fingerprint: Fingerprint | None) -> None:
        """Forget one key, or all keys of the peer. Raises UsageError."""
        with self._store() as store:
            count = store.forget(peer.bare, fingerprint, time.time(), self._mine)
        if not count:
            which = f"the key {fingerprint}" if fingerprint else "a key"
            raise UsageError(
                f"the store does not have {which} of {peer.bare}; xmpp-e2e trust list shows all keys", UsageReason.KEY_NOT_FOUND
            )
        text = f"Forgot {_counted(count, 'key')} of {peer.bare}. Their next key counts as a first contact."
        if fingerprint:
            text = f"Forgot the key {fingerprint} of {peer.bare}."
        self._done("forgotten", peer, fingerprint, True, text)

    def _done(self, what: str, peer: JID, fingerprint: Fingerprint | None, changed: bool, text: str) -> None:
        shown = str(fingerprint) if fingerprint else None
        data = {"account": self._mine, "peer": peer.bare, "fingerprint": shown, "done": what, "changed": changed}
        self._out.result(data, text)
        if changed:
            self._out.info(PROGRAMS_NOTICE)

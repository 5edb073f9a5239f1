"""``xmpp-e2e trust``: what is remembered of peers' keys, and what the user decides about them."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from rich.text import Text
from slixmpp import JID

from slixmpp_e2e.store import SQLStore
from slixmpp_e2e.trust.trust_file import parse as trustfile
from slixmpp_e2e.trust.trust_uri import is_uri, keys_in, read_uri
from slixmpp_e2e.verification.verifier import GUESSES
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e_cli import account, show
from xmpp_e2e_cli.codes import UsageProblem
from xmpp_e2e_cli.show import Output
from xmpp_e2e_cli.words import weakness

SHARED = {"psk": "key", "srp": "password"}
"""What people call a secret, by method."""
NOTICED = "Programs that have a session with the peer now notice within a second or so."


class NothingKnown(UsageProblem):
    """The store remembers no such key."""


def fingerprint_of(text: str) -> Fingerprint:
    """UsageProblem if it is none."""
    try:
        return Fingerprint.parse(text)
    except ValueError as error:
        raise UsageProblem(str(error)) from None


def to_pin(peer: str, key: str | None) -> tuple[JID, tuple[Fingerprint, ...]]:
    """Whose, and which: a JID and a fingerprint or the URI of a key, or such a URI alone, which names the JID. UsageProblem."""
    try:
        if key is not None:
            whose = account.parse_jid(peer)
            return whose, keys_in(key, whose.bare)
        if is_uri(peer):
            bare, keys = read_uri(peer)
            return JID(bare), keys
    except ValueError as error:
        raise UsageProblem(str(error)) from None
    raise UsageProblem(f"which key of {peer}? Its fingerprint, SHA256:…, comes behind the JID; a URI, xmpp:…, says both")


def day(at: float) -> str:
    """Seconds since the epoch as a date, here."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def check_file(path: Path, out: Output) -> None:
    """Is it a trust file that can be used? TrustFileWrong; passwords that are easy to guess are told, and no more."""
    rules = trustfile.read(path.expanduser(), {})
    for bare, rule in rules.accounts.items():
        if rule.password is not None and (weak := weakness(rule.password, (bare,))):
            out.tell(f"the password for {show.one_line(bare)} is weak: {weak}")
    accounts, domains = sorted(rules.accounts), sorted(rules.domains)
    told = f"{path} is good: rules for {_counted(len(accounts), 'account')} and {_counted(len(domains), 'domain')}"
    out.result({"file": str(path), "accounts": accounts, "domains": domains}, told)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


class Trusting:
    """The verbs, for one account."""

    def __init__(self, mine: JID, out: Output, passphrase_file: Path | None = None) -> None:
        self._mine = mine.bare
        self._passphrase_file = passphrase_file
        self._out = out

    def _store(self) -> closing[SQLStore]:
        return closing(account.open_store(JID(self._mine), self._passphrase_file))

    def overview(self) -> None:
        """Every peer with his keys."""
        with self._store() as store:
            peers = {peer: store.remembered(peer).keys for peer in store.peers()}
        data = {peer: [show.key_data(key) for key in keys] for peer, keys in peers.items()}
        lines: list[Text | str] = []
        for peer, keys in peers.items():
            lines += [show.one_line(peer), *(Text("  ") + show.key_text(key, day) for key in keys)]
        self._out.result({"account": self._mine, "peers": data}, *lines)
        if not peers:
            self._out.tell(f"{self._mine} remembers no keys yet: the first session with a peer adds one.")

    def compare(self, peer: JID) -> None:
        """Our own fingerprint and the peer's, aligned, and how the peer's came to stand so."""
        with self._store() as store:
            own = account.own_fingerprint(store)
            keys, history = store.remembered(peer.bare).keys, store.history(peer.bare)
            shared = [name for kind, name in SHARED.items() if store.secret_ids(peer.bare, kind)]
            guesses, cut = store.failures(peer.bare, "srp"), store.failures(peer.bare, "sas")
        data = {
            "account": self._mine,
            "fingerprint": str(own),
            "peer": peer.bare,
            "keys": [show.key_data(key) for key in keys],
            "shared": shared,
            "wrong_guesses": guesses,
            "cut_comparisons": cut,
            "history": [
                {"at": line.at, "what": line.what, "fingerprint": str(line.fingerprint), "method": line.method}
                for line in history
            ],
        }
        lines: list[Text | str] = [
            f"you   {self._mine}",
            f"      {own}",
            f"peer  {show.one_line(peer.bare)}",
            *(Text("      ") + show.key_text(key, day) for key in keys),
        ]
        if not keys:
            lines.append("      no key is remembered")
        lines += [f"      you share a {name}" for name in shared]
        if guesses:
            locked = f", and it is locked: xmpp-e2e trust unlock {peer.bare}" if guesses >= GUESSES else ""
            lines.append(f"      wrong guesses of the password: {guesses}{locked}")
        if cut:
            lines.append(f"      comparisons (sas) that were cut off: {cut}")
        self._out.result(data, *lines)
        if cut:
            self._out.tell("Somebody in the middle cuts off a comparison of which he sees that it will fail.")
        if any(not key.blocked and key.assurance < Assurance.VERIFIED for key in keys):
            self._out.tell(
                "Compare: the peer reads you what `xmpp-e2e fingerprint` prints on his side, by telephone or face to\n"
                f"face. If it is the same: xmpp-e2e trust pin {peer.bare} SHA256:…\n"
                f"Or compare some numbers while both of you are online: xmpp-e2e trust verify {peer.bare}"
            )

    def pin(self, peer: JID, fingerprints: tuple[Fingerprint, ...]) -> None:
        """These keys are the peer's: the user has compared them."""
        for fingerprint in fingerprints:
            with self._store() as store:
                changed = store.pin(peer.bare, fingerprint, time.time())
            said = "is pinned: it is verified from now on" if changed else "was verified before"
            self._done("pinned", peer, fingerprint, changed, f"The key {fingerprint} of {peer.bare} {said}.")

    def block(self, peer: JID, fingerprint: Fingerprint) -> None:
        """This key is refused for good."""
        with self._store() as store:
            changed = store.block(peer.bare, fingerprint, time.time())
        said = "is blocked until you forget it" if changed else "was blocked before"
        self._done("blocked", peer, fingerprint, changed, f"The key {fingerprint} of {peer.bare} {said}.")

    def forget(self, peer: JID, fingerprint: Fingerprint | None) -> None:
        """One key or all. NothingKnown if there is none."""
        with self._store() as store:
            count = store.forget(peer.bare, fingerprint, time.time())
        if not count:
            which = f"the key {fingerprint}" if fingerprint else "a key"
            raise NothingKnown(f"{which} of {peer.bare} is not remembered; xmpp-e2e trust list shows what is")
        text = f"Forgot {_counted(count, 'key')} of {peer.bare}: the next key that he shows is a first contact."
        if fingerprint:
            text = f"Forgot the key {fingerprint} of {peer.bare}."
        self._done("forgotten", peer, fingerprint, True, text)

    def _done(self, what: str, peer: JID, fingerprint: Fingerprint | None, changed: bool, text: str) -> None:
        shown = str(fingerprint) if fingerprint else None
        data = {"account": self._mine, "peer": peer.bare, "fingerprint": shown, "done": what, "changed": changed}
        self._out.result(data, text)
        if changed:
            self._out.tell(NOTICED)

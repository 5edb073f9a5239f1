"""The methods ``psk``, ``srp`` and ``sas`` of docs/protocol.md §6, written from its text alone; SRP by plain integers.

A method is a generator: it yields the payload that it sends, or None to wait first, and is sent what the peer answers. At its
end it returns its last payload, or None if the last word was the peer's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import struct
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

AUTH = "urn:x-xmpp-e2e:auth:0"
Random = Callable[[int], bytes]
Run = Generator[bytes | None, bytes, bytes | None]

N = int(
    """
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
    EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
    83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
    15728E5A 8AAAC42D AD33170D 04507A33 A85521AB DF1CBA64 ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
    ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B F12FFA06 D98A0864 D8760273 3EC86A64 521F2B18 177B200C
    BBE11757 7A615D6C 770988C0 BAD946E2 08E24FA0 74E5AB31 43DB5BFC E0FD108E 4B82D120 A9210801 1A723C12 A787E6D7
    88719A10 BDBA5B26 99C32718 6AF4E23C 1A946834 B6150BDA 2583E9CA 2AD44CE8 DBBBC2DB 04DE8EF9 2E8EFC14 1FBECAA6
    287C5947 4E6BC05D 99B2964F A090C3A2 233BA186 515BE7ED 1F612970 CEE2D7AF B81BDD76 2170481C D0069127 D5B05AA9
    93B4EA98 8D8FDDC1 86FFB7DC 90A6C08F 4DF435C9 34063199 FFFFFFFF FFFFFFFF
    """.replace(" ", "").replace("\n", ""),
    16,
)
"""RFC 5054, appendix A: the group of 4096 bits; g is 5."""
LISTS = json.loads((Path(__file__).parents[1] / "vectors" / "lists.json").read_text(encoding="utf-8"))


def lv(*fields: bytes) -> bytes:
    """§1."""
    return b"".join(struct.pack(">I", len(field)) + field for field in fields)


def labelled(label: str, *fields: bytes) -> bytes:
    """H of §1."""
    return hashlib.sha256(lv(f"xmpp-e2e/1 {label}".encode(), *fields)).digest()


class Broken(Exception):
    """The session ends; the argument is a stream error's condition, or empty for an abort: a proof has one failure."""


def split(payload: bytes, count: int) -> list[bytes]:
    """So many fields of a payload."""
    fields = []
    while payload:
        if len(payload) < 4 or int.from_bytes(payload[:4]) > len(payload) - 4:
            raise Broken
        end = 4 + int.from_bytes(payload[:4])
        fields.append(payload[4:end])
        payload = payload[end:]
    if len(fields) != count:
        raise Broken
    return fields


def hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256, for no more than one block."""
    return hmac.digest(hmac.digest(salt, material, "sha256"), info + b"\1", "sha256")[:length]


@dataclass
class Talk:
    """One run of one method, and what it is bound to."""

    method: str
    initiator: bool
    exporter: bytes
    context: bytes
    secret: bytes = b""
    random: Random = os.urandom
    log: bytes = b""
    spent: list[str] = field(default_factory=list)
    """Guesses: ``spent`` and ``returned``, in order."""
    code: bytes = b""
    """What people compare."""

    def say(self, *fields: bytes) -> bytes:
        """A step of ours."""
        return self._note(self.initiator, lv(*fields))

    def hear(self, payload: bytes, count: int) -> list[bytes]:
        """A step of the peer's."""
        fields = split(payload, count)
        self._note(not self.initiator, payload)
        return fields

    def tag(self, key: bytes, letter: str) -> bytes:
        """T_I or T_R over the log as it is."""
        bound = labelled("confirm-ctx", self.method.encode(), self.context)
        tag_key = hkdf(self.exporter, key, lv(f"xmpp-e2e/1 confirm {letter}".encode(), bound), 32)
        return hmac.digest(tag_key, labelled("transcript", self.context, self.log), "sha256")

    def _note(self, initiator: bool, payload: bytes) -> bytes:
        self.log += lv(b"I" if initiator else b"R", self.method.encode(), payload)
        return payload


# --- psk -------------------------------------------------------------------------------------------------------------


def psk(talk: Talk) -> Run:
    """A key that both have."""
    if len(talk.secret) < 16:
        raise Broken
    return (yield from confirm(talk, talk.secret, None))


def confirm(talk: Talk, key: bytes, payload: bytes | None) -> Run:
    """T_I, then T_R; ``payload`` is what the responder still has to say before."""
    guessed = talk.method == "srp"
    if talk.initiator:
        if guessed:
            talk.spent.append("spent")
        payload = talk.say(talk.tag(key, "I"))
        expected = talk.tag(key, "R")
        (theirs,) = talk.hear((yield payload), 1)
        if not hmac.compare_digest(theirs, expected):
            raise Broken
        if guessed:
            talk.spent.append("returned")
        return None
    expected = talk.tag(key, "I")
    (theirs,) = talk.hear((yield payload), 1)
    if not hmac.compare_digest(theirs, expected):
        if guessed:
            talk.spent.append("spent")
        raise Broken
    return talk.say(talk.tag(key, "R"))


# --- srp -------------------------------------------------------------------------------------------------------------


def stretched(password: str, one: str, other: str) -> bytes:
    """w of two bare JIDs."""
    salt = labelled("pw-salt", *sorted((one.encode(), other.encode())))[:16]
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    typed = unicodedata.normalize("NFC", spaced).encode()
    return Argon2id(salt=salt, length=32, iterations=3, lanes=1, memory_cost=65536).derive(typed)


def srp(talk: Talk) -> Run:
    """A password that both have."""
    multiplier = _hashed(_padded(N) + _padded(5))
    if talk.initiator:
        a = int.from_bytes(talk.random(256))
        public = pow(5, a, N)
        salt, number = talk.hear((yield talk.say(_spelt(public))), 2)
        theirs = _public(number)
        u, x = _hashed(_padded(public) + _padded(theirs)), private(salt, talk.secret)
        if len(salt) != 16 or u == 0:
            raise Broken
        shared = pow(theirs - multiplier * pow(5, x, N), a + u * x, N)
        return (yield from confirm(talk, hashlib.sha256(_spelt(shared)).digest(), None))
    (number,) = talk.hear((yield None), 1)
    theirs = _public(number)
    salt, b = talk.random(16), int.from_bytes(talk.random(256))
    verifier = pow(5, private(salt, talk.secret), N)
    public = (multiplier * verifier + pow(5, b, N)) % N
    u = _hashed(_padded(theirs) + _padded(public))
    shared = pow(theirs * pow(verifier, u, N), b, N)
    return (yield from confirm(talk, hashlib.sha256(_spelt(shared)).digest(), talk.say(salt, _spelt(public))))


def private(salt: bytes, secret: bytes) -> int:
    """x."""
    return _hashed(salt + hashlib.sha256(b"xmpp-e2e/1 srp:" + secret).digest())


def _public(number: bytes) -> int:
    if not number or number[0] == 0 or len(number) > 512 or int.from_bytes(number) >= N:
        raise Broken
    return int.from_bytes(number)


def _hashed(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest())


def _padded(number: int) -> bytes:
    return number.to_bytes(512)


def _spelt(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


# --- sas -------------------------------------------------------------------------------------------------------------


def sas(talk: Talk) -> Run:
    """A code for two people; the run is over before they have compared."""
    ours = talk.random(32)
    if talk.initiator:
        (theirs,) = talk.hear((yield talk.say(labelled("sas commit", talk.context, ours))), 1)
        last, nonces = talk.say(ours), lv(ours, theirs)
    else:
        (commitment,) = talk.hear((yield None), 1)
        (theirs,) = talk.hear((yield talk.say(ours)), 1)
        if not hmac.compare_digest(commitment, labelled("sas commit", talk.context, theirs)):
            raise Broken
        last, nonces = None, lv(theirs, ours)
    if len(theirs) != 32:
        raise Broken
    talk.code = hkdf(talk.exporter, nonces, lv(b"xmpp-e2e/1 sas", talk.context), 8)
    return last


def shown(code: bytes) -> dict[str, list[str]]:
    """A code in each form."""
    bits = "".join(f"{byte:08b}" for byte in code)
    words = (LISTS["words of two syllables"], LISTS["words of three syllables"])
    return {
        "decimal": [str(1000 + int(bits[at : at + 13], 2)) for at in (0, 13, 26)],
        "emoji": [LISTS["emoji"][int(bits[at : at + 6], 2)] for at in range(0, 42, 6)],
        "words": [words[place % 2][code[place]] for place in range(5)],
    }


# --- one after the other ---------------------------------------------------------------------------------------------

METHODS: dict[str, Callable[[Talk], Run]] = {"psk": psk, "srp": srp, "sas": sas}
ORDER = ("psk", "srp")
"""Of methods that take a secret."""


class Runs:
    """One method after the other; what is to be written gathers in ``said``."""

    def __init__(self, initiator: bool, secrets: dict[str, bytes], compares: bool) -> None:
        self._initiator, self._secrets = initiator, secrets
        self._able = {*secrets, *(["sas"] if compares else [])}
        self._bound = (b"", b"")
        self._queue: list[str] = []
        self._begun: set[str] = set()
        self._run: Run | None = None
        self.talks: list[Talk] = []
        self.proven: list[str] = []
        self.declined: list[str] = []
        self.said: list[str] = []

    def bind(self, exporter: bytes, context: bytes) -> None:
        """TLS is up."""
        self._bound = (exporter, context)

    def add(self, methods: list[str]) -> None:
        """Let these run, too."""
        self._queue += [each for each in ORDER if each in methods and each not in self._begun and each not in self._queue]
        self._go()

    def step(self, element: Element) -> None:
        """A step came."""
        method, text = element.get("method", ""), element.text or ""
        payload = base64.b64decode(text)
        if len(element) or len(text) > 1024 or base64.b64encode(payload).decode() != text:
            raise Broken("bad-format")
        running = self._run is not None and self.talks[-1].method == method
        if not self._initiator and not running and method not in (*self._begun, *self._queue):
            if method not in self._able:
                self._say("decline", method)
                return
            self._queue.append(method)
            self._go()
            running = self._run is not None and self.talks[-1].method == method
        if not running:
            raise Broken("policy-violation")
        self._advance(payload)

    def want(self, method: str) -> None:
        """Our user wants it in the open session."""
        self._able.add(method)
        if self._initiator:
            self._queue.append(method)
            self._go()
        else:
            self._say("request", method)

    def requested(self, method: str) -> None:
        """The peer's user wants it."""
        if not self._initiator:
            raise Broken("policy-violation")
        if method in self._queue or (self._run is not None and self.talks[-1].method == method):
            return
        if method in self._begun or method not in self._able:
            self._say("decline", method)
        else:
            self._queue.append(method)
            self._go()

    def refused(self, method: str) -> None:
        """The peer takes no part in it."""
        self.declined.append(method)
        if self._run is not None and self.talks[-1].method == method:
            self._run = None
            self._go()

    def _go(self) -> None:
        if self._run is not None or not self._queue:
            return
        method = self._queue.pop(0)
        self._begun.add(method)
        talk = Talk(method, self._initiator, *self._bound, secret=self._secrets.get(method, b""))
        self.talks.append(talk)
        self._run = METHODS[method](talk)
        self._advance(None)

    def _advance(self, payload: bytes | None) -> None:
        assert self._run is not None
        try:
            answer = next(self._run) if payload is None else self._run.send(payload)
        except StopIteration as over:
            answer, self._run = over.value, None
        method = self.talks[-1].method
        if answer is not None:
            self._say("step", method, base64.b64encode(answer).decode())
        if self._run is None:
            if method != "sas":  # of which people have the last word
                self.proven.append(method)
            self._go()

    def _say(self, tag: str, method: str, text: str = "") -> None:
        self.said.append(f"<{tag} xmlns='{AUTH}' method={quoteattr(method)}>{text}</{tag}>")

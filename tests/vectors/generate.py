"""Test vectors for other implementations: what ours computes from fixed inputs. docs/protocol.md says what they are.

``python -m tests.vectors.generate`` writes them anew, and they come out the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from slixmpp_e2e.precis import normalize_password
from slixmpp_e2e.trust.passwords import MEMORY_KIB, PASSES, derive_srp_secret
from slixmpp_e2e.trust.trust_uri import build_trust_uri
from tests.conversation import End, converse
from xmpp_e2e.authenticate import sas_text
from xmpp_e2e.authenticate.base import Authenticator, ChannelBinding, Proof
from xmpp_e2e.authenticate.psk import PskAuthenticator
from xmpp_e2e.authenticate.sas import SasAuthenticator
from xmpp_e2e.authenticate.srp import _MODULUS as MODULUS
from xmpp_e2e.authenticate.srp import SrpAuthenticator
from xmpp_e2e.encoding import PROTOCOL, labelled_hash, length_prefixed, split_length_prefixed
from xmpp_e2e.negotiate.digest import SignalledHalf, negotiation_digest
from xmpp_e2e.stream.acks import AckState, SentStanza
from xmpp_e2e.tls.certificate import key_fingerprint
from xmpp_e2e.tls.rotation import Rotation, pack
from xmpp_e2e.types import Fingerprint, Role

HERE = Path(__file__).parent
LETTERS = {Role.INITIATOR: "I", Role.RESPONDER: "R"}

ALICE, BOB, SID = "alice@example.org/phone", "bob@example.org/desk", "ee26d291a13f41f631818f2107090a50"
CERTIFICATE = b64decode(
    "MIIBODCB3qADAgECAhBal94GipNyILXHBqti+aIdMAoGCCqGSM49BAMCMBMxETAPBgNVBAMMCHhtcHAtZTJlMCAXDTI2MDEwMTAwMDAwMFoYDzk5OTkxMjMx"
    "MjM1OTU5WjATMREwDwYDVQQDDAh4bXBwLWUyZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJIpqn3gfTyMoa58WKUityqzFdcA9JPyn3aS8yPiRya+cN0z"
    "94GoLKHahWnJs3vzfAf9zv6g2n6dCgQRpcWSRmejEjAQMA4GA1UdDwEB/wQEAwIHgDAKBggqhkjOPQQDAgNJADBGAiEAjuxLrZeyOgLlYzpzwsXp0Dg1HMki"
    "N5VWBQqOBYaOoiUCIQC+PILDEkh6Xv1W5vMay39zqmCw8FXXORCkSERezsssXw=="
)
"""Of ECDSA P-256, as ours are."""
GENERATOR = 5
STRETCHED = hashlib.sha256(b"stretched").digest()
SRP_CASES = {"plain": 0, "A has 511 bytes": 65, "B has 511 bytes": 349, "S has 511 bytes": 387}
"""Of 256 numbers one has a leading zero byte, and then it shows who pads as RFC 5054 says. These seeds were searched for."""


def fixed(text: str, count: int = 32) -> bytes:
    """Bytes that stand for random ones."""
    return hashlib.shake_256(text.encode()).digest(count)


def dice(text: str) -> Callable[[int], bytes]:
    """``random`` for an authenticator: the same bytes each time, one piece after the other."""
    stream = iter(fixed(text, 1024))
    return lambda count: bytes(next(stream) for _ in range(count))


EXPORTER = fixed("exporter")
JIDS = ("alice@example.org", "100%+1@example.org", "jörg@bücher.example")
KEYS = (key_fingerprint(CERTIFICATE), Fingerprint.of(b""), Fingerprint.of(fixed("key", 91)))


def signal(role: Role) -> SignalledHalf:
    """What one side signals."""
    from_, to = (ALICE, BOB) if role is Role.INITIATOR else (BOB, ALICE)
    return SignalledHalf(
        version="1",
        sid=SID,
        from_=from_,
        to=to,
        content_name="e2e",
        application="urn:xmpp:jingle:apps:xmlstream:0",
        hash="sha-256",
        fingerprint=fixed(f"certificate {LETTERS[role]}"),
        methods=("fingerprint", "psk", "srp", "sas"),
        alpn=PROTOCOL,
        nonce=fixed(f"nonce {LETTERS[role]}", 16),
        assertion="eyJ0eXAi.e30.AA~AA" if role is Role.RESPONDER else "",
    )


HALVES = {role: signal(role) for role in Role}
NEG = negotiation_digest(*HALVES.values())
CONTEXT = labelled_hash(
    "context",
    EXPORTER,
    ALICE.encode(),
    BOB.encode(),
    SID.encode(),
    HALVES[Role.INITIATOR].fingerprint,
    HALVES[Role.RESPONDER].fingerprint,
    NEG,
)
BOUND = {"exporter": EXPORTER, "ctx": CONTEXT}


# --- one file each ---------------------------------------------------------------------------------------------------


def encoding() -> Any:
    """lv and H, and what is no lv."""
    fields: tuple[list[bytes], ...] = ([], [b""], [b"", b"a"], [b"ab", b"\0" * 300])
    return {
        "lv": [{"fields": each, "lv": length_prefixed(*each)} for each in fields],
        "not lv": [b"\0", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\1ab", b"\0\0\0\2a", b"\xff\xff\xff\xffa"],
        "H": [
            {"label": label, "fields": each, "H": labelled_hash(label, *each)}
            for label, each in (("neg", []), ("neg", [b"", b"a"]), ("sas commit", [b"ab", b"c"]), ("sas commit", [b"a", b"bc"]))
        ],
    }


def negotiation() -> Any:
    """neg and ctx of one session."""
    halves = {}
    for role, half in HALVES.items():
        fields = {name.rstrip("_"): value for name, value in vars(half).items()}
        halves["initiate" if role is Role.INITIATOR else "accept"] = {**fields, "half": half.encode()}
    return {**halves, "neg": NEG, "neg on the wire": b64encode(NEG).decode(), **BOUND}


def fingerprints() -> Any:
    """A certificate, what is signalled of it and what people compare."""
    shown = hashlib.sha256(CERTIFICATE).digest()
    return {
        "certificate": CERTIFICATE,
        "SHA-256": shown,
        "on the wire": shown.hex(":").upper(),
        "of the key, for people": str(key_fingerprint(CERTIFICATE)),
        "of other keys": [{"SPKI": spki, "for people": str(Fingerprint.of(spki))} for spki in (b"", fixed("key", 91))],
        "as URIs": [
            {"of": jid, "key": str(key), "URI": build_trust_uri(jid, key)} for jid, key in zip(JIDS, KEYS, strict=True)
        ],
    }


def rotations() -> Any:
    """Two rotations of one account. The keys are of Ed25519, whose signatures come out the same each time."""
    signers = [Ed25519PrivateKey.from_private_bytes(fixed(f"identity {number}")) for number in range(3)]
    spkis = [key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in signers]
    account, made = JIDS[0], []
    for number in range(2):
        old, new = spkis[number : number + 2]
        said = length_prefixed(b"xmpp-e2e/1 rotation", account.encode(), old, new)
        by_old, by_new = (key.sign(said) for key in signers[number : number + 2])
        rotation = Rotation(account, old, new, (by_old, by_new))
        assert rotation.is_signed()
        made.append((rotation, {"old key": old, "new key": new, "said": said, "by old": by_old, "by new": by_new}))
    return {
        "account": account,
        "private keys": [fixed(f"identity {number}") for number in range(3)],
        "rotations": [{**parts, "rotation": bytes(rotation)} for rotation, parts in made],
        "on the wire": b64encode(pack(tuple(rotation for rotation, _ in made))).decode(),
    }


def passwords() -> Any:
    """What a password becomes, whatever keyboard it was typed on, and whoever begins."""
    bare = [jid.partition("/")[0] for jid in (ALICE, BOB)]
    typed = ["correct horse battery staple", "\u212bngstro\u0308m\u00a0\u3000x", "A\u030angstr\u00f6m  x"]
    salt = labelled_hash("pw-salt", *sorted(jid.encode() for jid in bare))[:16]
    return {
        "bare JIDs": bare,
        "salt": salt,
        "Argon2id": {"KiB": MEMORY_KIB, "passes": PASSES, "lanes": 1, "bytes": len(STRETCHED)},
        "cases": [
            {"typed": each, "bytes": normalize_password(each), "w": derive_srp_secret(each, *reversed(bare))} for each in typed
        ],
        "refused": ["", "a\tb", "a\u200bb", "\u1100"],
    }


def psk() -> Any:
    """The confirmation of keys."""
    cases = []
    for key in (fixed("key"), fixed("short key", 16), fixed("long key", 100)):
        steps = run(PskAuthenticator(), secret=key)
        cases.append({"key": key, "steps": steps, "confirmation": confirmation("psk", key, steps)})
    return {**BOUND, "cases": cases}


def srp() -> Any:
    """Whole runs with the ephemeral secrets told, and numbers that must be refused."""
    cases = []
    for name, seed in SRP_CASES.items():
        seeds = {Role.INITIATOR: f"srp {seed} I", Role.RESPONDER: f"srp {seed} R"}
        steps = run(SrpAuthenticator(), secret=STRETCHED, seeds=seeds)
        a, b = dice(seeds[Role.INITIATOR])(256), fixed(seeds[Role.RESPONDER], 272)[16:]
        numbers, key = agreement(a, b, steps)
        confirmed = confirmation("srp", key, steps)
        cases.append({"name": name, "w": STRETCHED, "a": a, "b": b, **numbers, "steps": steps, "confirmation": confirmed})
    spelt = {
        "0": b"\0",
        "nothing": b"",
        "N": MODULUS.to_bytes(512),
        "N + 1": (MODULUS + 1).to_bytes(512),
        "2N": (2 * MODULUS).to_bytes(513),
        "a leading zero": b"\0\2",
    }
    salt = fixed("salt", 16)
    bad = [{"why": f"A is {why}", "to": "R", "payload": length_prefixed(number)} for why, number in spelt.items()]
    bad += [{"why": f"B is {why}", "to": "I", "payload": length_prefixed(salt, number)} for why, number in spelt.items()]
    for short in (b"", salt[:15]):
        bad.append({"why": f"a salt of {len(short)} bytes", "to": "I", "payload": length_prefixed(short, b"\2")})
    bad.append({"why": "a field too many", "to": "R", "payload": length_prefixed(b"\2", b"")})
    bad.append({"why": "no lv", "to": "R", "payload": b"\2"})
    return {**BOUND, "N": MODULUS.to_bytes(512), "g": GENERATOR, "cases": cases, "first step refused": bad}


def sas() -> Any:
    """Whole runs and what people see, and renderings of codes that show the order of the bits."""
    cases = []
    for name in ("one", "two"):
        seeds = {role: f"sas {name} {letter}" for role, letter in LETTERS.items()}
        nonces = {f"n_{letter}": fixed(seeds[role]) for role, letter in LETTERS.items()}
        codes: list[bytes] = []
        steps = run(SasAuthenticator(), seeds=seeds, codes=codes)
        (code,) = set(codes)
        cases.append({**nonces, "steps": steps, "code": code, **renderings(code)})
    codes = [bytes(8), b"\xff" * 8, bytes.fromhex("0123456789abcdef"), bytes.fromhex("8000000000000000")]
    return {**BOUND, "cases": cases, "renderings": [{"code": code, **renderings(code)} for code in codes]}


def lists() -> Any:
    """The pictures and words, by number."""
    return {
        "emoji": sas_text._EMOJI,
        "words of two syllables": sas_text._TWO_SYLLABLES,
        "words of three syllables": sas_text._THREE_SYLLABLES,
    }


def resumptions() -> Any:
    """What becomes of the stanzas of a session, by their numbers there, when the peer says how many it has handled."""
    told = []
    known = ((12, 8, 10), (12, 8, 12), (12, 8, 8), (12, 8, 5), (3, 0, 0), (7, 7, 7))
    for sent, acknowledged, h in (*known, (3, 0, None), (7, 7, None)):
        state = AckState(SID, (ALICE, BOB))
        for number in range(1, sent + 1):
            state.add(SentStanza(bytes(1), number, 1))
        state.acknowledge(acknowledged)
        arrived = [] if h is None else [stanza.tag for stanza in state.acknowledge(h)]
        resent = [stanza.tag for stanza in state.take_unacknowledged()]
        answer = {"sent": sent, "acknowledged": acknowledged, "h": h}
        told.append({**answer, "has arrived": arrived, "is resent": resent})
    return {"answers": told, "refused": [{"sent": 12, "h": 13}, {"sent": 0, "h": 1}]}


FILES: dict[str, Callable[[], Any]] = {
    "encoding.json": encoding,
    "negotiation.json": negotiation,
    "fingerprints.json": fingerprints,
    "rotations.json": rotations,
    "passwords.json": passwords,
    "psk.json": psk,
    "srp.json": srp,
    "sas.json": sas,
    "lists.json": lists,
    "resumptions.json": resumptions,
}


# --- how they are made -----------------------------------------------------------------------------------------------


def run(
    authenticator: Authenticator,
    *,
    secret: bytes = b"",
    seeds: dict[Role, str] | None = None,
    codes: list[bytes] | None = None,
) -> list[dict[str, Any]]:
    """The steps of two ends with each other, which must convince both; what was shown to compare goes to ``codes``."""
    steps: list[dict[str, Any]] = []

    def wire(speaker: Role, number: int, payload: bytes) -> bytes:
        fields, text = list(split_length_prefixed(payload)), b64encode(payload).decode()
        steps.append({"from": LETTERS[speaker], "fields": fields, "text": text})
        return payload

    seeds = seeds or dict.fromkeys(Role, "none")
    ends = []
    for role in Role:
        key = Fingerprint.of(LETTERS[role.other].encode())
        evidence = ChannelBinding(role, b"", b"", key, EXPORTER, CONTEXT, dice(seeds[role]))
        ends.append(End(authenticator, evidence, secret))
    converse(ends[0], ends[1], wire)
    assert all(isinstance(end.outcome, Proof) for end in ends)
    if codes is not None:
        codes += [end.code for end in ends]
    return steps


def confirmation(method: str, key: bytes, steps: list[dict[str, Any]]) -> dict[str, bytes]:
    """What lies between a key and the tags, which are the last two of ``steps``."""
    logged = [length_prefixed(step["from"].encode(), method.encode(), b64decode(step["text"])) for step in steps]
    extracted = hmac.digest(EXPORTER, key, "sha256")
    bound = labelled_hash("confirm-ctx", method.encode(), CONTEXT)
    told = {"K": key, "PRK": extracted, "bound": bound}
    for letter, count in (("I", len(steps) - 2), ("R", len(steps) - 1)):
        expand = HKDFExpand(hashes.SHA256(), 32, length_prefixed(f"xmpp-e2e/1 confirm {letter}".encode(), bound))
        tag_key, transcript = expand.derive(extracted), labelled_hash("transcript", CONTEXT, b"".join(logged[:count]))
        (tag,) = steps[count]["fields"]
        assert hmac.digest(tag_key, transcript, "sha256") == tag
        told |= {f"k_{letter}": tag_key, f"transcript of T_{letter}": transcript, f"T_{letter}": tag}
    return told


def agreement(a: bytes, b: bytes, steps: list[dict[str, Any]]) -> tuple[dict[str, bytes], bytes]:
    """The numbers of a run, and K."""
    (public_a,), (salt, public_b) = steps[0]["fields"], steps[1]["fields"]
    inner = hashlib.sha256(b"xmpp-e2e/1 srp:" + STRETCHED).digest()
    x = hashlib.sha256(salt + inner).digest()
    k = hashlib.sha256(MODULUS.to_bytes(512) + GENERATOR.to_bytes(512)).digest()
    u = hashlib.sha256(public_a.rjust(512, b"\0") + public_b.rjust(512, b"\0")).digest()
    v = pow(GENERATOR, int.from_bytes(x), MODULUS)
    shared = pow(int.from_bytes(public_a) * pow(v, int.from_bytes(u), MODULUS), int.from_bytes(b), MODULUS)
    spelt = shared.to_bytes((shared.bit_length() + 7) // 8)
    numbers = {"salt": salt, "x": x, "v": v.to_bytes(512), "k": k, "A": public_a, "B": public_b, "u": u, "S": spelt}
    assert pow(GENERATOR, int.from_bytes(a), MODULUS) == int.from_bytes(public_a)
    return numbers, hashlib.sha256(spelt).digest()


def renderings(code: bytes) -> dict[str, tuple[str, ...]]:
    """In each form."""
    return {form.value: sas_text.render(code, form) for form in sas_text.SasForm}


def written(vector: Any) -> str:
    """As it stands in a file: bytes in hexadecimal."""
    return json.dumps(vector, indent=1, ensure_ascii=False, default=bytes.hex) + "\n"


if __name__ == "__main__":
    for name, make in FILES.items():
        (HERE / name).write_text(written(make()), encoding="utf-8")

"""tests/vectors is what ours computes, and another implementation computes the same from docs/protocol.md."""

from __future__ import annotations

import hashlib
import io
import json
from base64 import b64encode, urlsafe_b64decode
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from slixmpp_e2e.precis import normalize_password
from slixmpp_e2e.trust.passwords import derive_srp_secret
from tests.conversation import End
from tests.docs import documents, second_proofs
from tests.docs.second_acks import Numbers
from tests.docs.second_proofs import Broken, Talk, labelled, lv, shown, split
from tests.pair import has_code
from tests.vectors import generate
from xmpp_e2e.authenticate.base import ChannelBinding
from xmpp_e2e.authenticate.srp import SrpAuthenticator
from xmpp_e2e.encoding import split_length_prefixed
from xmpp_e2e.errors import Code, StreamError
from xmpp_e2e.stream.acks import AckState
from xmpp_e2e.types import Fingerprint, Role

CASES = ("psk", "srp", "sas")


def vector(name: str) -> Any:
    """A file of vectors."""
    return json.loads((generate.HERE / f"{name}.json").read_text(encoding="utf-8"))


def raw(*texts: str) -> list[bytes]:
    """Out of hexadecimal."""
    return [bytes.fromhex(text) for text in texts]


@pytest.mark.parametrize("name", generate.FILES)
def test_they_come_out_the_same(name: str) -> None:
    assert generate.written(generate.FILES[name]()) == (generate.HERE / name).read_text(encoding="utf-8")


def test_each_is_in_the_document() -> None:
    """docs/protocol.md says what each file holds, and there are no others."""
    told = {documents.code(row[0])[0] for row in documents.rows("docs/protocol.md", "11. Test vectors")}
    assert told == set(generate.FILES) == {path.name for path in generate.HERE.glob("*.json")}


def test_encoding() -> None:
    known = vector("encoding")
    for case in known["lv"]:
        assert lv(*raw(*case["fields"])).hex() == case["lv"]
        assert split(bytes.fromhex(case["lv"]), len(case["fields"])) == raw(*case["fields"])
    for case in known["H"]:
        assert labelled(case["label"], *raw(*case["fields"])).hex() == case["H"]
    for payload in raw(*known["not lv"]):
        for refuses, error in ((lambda each: split(each, 1), Broken), (split_length_prefixed, ValueError)):
            with pytest.raises(error):
                refuses(payload)


def test_negotiation() -> None:
    known = vector("negotiation")
    halves = []
    for half in (known["initiate"], known["accept"]):
        texts = (half[name].encode() for name in ("version", "sid", "from", "to", "content_name", "application", "hash"))
        methods, alpn = ",".join(half["methods"]).encode(), half["alpn"].encode()
        fields = (*raw(half["fingerprint"]), methods, alpn, *raw(half["nonce"]), half["assertion"].encode())
        halves.append(lv(*texts, *fields))
        assert halves[-1].hex() == half["half"]
    neg = labelled("neg", *halves)
    assert (neg.hex(), b64encode(neg).decode()) == (known["neg"], known["neg on the wire"])
    initiate, exporter = known["initiate"], bytes.fromhex(known["exporter"])
    who = (initiate[name].encode() for name in ("from", "to", "sid"))
    shown = raw(initiate["fingerprint"], known["accept"]["fingerprint"])
    assert labelled("context", exporter, *who, *shown, neg).hex() == known["ctx"]


def test_fingerprints() -> None:
    known = vector("fingerprints")
    (der,) = raw(known["certificate"])
    digest = hashlib.sha256(der).digest()
    assert (digest.hex(), digest.hex(":").upper()) == (known["SHA-256"], known["on the wire"])
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pairs = [(spki, known["of the key, for people"])]
    pairs += [(bytes.fromhex(other["SPKI"]), other["for people"]) for other in known["of other keys"]]
    for each, people in pairs:
        assert "SHA256:" + b64encode(hashlib.sha256(each).digest()).decode().rstrip("=") == people
    for case in known["as URIs"]:
        path, _, query = case["URI"].removeprefix("xmpp:").partition("?")
        assert unquote(path) == case["of"]
        kind, encryption, trust = query.split(";")
        assert (kind, encryption) == ("trust-message", "encryption=urn:x-xmpp-e2e:security:0")
        digest = urlsafe_b64decode(trust.removeprefix("trust=") + "=")
        assert "SHA256:" + b64encode(digest).decode().rstrip("=") == case["key"]


def test_rotations() -> None:
    known = vector("rotations")
    spelt = []
    for number, case in enumerate(known["rotations"]):
        old, new, *signatures = raw(*(case[name] for name in ("old key", "new key", "by old", "by new")))
        said = lv(b"xmpp-e2e/1 rotation", known["account"].encode(), old, new)
        assert said.hex() == case["said"]
        privates = raw(*known["private keys"][number : number + 2])
        for private, spki, signature in zip(privates, (old, new), signatures, strict=True):
            key = ed25519.Ed25519PrivateKey.from_private_bytes(private).public_key()
            assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
            key.verify(signature, said)
        spelt.append(lv(known["account"].encode(), old, new, *signatures))
        assert spelt[-1].hex() == case["rotation"]
    assert b64encode(lv(*spelt)).decode() == known["on the wire"]


def test_resumptions() -> None:
    known = vector("resumptions")
    for case in known["answers"]:
        numbers = Numbers(sent=case["sent"], left=[b"%d" % number for number in range(1, case["sent"] + 1)])
        numbers.acknowledged(case["acknowledged"])
        before = len(numbers.left)
        if case["h"] is not None:
            numbers.acknowledged(case["h"])
        assert [int(stanza) for stanza in numbers.left] == case["is resent"]
        assert len(case["has arrived"]) == before - len(numbers.left)
    for case in known["refused"]:
        with pytest.raises(Broken):
            Numbers(sent=case["sent"]).acknowledged(case["h"])
        with pytest.raises(StreamError):
            AckState("sid", ("alice@example.org/phone", "bob@example.org/desk"), sent=case["sent"]).acknowledge(case["h"])


def test_passwords() -> None:
    known = vector("passwords")
    assert [derive_srp_secret(case["typed"], *known["bare JIDs"]).hex() for case in known["cases"]] == [
        case["w"] for case in known["cases"]
    ]
    assert known["cases"][1]["w"] == known["cases"][2]["w"]
    for refused in known["refused"]:
        with pytest.raises(ValueError, match="RFC 8265"):
            normalize_password(refused)


def secrets(method: str, case: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """What a side has beforehand, and the dice of I and of R."""
    names = {"psk": ("key", "", ""), "srp": ("w", "a", "b"), "sas": ("", "n_I", "n_R")}[method]
    secret, initiators, responders = raw(*(case.get(name, "") for name in names))
    return secret, initiators, bytes.fromhex(case.get("salt", "")) + responders


@pytest.mark.parametrize("method", CASES)
def test_whole_runs(method: str) -> None:
    known = vector(method)
    for case in known["cases"]:
        secret, *dice = secrets(method, case)
        exporter, context = raw(known["exporter"], known["ctx"])
        ends = []
        for initiator, rolled in ((True, dice[0]), (False, dice[1])):
            talk = Talk(method, initiator, exporter, context, secret, io.BytesIO(rolled).read)
            ends.append((talk, second_proofs.METHODS[method](talk)))
        (one, run), (other, answers) = ends
        heard, said = next(run), []
        assert next(answers) is None
        for speaker, number in ((one, 0), (other, 1)) * 4:
            assert heard is not None
            said.append({"from": "I" if speaker is one else "R", "text": b64encode(heard).decode()})
            try:
                heard = ends[1 - number][1].send(heard)
            except StopIteration as over:
                heard = over.value
                if heard is None:
                    break
        assert said == [{"from": step["from"], "text": step["text"]} for step in case["steps"]]
        if method == "sas":
            assert one.code == other.code == bytes.fromhex(case["code"])
            assert shown(one.code) == {name: case[name] for name in ("decimal", "emoji", "words")}


@pytest.mark.parametrize("method", ["psk", "srp"])
def test_what_lies_between(method: str) -> None:
    """The confirmation follows from K alone, step by step."""
    known = vector(method)
    (exporter,) = raw(known["exporter"])
    for case in known["cases"]:
        told = {name: bytes.fromhex(value) for name, value in case["confirmation"].items()}
        for letter in "IR":
            key = second_proofs.hkdf(exporter, told["K"], lv(f"xmpp-e2e/1 confirm {letter}".encode(), told["bound"]), 32)
            assert key == told[f"k_{letter}"]


def test_each_rendering() -> None:
    for case in vector("sas")["renderings"]:
        assert shown(bytes.fromhex(case["code"])) == {name: case[name] for name in ("decimal", "emoji", "words")}
    assert [len(each) for each in vector("lists").values()] == [64, 256, 256]


def test_the_bytes_that_are_short() -> None:
    named = {case["name"]: case for case in vector("srp")["cases"]}
    for name in ("A", "B", "S"):
        assert len(bytes.fromhex(named[f"{name} has 511 bytes"][name])) == 511


@pytest.mark.parametrize("case", vector("srp")["first step refused"], ids=lambda case: f"{case['why']}, to {case['to']}")
def test_first_steps_that_are_refused(case: dict[str, Any]) -> None:
    (payload,) = raw(case["payload"])
    run = second_proofs.srp(Talk("srp", case["to"] == "I", b"", b"", secret=bytes(32)))
    next(run)
    with pytest.raises(Broken):
        run.send(payload)
    role = Role.INITIATOR if case["to"] == "I" else Role.RESPONDER
    evidence = ChannelBinding(role, b"", b"", Fingerprint.of(b""), bytes(32), bytes(32), generate.dice(case["why"]))
    end = End(SrpAuthenticator(), evidence, bytes(32))
    end.hear(payload)
    assert has_code(Code.PROOF_FAILED)(end.outcome)

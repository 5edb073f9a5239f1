"""The judge, in every combination, against an oracle that is spelled out as rows."""

from __future__ import annotations

import itertools

import pytest

from xmpp_e2e.key_decision import Decision, KeyDecision, OnKeyChange, decide
from xmpp_e2e.types import ACCEPT, Assurance, Fingerprint, KnownKey, KnownKeys, TrustModel

A = Fingerprint(b"A" * 32)
B = Fingerprint(b"B" * 32)
C = Fingerprint(b"C" * 32)


def key(fingerprint: Fingerprint, level: str, blocked: bool = False, method: str = "route") -> KnownKey:
    return KnownKey(fingerprint, Assurance.parse(level), method, 1.0, blocked)


# What we remember when the peer shows key A → its kind, and what continuity makes of it ("-": nothing).
MEMORIES = {
    (): ("first", "-"),
    (key(A, "vouched"),): ("known", "known"),
    (key(A, "vouched-signed"),): ("known", "known"),
    (key(A, "verified"),): ("known", "verified"),
    (key(A, "vouched"), key(B, "vouched")): ("known", "known"),
    (key(A, "vouched"), key(B, "vouched", method=ACCEPT)): ("known", "known"),
    (key(A, "vouched"), key(B, "verified")): ("changed", "-"),
    (key(A, "vouched-signed"), key(B, "verified")): ("changed", "-"),
    (key(A, "vouched", method=ACCEPT), key(B, "verified")): ("known", "known"),
    (key(B, "verified"), key(A, "verified")): ("known", "verified"),
    (key(A, "vouched"), key(B, "verified", True)): ("changed", "-"),
    (key(B, "vouched"),): ("new", "-"),
    (key(B, "vouched-signed"), key(C, "vouched")): ("new", "-"),
    (key(B, "verified", True),): ("changed", "-"),
    (key(B, "verified"),): ("changed", "-"),
    (key(B, "vouched"), key(C, "verified")): ("changed", "-"),
    (key(B, "verified", True), key(C, "verified")): ("changed", "-"),
    (key(A, "vouched", True),): ("blocked", "-"),
    (key(A, "verified", True),): ("blocked", "-"),
    (key(A, "none", True), key(B, "verified")): ("blocked", "-"),
}

# kind, on_key_change → reject, hold, or what the minimum says: without a proof in this session, and with one.
RULES = {
    ("first", "by-trust-model"): ("minimum", "minimum"),
    ("first", "hold"): ("minimum", "minimum"),
    ("first", "reject"): ("minimum", "minimum"),
    ("known", "by-trust-model"): ("minimum", "minimum"),
    ("known", "hold"): ("minimum", "minimum"),
    ("known", "reject"): ("minimum", "minimum"),
    ("new", "by-trust-model"): ("minimum", "minimum"),
    ("new", "hold"): ("hold", "minimum"),
    ("new", "reject"): ("reject", "minimum"),
    ("changed", "by-trust-model"): ("hold", "minimum"),
    ("changed", "hold"): ("hold", "minimum"),
    ("changed", "reject"): ("reject", "minimum"),
    ("blocked", "by-trust-model"): ("reject", "reject"),
    ("blocked", "hold"): ("reject", "reject"),
    ("blocked", "reject"): ("reject", "reject"),
}

# kind, what continuity makes of it → the session's level ("vouched?": as signalled): without a proof, and with one.
LEVELS = {
    ("first", "-"): ("vouched?", "verified"),
    ("known", "known"): ("known", "verified"),
    ("known", "verified"): ("verified", "verified"),
    ("new", "-"): ("vouched?", "verified"),
    ("changed", "-"): ("vouched?", "verified"),
    ("blocked", "-"): ("vouched?", "vouched?"),
}

# A minimum → the levels that meet it.
ENOUGH = {
    "none": {"none", "vouched", "vouched-signed", "known", "verified"},
    "vouched": {"vouched", "vouched-signed", "known", "verified"},
    "vouched-signed": {"vouched-signed", "known", "verified"},
    "known": {"known", "verified"},
    "verified": {"verified"},
}
MODELS = {"server-trusted": "none", "server-authenticates": "vouched", "server-untrusted": "verified"}


@pytest.mark.parametrize(
    ("vouched", "model", "change", "proved", "required"),
    [
        *itertools.product(
            ("none", "vouched", "vouched-signed"), MODELS, ("by-trust-model", "hold", "reject"), (False, True), ENOUGH
        )
    ],
)
def test_every_combination_is_judged_as_the_rows_say(
    vouched: str, model: str, change: str, proved: bool, required: str
) -> None:
    """Kind, level and decision are those of the oracle's rows, whatever we remember."""
    for memory, (kind, continuity) in MEMORIES.items():
        level = LEVELS[kind, continuity][proved]
        level = vouched if level == "vouched?" else level
        rule = RULES[kind, change][proved]
        enough = level in ENOUGH[MODELS[model]] and level in ENOUGH[required]
        decision = ("accept" if enough else "hold") if rule == "minimum" else rule

        verdict = decide(
            KnownKeys(memory),
            A,
            Assurance.parse(vouched),
            trust_model=TrustModel(model),
            on_key_change=OnKeyChange(change),
            proved=Assurance.VERIFIED if proved else Assurance.NONE,
            min_assurance=Assurance.parse(required),
        )
        assert (verdict.status.value, str(verdict.assurance), verdict.decision.value) == (kind, level, decision), memory


def judged(
    *memory: KnownKey,
    vouched: Assurance = Assurance.VOUCHED,
    model: TrustModel = TrustModel.SERVER_AUTHENTICATES,
    change: OnKeyChange = OnKeyChange.BY_TRUST_MODEL,
    proved: Assurance = Assurance.NONE,
) -> KeyDecision:
    return decide(KnownKeys(memory), A, vouched, trust_model=model, on_key_change=change, proved=proved)


def test_a_proof_below_verified_lifts_nothing() -> None:
    """Only VERIFIED counts as a proof against a changed key; a signature of the domain is none."""
    verdict = judged(key(B, "verified"), proved=Assurance.VOUCHED_SIGNED)
    assert (verdict.decision, verdict.assurance) == (Decision.HOLD, Assurance.VOUCHED_SIGNED)


def test_signalling_never_verifies() -> None:
    """A caller who passes off a proof as a vouch is told so, lest a first contact be shown as verified or known."""
    for level in (Assurance.KNOWN, Assurance.VERIFIED):
        with pytest.raises(ValueError, match="proved"):
            judged(vouched=level)


def test_the_keys_that_are_held_are_those_about_which_nothing_was_decided() -> None:
    undecided = (key(A, "vouched"), key(B, "vouched", method=ACCEPT), key(C, "none", True))
    assert KnownKeys(undecided).held == ()
    verified = key(Fingerprint(b"D" * 32), "verified")
    assert KnownKeys((*undecided, verified)).held == (A,)

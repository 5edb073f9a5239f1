"""The ``sas`` method: two people compare a short string that is new in each session.

The initiator commits to his nonce before he sees the responder's, so whoever is in between has one try at making the strings
on both sides equal, at odds of 2⁻ⁿ for n bits (as ZRTP, RFC 6189 §4.4.1.1). A string made of the TLS exporter alone could be
ground offline.
"""

from __future__ import annotations

import hmac
from typing import ClassVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from xmpp_e2e.authenticate.base import MATCH, Ask, Evidence, Proof, Proven, StringsShown
from xmpp_e2e.authenticate.dialogue import Dialogue
from xmpp_e2e.encoding import labelled_hash, lv
from xmpp_e2e.errors import AuthenticationFailed
from xmpp_e2e.identity import Assurance, Role

CODE_BYTES = 8
_NONCE_BYTES = 32
_HASH = range(32, 33)


class StringsDiffer(AuthenticationFailed):
    """The people say that their strings are not the same."""

    likely = "A string was misread, or that of another session was compared."
    attack = "Somebody is in the middle, with a session of his own to each of you: exactly this is what he would cause."
    remedy = (
        "Whoever is in the middle has read what was said in this session."
        " Open a new one and compare again. If it happens twice, do not use this path."
    )


class SasAuthenticator:
    """Shows a short authentication string to both users."""

    name: ClassVar[str] = "sas"
    assurance: ClassVar[Assurance] = Assurance.VERIFIED
    rank: ClassVar[int] = 3
    keyed: ClassVar[bool] = False

    def prove(self, evidence: Evidence) -> Proof:
        """I lv(C) · R lv(n_R) · I lv(n_I); then each side's own user says whether the strings are the same."""
        dialogue = Dialogue(self.name, evidence)
        ours = evidence.random(_NONCE_BYTES)
        if evidence.role is Role.INITIATOR:
            yield from dialogue.say(_commitment(evidence, ours))
            (theirs,) = yield from dialogue.hear(_HASH)
            yield from dialogue.say(ours)
            code = short_code(evidence, ours, theirs)
        else:
            (commitment,) = yield from dialogue.hear(_HASH)
            yield from dialogue.say(ours)
            (theirs,) = yield from dialogue.hear(_HASH)
            if not hmac.compare_digest(commitment, _commitment(evidence, theirs)):
                raise dialogue.failed()
            code = short_code(evidence, theirs, ours)
        if (yield Ask(StringsShown(code))) != MATCH:
            raise StringsDiffer("the two sides do not see the same string")
        return Proven(self.name, self.assurance, evidence.key)


def short_code(evidence: Evidence, initiators: bytes, responders: bytes) -> bytes:
    """What both people see, before it is rendered: CODE_BYTES bytes, of which the first bits are shown."""
    extracted = hmac.digest(evidence.exporter, lv(initiators, responders), "sha256")
    return HKDFExpand(hashes.SHA256(), CODE_BYTES, lv(b"xmpp-e2e/1 sas", evidence.context)).derive(extracted)


def _commitment(evidence: Evidence, nonce: bytes) -> bytes:
    return labelled_hash("sas commit", evidence.context, nonce)

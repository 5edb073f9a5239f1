"""The hello and the gate around it: ``<hello/>``, ``<done/>`` and ``<abort/>`` of ``urn:x-xmpp-e2e:auth:0``.

A hello repeats, inside TLS, what the two sides believe of each other: roles, session id and the digest of the whole
negotiation. An edit of the signalling on the way is found here.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from xmpp_e2e.authenticate.sas_text import SasForm
from xmpp_e2e.encoding import strict_base64
from xmpp_e2e.errors import AuthenticationFailed, Code, StreamError, quoted
from xmpp_e2e.negotiate.jingle import MAX_METHODS
from xmpp_e2e.tls.rotation import Rotation, pack, unpack
from xmpp_e2e.types import Assurance, Role

NS_AUTH = "urn:x-xmpp-e2e:auth:0"
HELLO, STEP, DONE, ABORT, REQUEST, DECLINE, RESULT, ROTATION = (
    f"{{{NS_AUTH}}}{name}" for name in ("hello", "step", "done", "abort", "request", "decline", "result", "rotation")
)
OF_PROOFS = frozenset({STEP, REQUEST, DECLINE, RESULT})
"""Elements about proofs."""

_SM = "3"
"""The version of XEP-0198 that is spoken inside, as the end of its namespace has it."""
_MAX_STEP = 1024
"""Characters of a step: the longest, a salt and a number of 4096 bits, takes 715."""


@dataclass(frozen=True)
class Hello:
    """The first element of each side."""

    role: Role
    sid: str
    neg: bytes
    """SHA-256 over both sides' negotiation, 32 bytes."""
    methods: tuple[str, ...] = ()
    """Keyed methods that the sender holds a secret for, or can ask its user for."""
    need: tuple[str, ...] = ()
    """Those that the sender's policy wants to run in this session."""
    require: Assurance = Assurance.VOUCHED
    """The sender's minimum: information for the other side's prompt."""
    rotations: tuple[Rotation, ...] | None = None
    """How the sender came to its key, the oldest first; None if it does not know what that is."""
    acknowledges: bool = False
    """Whether the sender acknowledges stanzas (XEP-0198)."""

    def verify_matches(self, ours: Hello) -> None:
        """Raise AuthenticationFailed (NEGOTIATION_ALTERED) unless this, the peer's hello, mirrors ``ours``."""
        if self.role is not ours.role.other:
            raise AuthenticationFailed(
                "the peer's hello claims our own role: our bytes may have been reflected to us", Code.NEGOTIATION_ALTERED
            )
        if self.sid != ours.sid:
            raise AuthenticationFailed("the peer's hello belongs to another session", Code.NEGOTIATION_ALTERED)
        if not hmac.compare_digest(self.neg, ours.neg):
            raise AuthenticationFailed("the two sides did not see the same negotiation", Code.NEGOTIATION_ALTERED)

    def check_methods(self, ours: Hello) -> None:
        """Raise AuthenticationFailed (METHOD_NOT_CONFIGURED) if one side needs a method that the other does not have."""
        if missing := set(self.need) - set(ours.methods):
            what = quoted(", ".join(sorted(missing)))
            raise AuthenticationFailed(f"the peer's policy needs {what}, which is not set up here", Code.METHOD_NOT_CONFIGURED)
        if missing := set(ours.need) - set(self.methods):
            raise AuthenticationFailed(
                f"our policy needs {', '.join(sorted(missing))}, which is not set up at the peer's", Code.METHOD_NOT_CONFIGURED
            )


def build_hello(hello: Hello) -> Element:
    """The element of a hello."""
    element = Element(
        HELLO,
        {
            "role": hello.role.value,
            "sid": hello.sid,
            "neg": base64.b64encode(hello.neg).decode(),
            "methods": " ".join(hello.methods),
            "need": " ".join(hello.need),
            "require": str(hello.require),
        },
    )
    if hello.rotations is not None:
        element.set("rotations", _encode_rotations(hello.rotations))
    if hello.acknowledges:
        element.set("sm", _SM)
    return element


def parse_hello(element: Element) -> Hello:
    """The hello in ``element``; StreamError ``bad-format`` if it is none."""
    try:
        neg = strict_base64(element.attrib["neg"])
        methods, need = (tuple(element.get(name, "").split()) for name in ("methods", "need"))
        if len(neg) != 32 or max(len(methods), len(need)) > MAX_METHODS or not set(need) <= set(methods) or len(element):
            raise ValueError
        return Hello(
            role=Role(element.attrib["role"]),
            sid=element.attrib["sid"],
            neg=neg,
            methods=methods,
            need=need,
            require=Assurance.parse(element.attrib["require"]),
            rotations=unpack(strict_base64(element.attrib["rotations"])) if "rotations" in element.attrib else None,
            acknowledges=element.get("sm") == _SM,
        )
    except (KeyError, ValueError):
        raise StreamError("the peer's hello is malformed", "bad-format") from None


def build_rotation(rotations: tuple[Rotation, ...]) -> Element:
    """The element that says, in an open session, that another key has taken the place of the sender's."""
    element = Element(ROTATION)
    element.text = _encode_rotations(rotations)
    return element


def parse_rotation(element: Element) -> tuple[Rotation, ...]:
    """Its statements; StreamError ``bad-format`` if it is none."""
    try:
        if len(element):
            raise ValueError
        return unpack(strict_base64(element.text or ""))
    except ValueError:
        raise StreamError("the peer's rotation is malformed", "bad-format") from None


def _encode_rotations(rotations: tuple[Rotation, ...]) -> str:
    return base64.b64encode(pack(rotations)).decode()


def build_verification(tag: str, method: str, form: SasForm = SasForm.DECIMAL, **attributes: str) -> Element:
    """A request, decline or result about a method; ``form`` is how its strings are to be shown."""
    return Element(tag, {"method": method, **_sas_form_attribute(form), **attributes})


def parse_sas_form(element: Element) -> SasForm | None:
    """Return the form of the SAS in a request or an initiator's first step; None for a form that we do not know."""
    try:
        return SasForm(element.get("form", SasForm.DECIMAL.value))
    except ValueError:
        return None


def _sas_form_attribute(form: SasForm) -> dict[str, str]:
    return {} if form is SasForm.DECIMAL else {"form": form.value}


def build_step(method: str, payload: bytes, form: SasForm = SasForm.DECIMAL) -> Element:
    """The element of one step of a method; ``form`` belongs to the initiator's first of ``sas``."""
    element = Element(STEP, {"method": method, **_sas_form_attribute(form)})
    element.text = base64.b64encode(payload).decode()
    return element


def parse_step(element: Element) -> tuple[str, bytes]:
    """Its method and payload; StreamError ``bad-format`` if it is none."""
    try:
        if len(element) or len(text := element.text or "") > _MAX_STEP:
            raise ValueError
        return element.attrib["method"], strict_base64(text)
    except (KeyError, ValueError):
        raise StreamError("the peer's step is malformed", "bad-format") from None

"""What is said inside TLS: header, hello, proofs, done, stanzas, farewell (docs/protocol.md §4 to §7).

The session tells it when TLS is up and what came out of it; what is to be said waits in ``out``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar
from xml.etree.ElementTree import Element

from xmpp_e2e import events
from xmpp_e2e.authenticate import hello as auth
from xmpp_e2e.authenticate.base import (
    MATCH,
    Ask,
    Computation,
    Evidence,
    Proven,
    Question,
    SecretWanted,
    Send,
    StringsShown,
    convince,
)
from xmpp_e2e.authenticate.dialogue import Failed
from xmpp_e2e.authenticate.sas import StringsDiffer
from xmpp_e2e.authenticate.strings import Form
from xmpp_e2e.config import Config, Each
from xmpp_e2e.errors import AuthenticationFailed, E2EError, GivenUp, LocalError, PeerRefused, StreamError, UntrustedKey
from xmpp_e2e.identity import Assurance, Remembered, Role
from xmpp_e2e.progress import Progress
from xmpp_e2e.runs import Runs
from xmpp_e2e.stages import GREETING, PROVING, Input, Stage
from xmpp_e2e.standing import Standing
from xmpp_e2e.stream import outflow, reader, writer
from xmpp_e2e.trust.judge import Decision, KeyKind, Verdict
from xmpp_e2e.wishes import Wish, Wishes

HELD_BYTES = 64 * 1024
"""Stanza bytes that are held until our own policy is met: twice what an honest peer sends."""

MAX_STEPS = 32
"""Steps that a peer may send in a session, with whatever else he says of proofs, most of which we answer: all proofs together
take five."""

_LATE_STAGES = GREETING | {Stage.OPEN}
"""When a proof can run that no hello needs."""

_OF_PROOFS = frozenset({auth.STEP, auth.REQUEST, auth.DECLINE, auth.RESULT})
_STANZAS = frozenset(f"{{jabber:client}}{name}" for name in ("message", "presence", "iq"))


class Inner:
    """The inner stream of one session, both ways, and the gate before it."""

    def __init__(
        self, role: Role, config: Config, remembered: Remembered, progress: Progress, told: deque[events.Event]
    ) -> None:
        """``told`` takes what the host must know."""
        self.assurance = Assurance.NONE
        self.out = outflow.Outflow()
        self._role, self._config, self._progress, self._told = role, config, progress, told
        self._standing = Standing(config, remembered)
        self._hello: auth.Hello | None = None
        """Ours, but for what it requires."""
        self._reader = reader.Reader()
        self._held: list[Element] = []
        self._held_bytes = 0
        self._proof: Proven | None = None
        self._runs: Runs | None = None
        self._steps = 0
        """What the peer has said of proofs."""
        self._secrets = dict(config.secrets)
        self._wishes = Wishes()
        self._theirs: tuple[str, ...] = ()
        """Keyed methods that the peer has named."""
        self._held_told = False

    @property
    def complete(self) -> bool:
        """Has the peer said farewell?"""
        return self._reader.complete

    @property
    def proving(self) -> bool:
        """Does an authenticator run, or wait for its turn?"""
        return self._runs is not None and self._runs.active

    @property
    def question(self) -> Question | None:
        """What our side is asked and has not answered; after a farewell it is asked nothing any more."""
        stage = self._progress.stage
        ask = self._runs.question if self._runs and (stage in PROVING or stage is Stage.OPEN) else None
        return ask.question if ask else None

    # --- what happens ----------------------------------------------------------------------------------------------

    def begin(self, evidence: Evidence, sid: str, neg: bytes, now: float) -> None:
        """TLS is up. The initiator greets first; the responder when it has checked the initiator's hello, and says by that
        also that it accepted the certificate, which the initiator's TLS cannot know."""
        self._standing.shown(convince(self._config.authenticators[0], evidence))
        # whom the user has verified needs no proof again, unless the user wants it: the key is one
        verdict = self._standing.weigh()
        verified = verdict.assurance is Assurance.VERIFIED
        need = () if verified and self._config.each is Each.FIRST else self._config.need
        self._hello = auth.Hello(self._role, sid, neg, methods=self._config.methods, need=need)
        self._runs = Runs(evidence, self._config.authenticators)
        if self._role is Role.INITIATOR:
            self._greet()
            self._runs.add(need if verdict.kind is not KeyKind.BLOCKED else ())
            self._go_on(now)

    def remember(self, remembered: Remembered, now: float) -> None:
        """The host's memory of the peer has changed."""
        self._standing.remembered = remembered
        if self._progress.stage in PROVING or self._progress.stage is Stage.OPEN:
            self._judge(now)

    def send_stanza(self, stanza: Element) -> None:
        """Say it; LocalError when stanzas may not flow or there is no room."""
        stage = self._progress.stage
        if stage not in (Stage.EARLY, Stage.PROVED, Stage.OPEN):
            raise LocalError(f"no stanza can be sent now: the session is {stage.value}")
        self.out.stanza(stanza, early=stage is not Stage.OPEN)

    def receive(self, plaintext: bytes, now: float) -> None:
        """What the peer said, as TLS gives it out, cut anywhere."""
        self._reader.feed(plaintext)
        while (seen := self._reader.next_event()) is not None:
            if isinstance(seen, reader.Header):
                self._on_header(seen)
            elif isinstance(seen, reader.End):
                self._on_farewell(now)
            elif seen.tag in _STANZAS:
                self._on_stanza(seen, now)
            elif seen.tag in self._ON_ELEMENT:
                self._count(seen)
                self._ON_ELEMENT[seen.tag](self, seen, now)
            else:
                raise StreamError(f"the peer sent an element that has no place here: {seen.tag}", "unsupported-stanza-type")

    def abort(self, error: E2EError) -> None:
        """Say that it failed, never why; a fault in the stream is named, since who reads it learns no secret."""
        if not self.out.begun:
            self._header()
        if isinstance(error, StreamError):
            self.out.error(error.condition)
        else:
            self.out.element(Element(auth.ABORT))
        self.out.farewell()

    def forget(self) -> None:
        """Nothing more will be said or delivered: let go of what is held, and of the parser."""
        self._held.clear()
        self._reader, self._runs = reader.Reader(), None

    def request(self, method: str, now: float, secret: bytes | None = None, form: Form = Form.DECIMAL) -> None:
        """Let ``method`` run beyond what the hellos need; the initiator begins it, the responder asks him to. If the peer has
        asked for it, this agrees, and the form is the peer's. LocalError."""
        stage = self._progress.stage
        if stage not in _LATE_STAGES:
            raise LocalError(f"{method} cannot run now: the session is {stage.value}")
        assert self._runs is not None
        if not self._runs.knows(method) or not self._runs.may_begin(method):
            raise LocalError(f"{method} cannot run: it has run in this session, or there is no such method")
        if secret is not None:
            self._secrets[method] = secret
        theirs = self._wishes.of(method)
        if theirs is not None and not theirs.ours:
            self._begin(method, theirs.form, theirs.step, now)
        elif self._role is Role.INITIATOR:
            self._begin(method, form, None, now)
        elif theirs is None:
            self._wishes.add(method, Wish(form, ours=True))
            self.out.element(auth.build_late(auth.REQUEST, method, form))
            self._wait(now)

    def decline(self, method: str, now: float) -> None:
        """To what the peer has asked for; nothing, if he has gone meanwhile. LocalError if he has not asked."""
        if self._progress.stage not in _LATE_STAGES:
            return
        if method not in self._wishes.waiting:
            raise LocalError(f"{method} was not asked for")
        self._wishes.drop(method)
        self.out.element(auth.build_late(auth.DECLINE, method))
        self._wait(now)

    def _is_able(self, method: str) -> bool:
        return method in self._config.methods or method in self._config.asks or method in self._wishes

    def _begin(self, method: str, form: Form, step: bytes | None, now: float) -> None:
        """Both sides want it, as far as we know. ``step``: the initiator's first, if that is the peer."""
        assert self._runs is not None
        self._wishes.add(method, Wish(form, ours=True))
        self._runs.add((method,))
        if step is not None:
            self._runs.receive(method, step)
        try:
            self._go_on(now)
        except LocalError:
            if step is not None:
                self.out.element(auth.build_late(auth.DECLINE, method))
            self._wait(now)
            raise

    def answer(self, reply: bytes, now: float) -> None:
        """To ``question``."""
        assert self._runs is not None
        if isinstance(self.question, StringsShown):
            match = self._wishes.said[True] = reply == MATCH
            self.out.element(auth.build_late(auth.RESULT, "sas", match=str(match).lower()))
        self._runs.answer(reply)
        self._go_on(now)

    # --- greet and prove -------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._header()
        self.out.element(auth.build(self._our_hello()))

    def _header(self) -> None:
        stream_id = self._config.random(16).hex() if self._role is Role.RESPONDER else None
        self.out.header(self._config.ours, self._config.peer, id=stream_id)

    def _our_hello(self) -> auth.Hello:
        assert self._hello is not None
        held = self._standing.weigh().decision is Decision.HOLD
        return replace(self._hello, require=Assurance.VERIFIED if held else self._config.minimum)

    def _go_on(self, now: float) -> None:
        """Let the proofs go as far as they can, and judge what there is."""
        assert self._runs is not None
        while (due := self._runs.advance()) is not None:
            match due:
                case Send(payload):
                    self._say(self._runs.method, payload)
                case Ask(SecretWanted(method)) if method in self._secrets:
                    self._runs.answer(self._secrets[method])
                case Ask(Computation() as computation):
                    self._told.append(events.Computing(computation))
                case Ask(question):
                    self._progress.wait_for_a_person(now)
                    self._wishes.strings_shown |= isinstance(question, StringsShown)
                    self._told.append(events.Asked(question, self._wishes.form(self._runs.method)))
                case _:
                    self._standing.shown(due)
                    self._told.append(events.Proved(due.method, due.assurance, due.key))
        self._wait(now)
        self._judge(now)

    def _say(self, method: str, payload: bytes) -> None:
        """One step; the initiator's first tells how strings are shown."""
        wish, form = self._wishes.of(method), Form.DECIMAL
        if wish is not None and self._role is Role.INITIATOR and not wish.announced:
            wish.announced, form = True, wish.form
        self.out.element(auth.build_step(method, payload, form))

    def _wait(self, now: float) -> None:
        """In the open session a proof has its own time: while it runs, is asked for, or people compare."""
        if self._progress.stage is Stage.OPEN:
            assert self._runs is not None
            asked = any(self._runs.may_begin(method) for method in self._wishes.methods)
            self._progress.prove_late(now, self._runs.active or asked or self._wishes.comparing)

    def _judge(self, now: float) -> None:
        """May our stanzas flow to the key that was shown, and the peer's to us?"""
        assert self._runs is not None
        assert self._hello is not None
        verdict = self._standing.weigh()
        self.assurance = verdict.assurance
        if (news := self._standing.news(verdict)) is not None:
            self._told.append(news)
        if self._runs.wants(self._hello.need) and verdict.kind is not KeyKind.BLOCKED:
            return  # what a proof is worth is not known before it is there
        # our done cannot be taken back: what would be held now must end
        if verdict.decision is Decision.REJECT or (verdict.decision is Decision.HOLD and self._proof is not None):
            raise UntrustedKey(verdict.reason)
        if verdict.decision is Decision.HOLD:
            self._hold(verdict, now)
            return
        # a key that is new for a known peer gets no stanza before it has answered with a hello
        stage = self._progress.stage
        early = stage is Stage.SECURED and self.out.begun and verdict.kind.expected
        if early or stage in (Stage.GREETED, Stage.AWAITED):
            self._prove(now)

    def _hold(self, verdict: Verdict, now: float) -> None:
        """The user, or a proof, has to act; told when a proof could, if none is on its way."""
        assert self._runs is not None
        assert self._standing.evidence is not None
        self._progress.wait_for_a_person(now)
        if self._progress.stage in GREETING and not self._runs.active and not self._held_told:
            self._held_told = True
            key = self._standing.evidence.key
            self._told.append(events.KeyHeld(verdict.kind.value, key, self._theirs, verdict.reason))

    def _prove(self, now: float) -> None:
        proof = self._proof = self._standing.best
        self.out.element(Element(auth.DONE))
        if self._progress.stage is Stage.AWAITED:
            self._open(proof, Input.PROOF, now)
        else:
            self._progress.step(Input.PROOF, now)

    def _open(self, proof: Proven, happened: Input, now: float) -> None:
        """The only way into OPEN, and it takes a proof."""
        self._progress.step(happened, now, proof)
        self._wait(now)
        self._told.append(events.SessionStart(self.assurance, proof.key))
        held, self._held, self._held_bytes = self._held, [], 0
        for stanza in held:
            self._deliver(stanza)

    # --- what the peer says ----------------------------------------------------------------------------------------

    def _on_header(self, header: reader.Header) -> None:
        if (header.from_, header.to) != (self._config.peer, self._config.ours):
            raise StreamError("the peer's stream is addressed from or to somebody else", "invalid-from")

    def _on_hello(self, element: Element, now: float) -> None:
        assert self._hello is not None
        hello = auth.parse(element)
        ours = self._our_hello()
        hello.check(ours)
        self._progress.step(Input.HELLO, now)
        self._reader.relax(reader.OPEN)
        if hello.require > Assurance.VOUCHED or hello.need or self._hello.need:  # somebody may have to type a password
            self._progress.wait_for_a_person(now)
        assert self._runs is not None
        self._theirs = hello.methods
        first, then = ours, hello
        if self._role is Role.RESPONDER:
            self._greet()  # and what is missing here the initiator sees for himself
            first, then = then, first
        hello.meet(ours)
        self._runs.add(first.need)
        self._runs.add(then.need)
        self._go_on(now)

    def _count(self, element: Element) -> None:
        self._steps += element.tag in _OF_PROOFS
        if self._steps > MAX_STEPS:
            raise StreamError(f"the peer sent more than {MAX_STEPS} steps", "policy-violation")

    def _on_step(self, element: Element, now: float) -> None:
        self._progress.step(Input.STEP, now)
        assert self._runs is not None
        method, payload = auth.parse_step(element)
        if self._progress.stage is Stage.CLOSING:
            return
        if self._role is Role.RESPONDER and self._runs.may_begin(method):
            if self._wishes.waiting:
                raise StreamError(f"the peer began {method} when his last wish was not answered", "policy-violation")
            self._wanted(method, auth.form_of(element), payload, now)
        else:
            self._runs.receive(method, payload)
            self._go_on(now)

    def _on_request(self, element: Element, now: float) -> None:
        """The responder wants a method to run beyond what the hellos need."""
        assert self._runs is not None
        method = element.get("method", "")
        if self._role is not Role.INITIATOR:
            self._progress.refuse(Input.STEP)
        if not self._is_late() or self._runs.wants((method,)) or method in self._wishes.waiting:
            return  # both sides want it at once
        self._wanted(method, auth.form_of(element), None, now)

    def _wanted(self, method: str, form: Form | None, step: bytes | None, now: float) -> None:
        """The peer wants a method, and has begun it if he is the initiator."""
        assert self._runs is not None
        if form is None or not self._runs.knows(method) or not self._runs.may_begin(method):
            self.out.element(auth.build_late(auth.DECLINE, method))
            return
        able = self._is_able(method)
        if method not in self._wishes:
            self._told.append(events.VerifyRequest(method, form.value, begun=able))
        if able:
            self._begin(method, form, step, now)
        else:
            self._wishes.add(method, Wish(form, ours=False, step=step))
            self._wait(now)

    def _on_decline(self, element: Element, now: float) -> None:
        assert self._runs is not None
        method = element.get("method", "")
        if not self._is_late():
            return
        if self._progress.stage is not Stage.OPEN and method not in self._wishes:
            self._progress.refuse(Input.STEP)  # what a hello needs is not declined
        if method == self._runs.method:
            self._cut()
        self._runs.drop(method)
        self._wishes.drop(method)
        self._told.append(events.Declined(method))
        self._go_on(now)

    def _on_result(self, element: Element, now: float) -> None:
        """What the peer's user says of the strings: information; our own user's answer counts."""
        if not self._is_late():
            return
        if not self._wishes.strings_shown:
            if self._progress.stage is not Stage.OPEN:
                self._progress.refuse(Input.STEP)
            return
        match = element.get("match")
        if element.get("method") != "sas" or match not in ("true", "false"):
            raise StreamError("the peer's result is malformed", "bad-format")
        if False in self._wishes.said:
            return
        self._wishes.said[False] = match == "true"
        self._told.append(events.VerifyResult("sas", match == "true"))
        if match == "false":
            raise StringsDiffer(f"the user of {self._config.peer} says that the strings are not the same")
        self._wait(now)

    def _is_late(self) -> bool:
        """Are both hellos checked, before which nothing of the kind is said? It is refused then, and of no use when it crossed
        our farewell."""
        stage = self._progress.stage
        if stage not in _LATE_STAGES and stage is not Stage.CLOSING:
            self._progress.refuse(Input.STEP)
        return stage in _LATE_STAGES

    def _cut(self) -> None:
        """It is over with the strings, before both users have spoken: somebody who sees that they differ would do that."""
        if self._wishes.comparing:
            self._wishes.strings_shown = False
            self._told.append(events.VerifyCut("sas"))

    def end(self, error: E2EError) -> None:
        """The session ends over ``error``."""
        if not isinstance(error, GivenUp):
            self._cut()

    def _on_done(self, element: Element, now: float) -> None:
        if self._proof is not None:
            self._open(self._proof, Input.DONE, now)
        else:
            self._progress.step(Input.DONE, now)

    def _on_abort(self, element: Element, now: float) -> None:
        if self.proving:
            assert self._runs is not None
            raise Failed(f"{self._config.peer} gave up on the proof by {self._runs.method} inside TLS, which never says why")
        raise AuthenticationFailed(f"{self._config.peer} gave up on the session inside TLS, which never says why")

    def _on_stream_error(self, element: Element, now: float) -> None:
        condition = element[0].tag.rpartition("}")[2] if len(element) else "undefined-condition"
        raise PeerRefused(f"{self._config.peer} ended the inner stream with the error {condition}")

    _ON_ELEMENT: ClassVar[dict[str, Callable[[Inner, Element, float], None]]] = {
        auth.HELLO: _on_hello,
        auth.STEP: _on_step,
        auth.REQUEST: _on_request,
        auth.DECLINE: _on_decline,
        auth.RESULT: _on_result,
        auth.DONE: _on_done,
        auth.ABORT: _on_abort,
        outflow.ERROR: _on_stream_error,
    }

    def _on_stanza(self, stanza: Element, now: float) -> None:
        self._progress.step(Input.STANZA, now)
        if self._progress.stage is Stage.AWAITED:
            self._held_bytes += len(writer.element(stanza))
            if self._held_bytes > HELD_BYTES:
                raise StreamError("the peer sent more than can be held before our policy is met", "policy-violation")
            self._held.append(stanza)
        else:
            self._deliver(stanza)

    def _deliver(self, stanza: Element) -> None:
        """The session says who talks to whom, never the stanza."""
        stanza.set("from", self._config.peer)
        stanza.set("to", self._config.ours)
        self._told.append(events.StanzaReceived(stanza))

    def _on_farewell(self, now: float) -> None:
        was = self._progress.stage
        self._progress.step(Input.FAREWELL, now)
        if was is Stage.OPEN:
            self._cut()
            self.out.farewell()

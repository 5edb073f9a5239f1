"""The way out, from our filters to a session, to the wire or to a failure; with a real queue, and no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from slixmpp.xmlstream.stanzabase import StanzaBase

from slixmpp_e2e.errors import NotSentReason
from slixmpp_e2e.messages.outgoing import OutgoingFilter
from slixmpp_e2e.messages.rooms import MucRooms
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.xmpp import marker
from slixmpp_e2e.xmpp.emitter import Emitter
from slixmpp_e2e.xmpp.iq_channel import IqChannel
from tests.slixmpp_e2e.env import ALICE, BOB, BOTS, turns
from tests.slixmpp_e2e.messages.fake_sessions import PLAINTEXT, FakeDriver, FakeSessions, through
from tests.slixmpp_e2e.messages.stanzas import BODY, DISCO, KINDS, MUC, VERSION, offline_client, settings, stanza
from xmpp_e2e.errors import E2EError, PeerRefused

ECHO = f"echo@{BOTS}/bot"
STATUS, MUC_USER = "<status>asleep</status>", "<x xmlns='http://jabber.org/protocol/muc#user'/>"


class Out:
    """The filters of Alice, or of a component, with open sessions with Bob."""

    def __init__(self, *, component: bool = False) -> None:
        self.xmpp = offline_client(component=component)
        self.channel = IqChannel(self.xmpp)
        self.drivers = {jid: FakeDriver(BOB, own_jid=jid) for jid in ((BOTS, ECHO) if component else (ALICE,))}
        self.fake = FakeSessions(*self.drivers.values())
        self.settings = settings()
        self.recent: Any = None
        """What has held until a moment ago, if another process has changed it since."""
        self.error: E2EError | None = None
        self.rooms = MucRooms(self.xmpp, lambda account: False, lambda account: False, lambda account: True)
        failures: Any = SimpleNamespace(report=self.fake.recorder.fail, track=self.fake.iqs.add)
        peers: Any = SimpleNamespace(of=self._settings_of)
        parts = self.channel, self.rooms, self.fake.iqs, peers, self.fake.routes, failures, Emitter(self.xmpp)
        self.filters = OutgoingFilter(self.xmpp, *parts)
        self.filters.attach(self.fake.queue)
        self.wire: list[str | bytes] = []
        self.xmpp.send_raw = self.wire.append  # type: ignore[method-assign, assignment]

    def _settings_of(self, account: str, max_age: float = 0.0) -> Any:
        assert account == BOB.partition("/")[0]
        if self.error is not None:
            raise self.error
        return self.recent if max_age and self.recent is not None else self.settings

    async def send(self, sent: StanzaBase, own_jid: str = ALICE) -> str:
        """Where it goes: ``passed``, ``session``, ``plaintext``, the name of an error, or nowhere yet."""
        self.fake.found.setdefault(BOB, through(BOB, own_jid=own_jid))
        driver, recorder = self.drivers[own_jid], self.fake.recorder
        before = len(driver.sent), len(recorder.failed), len(recorder.plaintext)
        if (passed := self.filters.filter_outgoing(sent)) is not None:
            assert passed is sent
            return "passed"
        await turns(6)
        if len(driver.sent) > before[0]:
            return "session"
        if len(recorder.failed) > before[1]:
            kind = recorder.kinds[-1][1]
            return kind.value if isinstance(kind, NotSentReason) else kind.__name__
        return "plaintext" if len(recorder.plaintext) > before[2] else ""


@pytest.fixture
async def out() -> Out:
    return Out()


@pytest.fixture
async def bots() -> Out:
    return Out(component=True)


def test_our_own_iqs_leave_in_one_write_in_the_order_in_which_they_were_given(out: Out) -> None:
    for name in ("one", "two"):
        out.channel.request(ALICE, BOB, Element(f"{{urn:x}}{name}"), lambda condition: None)
    assert out.wire == []
    out.channel.writer.flush()
    [text] = map(str, out.wire)
    assert text.index("one") < text.index("two")


def test_the_iqs_of_a_component_are_in_the_namespace_of_its_stream(bots: Out) -> None:
    bots.channel.request(BOTS, BOB, Element("{jabber:client}x"), lambda condition: None)
    bots.channel.writer.flush()
    [text] = bots.wire
    assert "jabber:client" not in str(text)


async def test_what_is_no_stanza_is_let_through(out: Out) -> None:
    other: Any = StanzaBase(sto=BOB, sfrom=BOB)
    assert await out.send(other) == "passed"


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_for_a_person_goes_through_their_session(out: Out, name: str) -> None:
    for _ in range(2):
        sent = stanza(name, "get" if name == "iq" else "", BODY, to=BOB, id="1")
        assert await out.send(sent) == "session"
    assert out.fake.sought == [BOB]
    assert out.fake.iqs.is_spoofed_reply(stanza("iq", "result", id="1")) is (name == "iq")


async def test_markers_are_taken_off_and_rooms_noted(out: Out) -> None:
    entrance = stanza("presence", "", MUC, to="room@localhost/alice")
    marker.put(entrance, "token")
    assert await out.send(entrance) == "passed"
    assert len(entrance.xml) == 1
    assert "room@localhost" in out.rooms


@pytest.mark.parametrize("to", ["", "localhost", BOB])
async def test_what_is_never_encrypted_needs_no_route_and_no_settings(out: Out, to: str) -> None:
    out.error = PeerRefused("nobody asks")
    assert await out.send(stanza("presence", "subscribe", to=to)) == "passed"
    assert out.fake.sought == []


async def test_under_the_policy_off_everything_is_plaintext_and_no_route_is_sought(out: Out) -> None:
    out.settings = settings(Policy.OFF)
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "passed"
    assert out.fake.sought == []


async def test_plaintext_leaves_only_if_the_policy_is_off_now(out: Out) -> None:
    """With a way to the peer's device the settings may be a moment old; but nothing leaves in plaintext by them."""
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "session"
    out.recent, out.settings = settings(Policy.OFF), settings(Policy.REQUIRE)
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "session"
    out.settings = settings(Policy.OFF)
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "passed"


async def test_a_route_in_plaintext_holds_while_the_settings_allow_it(out: Out) -> None:
    """Another process may have changed them: then a route is sought anew."""
    out.fake.found[BOB] = PLAINTEXT
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "plaintext"
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "passed"
    out.settings = settings(has_used_e2e=True)
    out.fake.found[BOB] = through(BOB)
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "session"
    assert out.fake.sought == [BOB, BOB]


async def test_what_cannot_be_sent_is_reported_and_does_not_leave_in_plaintext(out: Out) -> None:
    out.error = PeerRefused("no")
    assert await out.send(stanza("message", "chat", BODY, to=BOB)) == "PeerRefused"
    assert out.fake.recorder.failed == [("x", out.error)]


async def test_an_answer_goes_the_way_of_its_request(out: Out) -> None:
    """Through the same session, in plaintext unless the policy has forbidden that meanwhile, or nowhere; a request with that id
    is no answer."""
    driver = out.drivers[ALICE]
    for iq_id in ("in", "ask"):
        out.fake.iqs.on_encrypted(stanza("iq", "get", VERSION, sender=BOB, id=iq_id), driver)
    for iq_id in ("out", "off", "late", "asked"):
        out.fake.iqs.on_plaintext_request(stanza("iq", "get", VERSION, sender=BOB, id=iq_id))
    assert await out.send(stanza("iq", "result", BODY, to=BOB, id="in")) == "session"
    assert out.fake.sought == []
    assert await out.send(stanza("iq", "result", BODY, to=BOB, id="out")) == "passed"
    assert out.fake.sought == []
    assert await out.send(stanza("iq", "get", BODY, to=BOB, id="ask")) == "session"
    assert await out.send(stanza("message", "chat", BODY, to=BOB, id="ask")) == "session"
    out.settings = settings(Policy.OFF)
    assert await out.send(stanza("iq", "result", BODY, to=BOB, id="off")) == "passed"
    out.settings = settings(Policy.REQUIRE)
    assert await out.send(stanza("iq", "result", BODY, to=BOB, id="late")) == "session"
    assert await out.send(stanza("iq", "error", DISCO, "<error/>", to=BOB, id="asked")) == "passed"
    for iq_id in ("in", "out", "unknown"):
        assert await out.send(stanza("iq", "result", BODY, to=BOB, id=iq_id)) == NotSentReason.SESSION_CLOSED.value


async def test_a_component_sends_from_the_address_that_is_stamped(bots: Out) -> None:
    assert await bots.send(stanza("message", "chat", BODY, sender=ECHO, to=BOB), ECHO) == "session"
    assert list(bots.fake.routes.known) == [(ECHO, BOB)]


@pytest.mark.parametrize("sender", ["", BOTS, f"{BOTS}/x", f"echo@{BOTS}"])
@pytest.mark.parametrize(("policy", "becomes"), [("prefer", "passed"), ("require", NotSentReason.SERVER_WOULD_READ.value)])
async def test_what_is_from_no_end_of_a_session_is_outside_by_rule(bots: Out, sender: str, policy: str, becomes: str) -> None:
    """Unless it holds words for a person with whom encryption is required: then its sender is told."""
    bots.settings = settings(Policy(policy))
    for name, words in (("message", BODY), ("presence", STATUS)):
        assert await bots.send(stanza(name, "", words, sender=sender, to=BOB), ECHO) == becomes
    assert await bots.send(stanza("iq", "get", VERSION, sender=sender, to=BOB, id="1"), ECHO) == becomes
    for wordless in (stanza("presence", "", sender=sender, to=BOB), stanza("iq", "get", DISCO, sender=sender, to=BOB, id="2")):
        assert await bots.send(wordless, ECHO) == "passed"
    assert await bots.send(stanza("message", "chat", BODY, sender=sender, to="localhost"), ECHO) == "passed"


async def test_what_our_own_room_says_is_outside_by_rule(bots: Out) -> None:
    """A room is known by what it tells its occupants, and what it says to all by its type."""
    room = f"room@{BOTS}/nick"
    said, private = (stanza("message", kind, BODY, sender=room, to=BOB) for kind in ("groupchat", "chat"))
    assert await bots.send(said, ECHO) == "passed"
    assert await bots.send(stanza("presence", "", MUC_USER, sender=f"room@{BOTS}/other", to=BOB), ECHO) == "passed"
    assert await bots.send(private, ECHO) == "passed"
    bots.settings = settings(Policy.REQUIRE)
    for each in (said, private):
        assert await bots.send(each, ECHO) == NotSentReason.SERVER_WOULD_READ.value


async def test_a_client_sends_from_its_own_address_whatever_is_stamped(out: Out) -> None:
    assert await out.send(stanza("message", "chat", BODY, sender="alice@localhost/other", to=BOB)) == "session"
    assert list(out.fake.routes.known) == [(ALICE, BOB)]


@pytest.mark.parametrize("later", ["", "paused", "somebody else encrypts it"])
def test_plaintext_that_has_waited_goes_before_what_is_sent_after_it(
    out: Out, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """Or by slixmpp's own queue, while there is no connection or if another plugin encrypts it. A request may be answered in
    plaintext then."""
    queued: list[Any] = []
    monkeypatch.setattr(out.xmpp, "send", queued.append)
    if later == "paused":
        out.channel.pause()
    elif later:
        out.xmpp.add_filter("out_sce", lambda sent: sent)
    request = stanza("iq", "get", VERSION, to=BOB, id="1")
    out.fake.iqs.add(request)
    stanzas = [request, stanza("message", "chat", BODY, to=BOB)]
    for each in stanzas:
        out.filters.write_plaintext(each)
    assert (len(out.wire), queued) == ((0, stanzas) if later else (2, []))
    assert not out.fake.iqs.is_spoofed_reply(stanza("iq", "result", id="1"))

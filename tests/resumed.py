"""Two hosts whose sessions come and go: a wire that a test cuts at any byte, and what each host may expect of its stanzas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.pair import Side, body, config, dice, message, remembers
from xmpp_e2e import events
from xmpp_e2e.errors import BytestreamFailed, JingleError, LocalError
from xmpp_e2e.inner.resumption import Link, Resumptions
from xmpp_e2e.session import Session
from xmpp_e2e.states import WRITABLE, State
from xmpp_e2e.stream.acks import SentStanza
from xmpp_e2e.types import Assurance, Role, TrustModel

NAMES = ("alice", "bob")
HELD = {"trust_model": TrustModel.SERVER_UNTRUSTED}


def other(name: str) -> str:
    """The peer's name."""
    return NAMES[name == "alice"]


@dataclass
class Path:
    """One session of both, and the bytes under way: to each."""

    ends: dict[str, Side]
    wire: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in NAMES})
    begun: bool = False
    lost: set[str] = field(default_factory=set)
    """To whom nothing comes any more."""


@dataclass
class Host:
    """What one of them has sent and heard, in all sessions."""

    notes: dict[tuple[Link, str], int] = field(default_factory=dict)
    """What it has noted durably."""
    resumptions: Resumptions = field(init=False)
    count: int = 0
    pending: list[int] = field(default_factory=list)
    """Not sent yet."""
    sent: dict[int, SentStanza] = field(default_factory=dict)
    """Sent, and not acknowledged."""
    given_up: set[int] = field(default_factory=set)
    acknowledged: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)
    """What was delivered, of the other's."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Its program starts: it knows what is noted."""
        self.resumptions = Resumptions(lambda link, sid: self.notes.get((link, sid)))

    def note(self) -> None:
        """Note what has come since."""
        self.notes.update({(link, sid): stanzas for link, sid, stanzas in self.resumptions.take_changes()})


class World:
    """The two hosts, and all paths that are there."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.hosts = {name: Host() for name in NAMES}
        self.paths: list[Path] = []
        self._opened = 0

    def open(self, initiator: str = "alice", *, holder: str | None = None, **changes: Any) -> Path:
        """Offer and accept a session; nothing of its bytestream arrives yet. ``holder``: whose user has yet to decide."""
        self._opened += 1
        ends: dict[str, Side] = {}
        for name in NAMES:
            role = Role.INITIATOR if name == initiator else Role.RESPONDER
            terms = config(name, random=dice(f"{name}{self._opened}"), **changes, **(HELD if name == holder else {}))
            ends[name] = Side(Session(role, terms, remembers(other(name)), self.hosts[name].resumptions))
        path = Path(ends)
        self.paths.append(path)
        ends[initiator].session.offer(self.now)
        self.settle()
        return path

    def settle(self) -> None:
        """Deal with all events and signalling, and fetch what the sessions write."""
        while any(self._pump(path, name) for path in list(self.paths) for name in NAMES):
            pass
        self.paths = [path for path in self.paths if any(self.alive(path, name) for name in NAMES)]

    def alive(self, path: Path, name: str) -> bool:
        """Is the session there at this side?"""
        return path.ends[name].session.state is not State.CLOSED

    def _pump(self, path: Path, name: str) -> bool:
        side, peer = path.ends[name], other(name)
        moved = False
        while (event := side.session.next_event()) is not None:
            moved = True
            side.events.append(event)
            self._handle(path, name, event)
        while data := side.session.data_to_send():
            moved = True
            path.wire[peer] += data
        for element in side.session.jingle_to_send():
            if element.get("action") != "session-terminate":  # it gets lost: no path, no word
                moved = True
                try:
                    path.ends[peer].session.receive_jingle(element, self.now)
                except JingleError as error:
                    side.session.receive_jingle_error(error.condition, self.now)
        return moved

    def _handle(self, path: Path, name: str, event: events.Event) -> None:
        host = self.hosts[name]
        if isinstance(event, events.SessionOffered):
            path.ends[name].session.accept_offer(self.now)
        elif isinstance(event, events.TransportAgreed):
            if path.begun:
                for side in path.ends.values():
                    if side.session.state is State.CONNECTING:
                        side.session.bytestream_ready(self.now)
            path.begun = True
        elif isinstance(event, events.StanzaReceived):
            host.heard.append(int(body(event.stanza)))
        elif isinstance(event, events.StanzasAcknowledged):
            for stanza in event.stanzas:
                if not stanza.data:
                    continue  # it was given up
                assert isinstance(stanza.tag, int)
                host.acknowledged.append(stanza.tag)
                assert host.sent.pop(stanza.tag) is stanza
                assert not event.by_peer or stanza.tag in self.hosts[other(name)].heard
        elif isinstance(event, events.SessionSuperseded):
            for each in self.paths:
                if each.ends[name].session.sid == event.sid:
                    self.cut(each, name, last_words=False)

    def send(self, name: str) -> None:
        """One more stanza, and all that wait, through the newest session that can."""
        host = self.hosts[name]
        host.pending.append(host.count)
        host.count += 1
        self.send_pending(name)

    def send_pending(self, name: str) -> None:
        """Send what waits, in order, until there is no room."""
        host = self.hosts[name]
        writable = [path for path in self.paths if path.ends[name].session.state in WRITABLE]
        try:
            while host.pending and writable:
                number = host.pending[0]
                sent = writable[-1].ends[name].session.send_stanza(message(str(number)), number)
                host.sent[host.pending.pop(0)] = sent
        except LocalError:
            pass
        self.settle()

    def carry(self, path: Path, name: str, size: int | None = None) -> None:
        """So many bytes arrive at ``name``."""
        data = bytes(path.wire[name][:size])
        del path.wire[name][: len(data)]
        if data and name not in path.lost:
            path.ends[name].session.receive_data(data, self.now)
        self.settle()

    def carry_all(self) -> None:
        """Everything arrives, and what waits is sent."""
        moved = True
        while moved:
            moved = False
            for path in list(self.paths):
                for name in NAMES:
                    if path.wire[name] and name not in path.lost:
                        moved = True
                        self.carry(path, name)
            for name in NAMES:
                self.send_pending(name)

    def cut(self, path: Path, name: str, *, last_words: bool) -> None:
        """``name`` finds the path broken. The other side does not, and may get what ``name`` has said."""
        path.lost.add(name)
        before = len(path.wire[other(name)])
        path.ends[name].session.bytestream_failed(BytestreamFailed("cut"), self.now)
        self.settle()
        if not last_words:
            del path.wire[other(name)][before:]

    def cut_all(self) -> None:
        """All paths are broken, for both sides."""
        for path in list(self.paths):
            for name in NAMES:
                self.cut(path, name, last_words=False)
        self.settle()

    def restart(self, name: str) -> None:
        """Its program ends in order, though it can say nothing any more, and starts again. It gives up what it has sent."""
        for path in list(self.paths):
            self.cut(path, name, last_words=False)
        host = self.hosts[name]
        host.note()
        host.given_up |= host.sent.keys()
        host.sent.clear()
        host.start()

    def pin(self, path: Path, name: str) -> None:
        """The user accepts the other's key."""
        path.ends[name].session.update_known_keys(remembers(other(name), Assurance.VERIFIED, "pin"), self.now)
        self.settle()

    def pass_time(self, seconds: float) -> None:
        """The clock runs, and timers that are due are called."""
        self.now += seconds
        for path in list(self.paths):
            for name in NAMES:
                due = path.ends[name].session.timer()
                if due is not None and due <= self.now:
                    path.ends[name].session.handle_timer(self.now)
        self.settle()

    def check(self) -> None:
        """Nothing has come twice or out of order, or was acknowledged twice."""
        for name, host in self.hosts.items():
            assert host.heard == sorted(set(host.heard)), f"{name} heard {host.heard}"
            assert len(host.acknowledged) == len(set(host.acknowledged))
            gaps = set(range(max(host.heard, default=-1))) - set(host.heard)
            assert gaps <= self.hosts[other(name)].given_up, f"{name} misses {gaps}"

    def finish(self) -> None:
        """After one more session, all has come, and each side knows."""
        self.cut_all()
        self.open()
        self.carry_all()
        self.pass_time(1.0)
        self.carry_all()
        self.check()
        for name, host in self.hosts.items():
            sender = self.hosts[other(name)]
            assert set(range(sender.count)) - set(host.heard) <= sender.given_up
            assert set(range(sender.count)) - set(sender.acknowledged) <= sender.given_up
            assert not sender.pending
            assert host.resumptions.memory == 0

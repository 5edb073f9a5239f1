"""Which route is found to an address: by the policy, by who is online, and by what they advertise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, RefusedByPolicy
from slixmpp_e2e.messages.routing import MAX_DEVICES, Route, Router
from slixmpp_e2e.policy import Policy
from slixmpp_e2e.store import SQLStore, StoreError
from slixmpp_e2e.xmpp.emitter import Emitter
from tests.slixmpp_e2e.env import ALICE, BOB, Env, Events, e2e
from tests.slixmpp_e2e.messages.fake_sessions import BARE, ONE, PLAINTEXT, TWO, FakeDriver, FakeSessions, through
from tests.slixmpp_e2e.messages.stanzas import offline_client, settings
from xmpp_e2e.errors import E2EError
from xmpp_e2e.states import State
from xmpp_loopback import reconnect

THREE = f"{BARE}/3"


class Around:
    """A router, and what is around it: who is online, and what they advertise (None: they do not answer)."""

    def __init__(self, store: SQLStore, monkeypatch: pytest.MonkeyPatch, *drivers: FakeDriver) -> None:
        self.store = store
        self.room = ""
        """The account that is one."""
        self.asked_rooms: list[tuple[str, str]] = []
        self.policy = Policy.PREFER
        self.online: list[str] = []
        self.priorities: dict[str, int] = {}
        self.advertised: dict[str, bool | None] = {}
        self.asked: list[list[str]] = []
        self.error: StoreError | None = None
        support: Any = SimpleNamespace(query=self._query_support)
        self.registry = FakeSessions(*drivers).registry
        own_key: Any = SimpleNamespace(wait_loaded=self._wait_loaded)
        presence: Any = SimpleNamespace(online=self._online, note_written_to=lambda own_account, account: None)
        rooms: Any = SimpleNamespace(ask=self._is_room)
        peers: Any = SimpleNamespace(of=lambda account: settings(self.policy, has_used_e2e=store.has_used_e2e(account)))
        xmpp = offline_client()
        self.events = Events(xmpp, "e2e_presence_missing")
        self.router = Router(xmpp, own_key, peers, presence, self.registry, Emitter(xmpp), rooms, support)

    async def _wait_loaded(self) -> None:
        if self.error is not None:
            raise self.error

    async def _online(self, own_account: str, account: str) -> dict[str, int]:
        assert account == BARE
        return {peer: self.priorities.get(peer, 0) for peer in self.online}

    async def _is_room(self, own_jid: str, account: str) -> bool:
        self.asked_rooms.append((own_jid, account))
        return account == self.room

    async def _query_support(self, own_jid: str, jids: list[str], to: str) -> dict[str, bool | None]:
        self.asked.append(jids)
        return {jid: self.advertised[jid] for jid in jids}


@pytest.fixture
async def around(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(store, monkeypatch)


@pytest.mark.parametrize(
    ("policy", "advertised", "expected"),
    [
        (Policy.OFF, True, PLAINTEXT),
        (Policy.PREFER, True, through(ONE)),
        (Policy.REQUIRE, True, through(ONE)),
        (Policy.PREFER, False, PLAINTEXT),
        (Policy.PREFER, None, PLAINTEXT),
        (Policy.REQUIRE, False, PeerWithoutE2E),
        (Policy.REQUIRE, None, PeerOffline),
    ],
)
async def test_the_policy_and_what_is_advertised_decide(
    around: Around, policy: Policy, advertised: bool | None, expected: Route | type[E2EError]
) -> None:
    """An advertisement alone says nothing about the next time: who has opened no session with us is not held to it."""
    around.policy, around.advertised = policy, {ONE: advertised}
    if isinstance(expected, Route):
        assert await around.router.find(ALICE, ONE) == expected
    else:
        with pytest.raises(expected):
            await around.router.find(ALICE, ONE)
    assert not around.store.has_used_e2e(BARE)
    if advertised and policy is Policy.PREFER:
        around.advertised[ONE] = False
        assert await around.router.find(ALICE, ONE) == PLAINTEXT


@pytest.mark.parametrize(("advertised", "error"), [(False, PeerWithoutE2E), (None, PeerOffline)])
async def test_whom_we_have_met_gets_nothing_in_clear(around: Around, advertised: bool | None, error: type[E2EError]) -> None:
    around.store.record_e2e_use(BARE, 1.0)
    around.advertised = {ONE: advertised}
    with pytest.raises(error):
        await around.router.find(ALICE, ONE)


async def test_behind_a_bare_jid_are_the_devices_that_are_online_or_have_a_session_but_not_our_own(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has an open session with us is not asked; a session with another address of ours, or one that is not open yet,
    says nothing."""
    mine, opening, elsewhere, plain = (f"{BARE}/{name}" for name in ("mine", "opening", "elsewhere", "plain"))
    around = Around(
        store,
        monkeypatch,
        FakeDriver(TWO, own_jid=mine),
        FakeDriver(THREE, own_jid=mine),
        FakeDriver(opening, own_jid=mine, state=State.DONE_SENT),
        FakeDriver(elsewhere, own_jid=ALICE),
    )
    around.online, around.advertised = [ONE, plain, mine, THREE], {ONE: True, plain: False}
    assert await around.router.find(mine, BARE) == through(ONE, THREE, TWO, own_jid=mine)
    assert around.asked == [[ONE, plain]]


async def test_a_negative_priority_takes_nothing_that_is_for_the_account(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6121 §8.5.2.1.1, whether a session with it is open or not. Who asks for a session, or writes to it, gets it."""
    around = Around(store, monkeypatch, FakeDriver(TWO))
    around.online, around.advertised = [THREE, ONE, TWO], dict.fromkeys((ONE, THREE), True)
    around.priorities = {ONE: -1, TWO: -1}
    assert await around.router.find(ALICE, BARE) == through(THREE)
    assert await around.router.find(ALICE, ONE) == through(ONE)
    around.online = [ONE]
    assert await around.router.find(ALICE, BARE) == through(TWO)  # whose presence is not known
    assert await around.router.best_device(ALICE, BARE) == (ALICE, ONE)


async def test_devices_that_are_left_out_are_told_once_and_after_each_change(around: Around) -> None:
    """Those without encryption, those that do not answer, and the ninth; not those of negative priority."""
    told = Events(around.router._xmpp, "e2e_devices_left_out")
    many = [f"{BARE}/{number}" for number in range(10, 10 + MAX_DEVICES)]
    around.advertised = {ONE: True, TWO: False, THREE: None, **dict.fromkeys(many, True)}
    around.priorities = {f"{BARE}/aside": -1}
    around.advertised[f"{BARE}/aside"] = False

    async def left_out(*online: str) -> list[tuple[str, ...]]:
        around.online = [*online]
        for _ in range(2):
            await around.router.find(ALICE, BARE)
        return [(await told.take()).devices for _ in range(len(told))]

    assert await left_out(ONE, f"{BARE}/aside") == []
    assert await left_out(ONE, TWO) == [(TWO,)]
    assert await left_out(ONE, TWO, THREE) == [(TWO, THREE)]
    assert await left_out(ONE, THREE) == []
    assert await left_out(ONE, TWO, THREE) == [(TWO, THREE)]
    assert await left_out(*many, ONE) == [(ONE,)]
    around.policy = Policy.OPPORTUNISTIC
    assert await left_out(ONE, TWO, THREE) == []
    assert await around.router.find(ALICE, TWO) == PLAINTEXT


async def test_at_most_eight_devices_have_a_stanza(around: Around) -> None:
    around.online = [f"{BARE}/{number}" for number in range(MAX_DEVICES + 1)]
    around.advertised = dict.fromkeys(around.online, True)
    assert await around.router.find(ALICE, BARE) == through(*around.online[:8])


async def test_the_best_device_is_the_first_that_advertises_encryption(around: Around) -> None:
    around.online, around.advertised = [ONE, TWO, THREE], {ONE: False, TWO: True, THREE: True}
    assert await around.router.best_device(ALICE, BARE) == (ALICE, TWO)
    for answer, error in ((False, PeerWithoutE2E), (None, PeerOffline)):
        around.advertised = dict.fromkeys(around.online, answer)
        with pytest.raises(error):
            await around.router.best_device(ALICE, BARE)
    around.policy, around.advertised = Policy.OFF, dict.fromkeys(around.online, True)
    with pytest.raises(RefusedByPolicy, match=f"our policy for {BARE} is `off`"):
        await around.router.best_device(ALICE, BARE)


async def test_without_a_key_of_our_own_nobody_is_asked(around: Around) -> None:
    around.error = StoreError(Path("store"), "locked")
    around.advertised = {ONE: True}
    with pytest.raises(StoreError):
        await around.router.find(ALICE, ONE)
    assert around.asked == []


async def test_who_sends_no_presence_is_told_that_they_see_nobody(env: Env) -> None:
    """Once, naming the cause; not of a full JID, nor once presence was sent, nor where somebody is seen all the same."""
    alice, bob = env.make(ALICE), await env.client(BOB)
    await reconnect(alice, env.server)
    told, heard = Events(alice, "e2e_presence_missing"), Events(bob, "message")
    alice.send_message(mto=BOB, mbody="to a device")
    assert str((await heard.take())["e2e"]["assurance"]) == "vouched"
    assert len(told) == 0
    for _ in range(2):
        alice.send_message(mto="carol@localhost", mbody="to nobody in sight")
        await env.settle(alice)
    event = await told.take()
    assert (event.peer, len(told)) == ("carol@localhost", 0)
    assert "xmpp.send_presence()" in str(event)


async def test_who_sends_presence_is_told_nothing(env: Env) -> None:
    alice = await env.client(ALICE)
    told, failed = Events(alice, "e2e_presence_missing"), Events(alice, "e2e_send_failed")
    e2e(alice).set_policy("carol@localhost", "require")
    alice.send_message(mto="carol@localhost", mbody="to nobody in sight")
    await failed.take()
    assert len(told) == 0


@pytest.mark.parametrize("policy", [Policy.PREFER, Policy.REQUIRE])
@pytest.mark.parametrize("advertised", [True, False, None])
async def test_a_room_is_never_stored_as_a_person(around: Around, policy: Policy, advertised: bool | None) -> None:
    """Its occupants answer for their devices. It is asked where that makes a difference."""
    around.policy, around.room, around.advertised[ONE] = policy, BARE, advertised
    assert await around.router.find(ALICE, ONE) == PLAINTEXT
    assert not around.store.has_used_e2e(BARE)
    assert around.asked_rooms == ([(ALICE, BARE)] if advertised or policy is Policy.REQUIRE else [])


@pytest.mark.parametrize("to", [ONE, BARE])
async def test_no_session_is_opened_with_a_room(around: Around, to: str) -> None:
    """Nor with anybody in it, whatever they advertise."""
    around.room, around.online, around.advertised[ONE] = BARE, [ONE], True
    with pytest.raises(PeerWithoutE2E, match=f"{BARE} is a room"):
        await around.router.best_device(ALICE, to)
    assert around.asked == []

"""The policy ``opportunistic``: inside whenever the peer's device can, else in plaintext and told, and never twice."""

from __future__ import annotations

from typing import Any

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, is_for_want_of_path
from slixmpp_e2e.messages.routing import Route
from tests.slixmpp_e2e.env import ALICE, BOB, SECRET, Env, Events, block, e2e, echo, jingle, until
from tests.slixmpp_e2e.messages.fake_sessions import FakeSessions
from xmpp_e2e.errors import BytestreamFailed, E2EError, PeerRefused, Timeout, UntrustedKey
from xmpp_loopback import offline, online

BOBS = "bob@localhost"
DESK, PHONE = f"{BOBS}/desk", f"{BOBS}/phone"


class Told:
    """What Alice hears of what she sends."""

    def __init__(self, alice: ClientXMPP) -> None:
        self.plaintext, self.failed = Events(alice, "e2e_plaintext_sent"), Events(alice, "e2e_send_failed")

    def nothing(self) -> bool:
        return not len(self.plaintext) and not len(self.failed)


def assurance(message: Any) -> str:
    return str(message["e2e"]["assurance"])


async def devices(env: Env, **config: Any) -> tuple[ClientXMPP, ClientXMPP, ClientXMPP]:
    """Return Alice, and Bob's desktop, which has encryption, and his phone, which has none."""
    alice = await env.client(ALICE, policy="opportunistic", **config)
    desk, phone = await env.client(DESK), await env.client(PHONE, load=False)
    await env.settle(alice, desk, phone)
    return alice, desk, phone


@pytest.mark.parametrize("to", [BOB, BOBS])
async def test_who_has_encryption_gets_all_inside(env: Env, to: str) -> None:
    alice, bob = await env.pair(alices={"policy": "opportunistic"})
    told, heard = Told(alice), Events(bob, "message")
    for _ in range(2):
        alice.send_message(mto=to, mbody=SECRET)
        assert assurance(await heard.take()) == "vouched"
    assert env.in_clear(SECRET) == []
    assert told.nothing()


@pytest.mark.parametrize("to", [BOB, BOBS])
async def test_who_has_none_gets_all_in_plaintext(env: Env, to: str) -> None:
    """Nothing was expected of them, so nothing is told."""
    alice, bob = await env.client(ALICE, policy="opportunistic"), await env.client(BOB, load=False)
    await env.settle(alice, bob)
    told, heard = Told(alice), Events(bob, "message")
    alice.send_message(mto=to, mbody="hello")
    assert await heard.bodies(1) == ["hello"]
    assert told.nothing()


@pytest.mark.parametrize("to", [BOB, BOBS])
async def test_whom_we_have_met_is_written_to_while_they_are_offline(env: Env, to: str) -> None:
    """Their server may keep it for them. The next one goes inside again."""
    alice, bob = await env.pair(alices={"policy": "opportunistic"})
    ours, _ = await env.session(alice, bob)
    await until(ours.close())
    await offline(bob)
    await env.settle(alice)
    told, heard = Told(alice), Events(bob, "message")
    alice.send_message(mto=to, mbody="for later", mtype="chat")
    report = await told.plaintext.take()
    assert isinstance(report.error, PeerOffline)
    assert report.stanza["body"] == "for later"
    assert "In plaintext to" in str(report)
    assert "Nothing was sent" not in str(report)
    await until(env.server.wait_for(lambda handled: "for later" in handled.text))
    await online(bob, env.server)
    await env.settle(alice, bob)
    alice.send_message(mto=to, mbody=SECRET)
    assert assurance(await heard.take()) == "known"
    assert env.in_clear(SECRET) == []
    assert told.nothing()


async def test_the_plain_phone_of_somebody_whom_we_have_met(env: Env) -> None:
    """A reply to its full JID goes the way that the question came, and is told."""
    alice, desk, phone = await devices(env)
    await env.session(alice, desk)
    echo(alice)
    told, heard = Told(alice), Events(phone, "message")
    phone.send_message(mto=ALICE, mbody="are you there", mtype="chat")
    assert await heard.bodies(1) == ["echo: are you there"]
    report = await told.plaintext.take()
    assert isinstance(report.error, PeerWithoutE2E)
    assert PHONE in str(report.error)
    assert told.nothing()


async def test_a_bare_jid_reaches_every_device_once(env: Env) -> None:
    """Inside, those that can; in plaintext, each of the others: by its own address, so that no server gives a copy to those."""
    alice, desk, phone = await devices(env)
    tablet = await env.client(f"{BOBS}/tablet", load=False)
    await env.settle(alice, desk, phone, tablet)
    told = Told(alice)
    heard = {client: Events(client, "message") for client in (desk, phone, tablet)}
    for number in range(2):
        alice.send_message(mto=BOBS, mbody=f"to all {number}", mtype="chat")
        for client, messages in heard.items():
            message = await messages.take()
            assert message["body"] == f"to all {number}"
            assert client is not desk or assurance(message) == "vouched"
            assert message["from"] == ALICE
        reports = [await told.plaintext.take() for _ in range(2)]
        assert {report.stanza["to"].full for report in reports} == {PHONE, f"{BOBS}/tablet"}
    await env.settle(alice, desk, phone, tablet)
    assert not any(map(len, heard.values()))
    assert all(copy in text for text in env.in_clear("to all") for copy in ("urn:xmpp:carbons:2", "no-copy"))
    assert told.nothing()


async def test_an_answer_to_what_came_in_plaintext_goes_as_that_came(env: Env) -> None:
    """Though the device has encryption. In an open session nobody can bring that about: any server could write so."""
    alice, bob = await env.pair(alices={"policy": "opportunistic"}, bobs={"policy": "off"})
    carol = await env.client("carol@localhost/c")
    await env.settle(alice, bob, carol)
    echo(alice)
    heard, told = Events(bob, "message"), Told(alice)
    e2e(bob).set_policy("alice@localhost", "off")
    bob.send_message(mto=ALICE, mbody="in plaintext", mtype="chat")
    assert await heard.bodies(1) == ["echo: in plaintext"]
    assert told.nothing()
    await env.session(alice, carol)
    env.server.inject(ALICE, f"<message type='chat' from='carol@localhost/c' to='{ALICE}'><body>{SECRET}</body></message>")
    answered = Events(carol, "message")
    assert assurance(await answered.take()) == "vouched"
    assert env.in_clear(f"echo: {SECRET}") == []


async def test_a_device_that_wrote_in_plaintext_is_answered_so_although_it_advertises(env: Env) -> None:
    alice, bob = await env.pair(alices={"policy": "opportunistic"})
    e2e(bob).set_policy("alice@localhost", "off")
    e2e(alice)._store.record_e2e_use(BOBS, 1.0)
    echo(alice)
    heard, told, refused = Events(bob, "message"), Told(alice), Events(alice, "e2e_session_failed")
    bob.send_message(mto=ALICE, mbody="in plaintext", mtype="chat")
    assert await heard.bodies(1) == ["echo: in plaintext"]
    assert "the answer goes as that came" in str((await told.plaintext.take()).error)
    assert len(refused) == 0


# --- the handshake fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [BOB, BOBS])
async def test_a_peer_who_refuses_is_written_to_in_plaintext(env: Env, to: str) -> None:
    """And what follows does not try again with each message."""
    alice, bob = await env.pair(alices={"policy": "opportunistic"}, bobs={"accept_from": ["nobody@nowhere.test"]})
    told, heard, ended = Told(alice), Events(bob, "message"), Events(alice, "e2e_session_failed")
    for number in range(3):
        alice.send_message(mto=to, mbody=str(number))
    assert await heard.bodies(3) == ["0", "1", "2"]
    for _ in range(3):
        assert isinstance((await told.plaintext.take()).error, PeerRefused)
    alice.send_message(mto=to, mbody="3")
    assert await heard.bodies(1) == ["3"]
    await told.plaintext.take()
    assert len(ended) == 1
    assert told.nothing()


@pytest.mark.parametrize("lost", ["offer", "blocks"])
async def test_a_path_that_fails_is_no_reason_to_say_nothing(env: Env, lost: str) -> None:
    """And nothing comes twice: what may yet leave in plaintext waits until the session is open."""
    alice, bob = await env.pair(alices={"policy": "opportunistic", "step_seconds": 0.5, "session_seconds": 1.0})
    hold = env.hold(jingle("session-initiate") if lost == "offer" else block)
    told, heard = Told(alice), Events(bob, "message")
    alice.send_message(mto=BOB, mbody="one")
    await until(hold.caught())
    hold.discard()
    assert await heard.bodies(1) == ["one"]
    assert isinstance((await told.plaintext.take()).error, E2EError)
    env.server.hooks.clear()
    await env.settle(alice, bob)
    assert len(heard) == 0
    assert told.nothing()


async def test_what_left_in_plaintext_for_one_device_does_not_leave_again_on_the_next_stream() -> None:
    """It still waited for a session with another one."""
    fake = FakeSessions()
    fake.found[BOBS] = Route(plaintext=False, targets=((ALICE, DESK),), in_plaintext=(PHONE,), opportunistic=True)
    await fake.say("one", to=BOBS)
    assert fake.recorder.copies == [PHONE]
    assert fake.queue.pause() == []
    fake.end(fake.offered[0], BytestreamFailed("cut"))
    assert not fake.queue.outstanding


def test_waiting_is_no_failure_of_the_path_once_keys_are_judged() -> None:
    assert is_for_want_of_path(Timeout("x"), hellos_checked=False)
    assert not is_for_want_of_path(Timeout("x"), hellos_checked=True)
    assert not is_for_want_of_path(UntrustedKey("x"), hellos_checked=False)

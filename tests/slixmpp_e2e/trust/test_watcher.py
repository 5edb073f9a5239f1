"""What the trust file says holds beside what the store says, and a change of it reaches the sessions that are there."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from slixmpp import ClientXMPP

from slixmpp_e2e import TrustFileFailed
from slixmpp_e2e.trust.passwords import stretched
from slixmpp_e2e.trust.trust_file import watcher as declared
from slixmpp_e2e.trust.trust_file.parse import Rules, TrustFileWrong
from slixmpp_e2e.trust.trust_file.secret_file import psk_text
from slixmpp_e2e.trust.trust_file.watcher import Declared, Terms
from tests.slixmpp_e2e.trust.test_parse import secret, trust
from tests.slixmpp_e2e.world import ALICE, BOB, PATIENCE, Heard, World, e2e, turns, until
from xmpp_e2e.errors import LocalError
from xmpp_e2e.identity import Assurance, Fingerprint, KnownKey, Remembered, Role, TrustModel
from xmpp_e2e.trust.judge import OnKeyChange
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e.trust.store import PeerPolicy

ALICES, BOBS = "alice@localhost", "bob@localhost"
KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")
PSK = bytes(range(32))
DEFAULTS = Terms(Policy.PREFER, TrustModel.SERVER_AUTHENTICATES, OnKeyChange.BY_TRUST_MODEL)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has a second to spare."""
    monkeypatch.setattr(declared, "LOOK_SECONDS", 0.01)


def rules(folder: Path, text: str) -> Declared:
    return Declared(trust(folder, text), DEFAULTS)


async def alice_with(world: World, folder: Path, text: str) -> ClientXMPP:
    """Alice, whose trust file says this."""
    return await world.client(ALICE, trust_file=str(trust(folder, text)))


def pinned(key: Fingerprint | None) -> str:
    return f'["{BOBS}"]\ntrust_model = "server-untrusted"\npin = "{key}"\n'


# --- what holds ------------------------------------------------------------------------------------------------------


def test_without_a_file_nothing_is_said() -> None:
    """The settings and the store decide."""
    none = Declared(None, DEFAULTS)
    assert none.terms(BOBS, PeerPolicy()) == DEFAULTS
    assert none.terms(BOBS, PeerPolicy(Policy.OFF)).policy is Policy.OFF
    assert none.remembered(BOBS, Remembered()) == Remembered()
    assert none.secrets(BOBS, ALICES) == {}
    assert not none.names(BOBS)


def test_the_most_specific_wins(tmp_path: Path) -> None:
    """Key by key: the account's table, the store, the domain's table, the settings."""
    domain = '["localhost"]\npolicy = "require"\nrequire = "known"\non_key_change = "hold"\n'
    said = rules(tmp_path, f'{domain}["{BOBS}"]\nrequire = "none"')
    assert said.terms(BOBS, PeerPolicy()) == Terms(
        Policy.REQUIRE, TrustModel.SERVER_AUTHENTICATES, OnKeyChange.HOLD, Assurance.NONE
    )
    assert said.terms("eve@localhost", PeerPolicy()).require is Assurance.KNOWN
    assert said.terms(BOBS, PeerPolicy(Policy.OFF, on_key_change=OnKeyChange.REJECT)) == Terms(
        Policy.OFF, TrustModel.SERVER_AUTHENTICATES, OnKeyChange.REJECT, Assurance.NONE
    )
    account = rules(tmp_path, f'["{BOBS}"]\npolicy = "require"\n')
    assert account.terms(BOBS, PeerPolicy(Policy.OFF)).policy is Policy.REQUIRE
    assert account.names(BOBS)
    assert not account.names("eve@localhost")


def test_pins_are_added_to_what_is_remembered(tmp_path: Path) -> None:
    """They raise a key that was only met; one that is blocked stays so."""
    said = rules(tmp_path, f'["{BOBS}"]\npin = ["{KEY}", "{OTHER}"]\n')
    both = said.remembered(BOBS, Remembered((KnownKey(KEY, Assurance.VOUCHED, "route", 5.0),)))
    assert [(key.fingerprint, key.assurance, key.method) for key in both.keys] == [
        (KEY, Assurance.VERIFIED, "pin"),
        (OTHER, Assurance.VERIFIED, "pin"),
    ]
    blocked = KnownKey(KEY, Assurance.NONE, "block", 5.0, blocked=True)
    assert said.remembered(BOBS, Remembered((blocked,))).key(KEY) == blocked
    assert said.remembered("eve@localhost", Remembered()) == Remembered()


def test_secrets_of_the_file(tmp_path: Path) -> None:
    """A password is stretched for these two accounts, once."""
    secret(tmp_path, "psk", psk_text(PSK))
    secret(tmp_path, "password", "correct horse")
    said = rules(tmp_path, f'["{BOBS}"]\npsk_file = "psk"\npassword_file = "password"\n')
    found = said.secrets(BOBS, ALICES)
    assert found == {"psk": PSK, "srp": stretched("correct horse", ALICES, BOBS)}
    assert said.secrets(BOBS, ALICES)["srp"] is found["srp"]
    assert said.secrets(BOBS, "bot@localhost")["srp"] != found["srp"]


# --- in a client -----------------------------------------------------------------------------------------------------


async def test_the_terms_of_a_session(world: World, tmp_path: Path) -> None:
    """Asked of the file for each; and an account that it names is a person."""
    text = f'["{BOBS}"]\ntrust_model = "server-untrusted"\non_key_change = "reject"\nrequire = "vouched"\npsk_file = "psk"\n'
    secret(tmp_path, "psk", psk_text(PSK))
    board = e2e(world.make(ALICE, trust_file=trust(tmp_path, text))).switchboard
    config = board.new_session(Role.INITIATOR, ALICE, BOB, Assurance.NONE).config
    assert (config.trust_model, config.on_key_change) == (TrustModel.SERVER_UNTRUSTED, OnKeyChange.REJECT)
    assert (config.required, config.need, dict(config.secrets)) == (Assurance.VOUCHED, ("psk",), {"psk": PSK})
    assert board.new_session(Role.INITIATOR, ALICE, BOB, Assurance.VERIFIED).config.required is Assurance.VERIFIED
    assert board._is_person(BOBS)
    assert not board._is_person("eve@localhost")


async def test_the_file_goes_before_the_store(world: World, tmp_path: Path) -> None:
    """A key in it replaces the one that somebody has stored, and the methods keep their order."""
    secret(tmp_path, "password", "correct horse")
    board = e2e(world.make(ALICE, trust_file=trust(tmp_path, f'["{BOBS}"]\npassword_file = "password"\n'))).switchboard
    board._store.put_secret(BOBS, "psk", "1", PSK)
    board._store.put_secret(BOBS, "srp", "1", bytes(32))
    assert list(board.proofs.secrets(BOBS, ALICES).items()) == [
        ("psk", PSK),
        ("srp", stretched("correct horse", ALICES, BOBS)),
    ]


async def test_a_pin_in_the_file_lets_a_message_go(world: World, tmp_path: Path) -> None:
    """Under `server-untrusted`, without anybody at the keyboard; and the store does not take it for its own."""
    bob = await world.client(BOB)
    alice = await alice_with(world, tmp_path, pinned(e2e(bob).fingerprint))
    await world.settle(alice, bob)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    assert await heard.bodies(1) == ["for Bob only"]
    link = await until(e2e(alice).connect(BOB))
    await until(link.opened())
    assert link.assurance is Assurance.VERIFIED
    assert [key.assurance for key in e2e(alice).trust.show(BOBS).keys] == [Assurance.VOUCHED]


async def test_a_key_for_one_and_a_password_for_the_other(world: World, tmp_path: Path) -> None:
    """Both have a trust file; what it names proves the peer before the first message."""
    for name, text in (("psk", psk_text(PSK)), ("password", "correct horse")):
        secret(tmp_path, name, text)
    text = '["{}"]\npsk_file = "psk"\npassword_file = "password"\n'
    path = trust(tmp_path, text.format(BOBS) + text.format(ALICES))
    alice, bob = await world.client(ALICE, trust_file=path), await world.client(BOB, trust_file=path)
    await world.settle(alice, bob)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="Now I know you.")
    assert (await heard.take())["e2e"]["assurance"] is Assurance.VERIFIED


async def test_a_bad_file_keeps_the_plugin_from_loading(world: World, tmp_path: Path) -> None:
    """No store is left open, and no filter in place."""
    alice = world.make(ALICE, load=False)
    with pytest.raises(TrustFileWrong, match="line 1"):
        world.load(alice, trust_file=str(trust(tmp_path, "nonsense\n")))
    assert "e2e" not in alice.plugin
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".db")]


# --- changes ---------------------------------------------------------------------------------------------------------


async def test_a_pin_that_is_added_lets_a_held_message_go(world: World, tmp_path: Path) -> None:
    """The very session that waits opens: another pin is no reason to begin anew."""
    bob = await world.client(BOB)
    alice = await alice_with(world, tmp_path, pinned(KEY))
    await world.settle(alice, bob)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    assert not link.is_open
    trust(tmp_path, pinned(e2e(bob).fingerprint))
    assert await heard.bodies(1) == ["for Bob only"]
    await until(link.opened())


async def test_other_terms_end_a_session(world: World, tmp_path: Path) -> None:
    """By farewells, and the next is on the new ones."""
    bob = await world.client(BOB)
    alice = await alice_with(world, tmp_path, "")
    await world.settle(alice, bob)
    ended, heard = Heard(alice, "e2e_session_end"), Heard(bob, "message")
    await world.session(alice, bob)
    trust(tmp_path, '["localhost"]\ntrust_model = "server-untrusted"\n')
    assert (await ended.take()).detail.clean
    alice.send_message(mto=BOB, mbody="for Bob only")
    link = await until(e2e(alice).connect(BOB))
    await world.settle(alice, bob)
    assert not link.is_open
    assert len(heard) == 0
    assert world.in_clear("for Bob only") == []


async def test_a_way_that_is_known_is_sought_anew(world: World, tmp_path: Path) -> None:
    """What went in clear yesterday does not today."""
    await world.client(BOB, load=False)
    alice = await alice_with(world, tmp_path, "")
    failed = Heard(alice, "e2e_send_failed")
    alice.send_message(mto=BOB, mbody="yesterday")
    while not world.in_clear("yesterday"):
        await turns(1)
    trust(tmp_path, '["localhost"]\npolicy = "require"\n')
    while e2e(alice).switchboard.policy_with(BOBS) is not Policy.REQUIRE:
        await turns(1)
    alice.send_message(mto=BOB, mbody="today")
    await failed.take()
    assert world.in_clear("today") == []


async def test_a_file_that_became_bad_is_told_once(world: World, tmp_path: Path) -> None:
    """The old rules hold; whoever works on it again, and a file that it names, is noticed."""
    alice = await alice_with(world, tmp_path, '["localhost"]\npolicy = "require"\n')
    board, failed = e2e(alice).switchboard, Heard(alice, "e2e_trust_file_failed")
    path = trust(tmp_path, '["localhost"]\npolicy = "requires"\n')
    told: TrustFileFailed = await failed.take()
    assert "line 2, localhost / policy" in str(told)
    assert "goes on with the rules" in str(told)
    assert board.policy_with(BOBS) is Policy.REQUIRE
    trust(tmp_path, f'["{BOBS}"]\npolicy = "off"\npsk_file = "psk"\n')
    assert "psk_file" in str(await failed.take())
    assert board.policy_with(BOBS) is Policy.REQUIRE
    secret(tmp_path, "psk", psk_text(PSK))
    while board.policy_with(BOBS) is not Policy.OFF:
        await turns(1)
    path.unlink()
    assert "No such file" in str(await failed.take())
    assert board.policy_with(BOBS) is Policy.OFF
    assert len(failed) == 0


class Board:
    """The plugin, as the rules know it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.changes: asyncio.Queue[Rules] = asyncio.Queue()

    def rules_changed(self, old: Rules, new: Rules) -> None:
        self.changes.put_nowait(new)

    def trust_file_failed(self, error: TrustFileWrong) -> None:
        raise error


async def test_passwords_are_made_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, one after the other; when one changes, anew, and the others stay."""
    made: list[tuple[str, str, str]] = []

    def slow(*key: str) -> bytes:
        made.append((key[0], key[1], key[2]))
        return ":".join(key).encode()

    monkeypatch.setattr(declared, "stretched", slow)
    secret(tmp_path, "one", "correct")
    secret(tmp_path, "two", "horse")
    said = rules(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n["eve@localhost"]\npassword_file = "two"\n')
    board = Board()
    said.start(board, ALICES)
    while len(said._stretched) < 2:
        await turns(1)
    assert made == [("correct", ALICES, BOBS), ("horse", ALICES, "eve@localhost")]
    replacement = secret(tmp_path, "new", "battery")
    os.replace(replacement, tmp_path / "two")
    await until(board.changes.get())
    while len(made) < 3 or len(said._stretched) < 2:
        await turns(1)
    assert said.secrets("eve@localhost", ALICES) == {"srp": b"battery:alice@localhost:eve@localhost"}
    assert len(made) == 3
    said.stop()


async def test_a_component_makes_none_ready(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It speaks for many accounts: with whom a password is shared is known when it is used. A client's is."""
    made: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def slow(*key: str) -> bytes:
        loop.call_soon_threadsafe(made.put_nowait, key)
        return bytes(32)

    monkeypatch.setattr(declared, "stretched", slow)
    secret(tmp_path, "one", "correct")
    text = f'["{BOBS}"]\npassword_file = "one"\n'
    bots = await world.component(trust_file=str(trust(tmp_path, text)))
    await alice_with(world, tmp_path, text)
    assert await until(made.get()) == ("correct", ALICES, BOBS)
    assert e2e(bots).declared._preparing is None
    assert made.empty()


async def test_a_password_that_is_replaced_while_it_is_made_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of the old one is of no use."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(password: str, ours: str, peer: str) -> bytes:
        begun.set()
        assert password != "correct" or go_on.wait(PATIENCE)
        return password.encode()

    monkeypatch.setattr(declared, "stretched", slow)
    secret(tmp_path, "one", "correct")
    said = rules(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    board = Board()
    said.start(board, ALICES)
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    secret(tmp_path, "one", "battery")
    await until(board.changes.get())
    go_on.set()
    while not said._stretched:
        await turns(1)
    assert list(said._stretched.values()) == [b"battery"]
    said.stop()


async def test_what_cannot_be_stretched_is_told_to_who_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenSSL without Argon2id keeps no rule from being read."""

    def impossible(password: str, ours: str, peer: str) -> bytes:
        raise LocalError("no Argon2id")

    monkeypatch.setattr(declared, "stretched", impossible)
    secret(tmp_path, "one", "correct")
    said = rules(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    said.start(Board(), ALICES)
    while said._preparing is not None:
        await turns(1)
    with pytest.raises(LocalError, match="no Argon2id"):
        said.secrets(BOBS, ALICES)
    said.stop()


async def test_kept_passwords_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component may write from many addresses."""
    monkeypatch.setattr(declared, "stretched", lambda *key: b"x")
    monkeypatch.setattr(declared, "STRETCHED", 2)
    secret(tmp_path, "one", "correct")
    said = rules(tmp_path, f'["{BOBS}"]\npassword_file = "one"\n')
    for number in range(4):
        said.secrets(BOBS, f"{number}@bots.localhost")
    assert [key[1] for key in said._stretched] == ["2@bots.localhost", "3@bots.localhost"]


async def test_a_plugin_that_ends_while_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says now concerns nobody."""
    begun, go_on = threading.Event(), threading.Event()
    said, board = rules(tmp_path, ""), Board()

    def slow(path: Path, stamps: object) -> Rules:
        begun.set()
        go_on.wait(PATIENCE)
        return Rules()

    monkeypatch.setattr(declared, "read", slow)
    trust(tmp_path, "# more")
    said.start(board, None)
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    said.stop()
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    await turns(3)
    assert board.changes.empty()


async def test_nobody_looks_after_the_end(world: World, tmp_path: Path) -> None:
    """The plugin is unloaded, and the file is nobody's business."""
    alice = await alice_with(world, tmp_path, "")
    timer = e2e(alice).switchboard._declared._timer
    assert timer is not None
    world.unload(alice)
    assert timer.cancelled()

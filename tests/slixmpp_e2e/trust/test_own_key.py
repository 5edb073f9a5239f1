"""A store whose seal takes time: a thread opens it, what is sent waits for it, and if it stays closed nothing goes in clear."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slixmpp_e2e.errors import StoreLocked
from slixmpp_e2e.store import KeyMissing, Passphrase, PassphraseWrong, SealUnavailable, SQLStore, StoreError
from slixmpp_e2e.store.key_protection import passphrase
from tests.slixmpp_e2e.world import ALICE, BOB, Heard, World, e2e, turns, until
from xmpp_e2e.errors import PeerRefused
from xmpp_loopback import online
from xmpp_loopback.client import back_online

WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation that takes no time; its strength is not what these tests are about."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 8)


class Person:
    """Who is asked for the passphrase, and takes his time."""

    def __init__(self, answer: str = WORDS) -> None:
        self.answer = answer
        self.threads: list[threading.Thread] = []
        self.asked, self.answers = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.threads.append(threading.current_thread())
        self.asked.set()
        assert self.answers.wait(20)
        return self.answer


@pytest.fixture
def person() -> Person:
    return Person()


async def sealed(world: World) -> None:
    """Alice's store, made with the passphrase."""
    alice = world.make(ALICE, seal=Passphrase(WORDS))
    await until(e2e(alice).unlocked())
    world.unload(alice)


async def test_what_is_sent_waits_until_the_store_is_open(world: World, person: Person) -> None:
    """The loop goes on meanwhile; then the message arrives, encrypted."""
    await sealed(world)
    alice, bob = await world.client(ALICE, seal=Passphrase(person)), await world.client(BOB)
    await world.settle(alice, bob)
    heard = Heard(bob, "message")
    alice.send_message(mto=BOB, mbody="for Bob only")
    await world.settle(alice, bob)
    assert len(heard) == 0
    with pytest.raises(StoreLocked, match="has not been opened yet") as caught:
        _ = e2e(alice).fingerprint
    assert "await e2e.unlocked()" in caught.value.explain()
    person.answers.set()
    assert await heard.bodies(1) == ["for Bob only"]
    assert world.in_clear("for Bob only") == []
    assert e2e(alice).fingerprint
    assert len(person.threads) == 1
    assert person.threads[0] is not threading.main_thread()


async def test_nobody_opens_a_session_with_us_before(world: World, person: Person) -> None:
    """We do not advertise it, and an offer is answered as by a resource that is not there; afterwards it works."""
    alice, bob = await world.client(ALICE, seal=Passphrase(person)), await world.client(BOB)
    await world.settle(alice, bob)
    link = e2e(bob).switchboard.link_to((BOB, ALICE))
    with pytest.raises(PeerRefused, match="service-unavailable"):
        await until(link.opened())
    assert (await e2e(bob).switchboard._ask(BOB, ALICE))[1] is False
    there = Heard(bob, "presence_available")
    person.answers.set()
    assert (await there.take())["from"].full == ALICE  # she says again that she is there, and what she can do now
    assert (await until(e2e(bob).connect("alice@localhost"))).peer == ALICE


async def test_we_are_not_online_before_our_client_says_so(world: World, person: Person) -> None:
    """A store that opens between the login and the first presence is no reason to send one."""
    alice, bob = world.make(ALICE, seal=Passphrase(person)), await world.client(BOB)
    there = Heard(bob, "presence_available")
    await world.settle(bob)
    before = len(there)
    await back_online(alice, world.server)
    person.answers.set()
    await until(e2e(alice).unlocked())
    await turns()
    await world.settle(alice, bob)
    assert len(there) == before
    alice.send_presence()
    assert (await until(e2e(bob).connect(ALICE))).peer == ALICE


def no_file() -> str:
    raise FileNotFoundError(2, "No such file", "/run/secrets/bot")


def no_variable() -> str:
    return {"HOME": "/"}["BOT_PASSPHRASE"]


def no_text() -> str:
    return b"hunter2\xff".decode()


def _origins(error: BaseException) -> list[BaseException]:
    """What Python would print before it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [error, *(_origins(before) if before is not None else [])]


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("wrong horse", PassphraseWrong, "is not the one"),
        (no_file, SealUnavailable, "FileNotFoundError"),
        (no_variable, SealUnavailable, "KeyError"),
        (no_text, SealUnavailable, "UnicodeDecodeError"),
        (str, SealUnavailable, "no passphrase was given"),
    ],
)
async def test_a_store_that_stays_closed_is_told_and_nothing_goes_in_clear(
    world: World, source: str | Callable[[], str], kind: type[StoreError], words: str
) -> None:
    """Not even to a stranger without encryption, to whom `prefer` would write: the user meant something else."""
    await sealed(world)
    alice = world.make(ALICE, seal=Passphrase(source))
    told, failed = Heard(alice, "e2e_store_failed"), Heard(alice, "e2e_send_failed")
    carol = await world.client("carol@localhost/plain", "xep_0030", load=False)
    await online(alice, world.server)
    report = await told.take()
    assert type(report.error) is kind
    assert words in str(report)
    assert "hunter2" not in str(report)
    assert "hunter2" not in "".join(map(repr, _origins(report.error)))
    alice.send_message(mto=carol.boundjid.full, mbody="for Carol only")
    assert (await failed.take()).error is report.error
    assert not e2e(alice).own.is_open
    with pytest.raises(kind):
        await e2e(alice).unlocked()
    with pytest.raises(kind):
        _ = e2e(alice).fingerprint
    assert world.in_clear("for Carol only") == []
    assert len(told) == 0


async def test_a_key_that_is_missing_is_told_at_once(world: World, tmp_path: Path) -> None:
    """Nothing is slow about a key file: the plugin does not load, and can be loaded when the file is back."""
    alice = world.make(ALICE)
    path = e2e(alice).memory.path
    key = path.with_suffix(".key")
    content = key.read_bytes()
    world.unload(alice)
    key.unlink()
    with pytest.raises(KeyMissing):
        world.load(alice)
    assert "e2e" not in alice.plugin
    assert not path.with_name(f"{path.name}-wal").exists()  # it was closed
    key.write_bytes(content)
    world.load(alice)


async def test_unloaded_while_it_opens(world: World, person: Person) -> None:
    """Nobody hears of it any more."""
    alice = world.make(ALICE, seal=Passphrase(person))
    told = Heard(alice, "e2e_store_failed")
    own = e2e(alice).own
    await asyncio.to_thread(person.asked.wait, 20)
    wrong: list[object] = []
    alice.loop.set_exception_handler(lambda loop, context: wrong.append(context))
    world.unload(alice)
    person.answers.set()
    await turns()
    assert not wrong
    assert own._found.cancelled()
    assert not own.is_open
    assert len(told) == 0


async def test_the_user_hears_of_a_new_key(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What keeps the secrets, once, when it is made."""
    caplog.set_level("INFO", "slixmpp_e2e")
    world.make(ALICE)
    await turns()
    said = [record.getMessage() for record in caplog.records]
    assert len([text for text in said if text.startswith("A random key was written to /")]) == 1


async def test_a_dropped_stanza_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails when a stanza comes in clear: it is not delivered unjudged, and the user hears of it."""
    alice, bob = await world.client(ALICE), await world.client(BOB, load=False)
    told, heard = Heard(alice, "e2e_store_failed"), Heard(alice, "message")

    def damaged(*_: object) -> object:
        raise StoreError(Path("store.db"), "the disk cannot be read")

    monkeypatch.setattr(e2e(alice).memory, "policy", damaged)
    bob.send_message(mto=ALICE, mbody="hello")
    assert "the disk cannot be read" in str((await told.take()).error)
    assert len(heard) == 0


def test_computing_the_key_keeps_nobody_from_the_store(tmp_path: Path, person: Person) -> None:
    """Half a second, or until somebody has unlocked his keyring: policies are asked for every stanza meanwhile."""
    with SQLStore.open(tmp_path / "store.db", Passphrase(WORDS)) as store:
        store.put_secret("bob@localhost", "psk", "1", b"secret")
    with SQLStore.open(tmp_path / "store.db", Passphrase(person)) as store:
        thread = threading.Thread(target=store.unlock)
        thread.start()
        person.asked.wait(20)
        assert not store.seen("bob@localhost")
        store.mark_seen("bob@localhost", 1.0)
        assert store.seen("bob@localhost")
        person.answers.set()
        thread.join()
        assert store.secret("bob@localhost", "psk", "1") == b"secret"

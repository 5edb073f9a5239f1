"""`xmpp-e2e identity`: the account's key is replaced or deleted, and the words on the screen are true."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from slixmpp_e2e.store import SQLStore, path_for
from slixmpp_e2e.trust.own_key import load_own_key
from tests.slixmpp_e2e.store.expect import never
from tests.xmpp_e2e_cli.conftest import CommandResult
from xmpp_e2e.tls.rotation import unpack
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli import prompts

Command = Callable[..., CommandResult]
ALICE, BOB = "alice@home.test", "bob@home.test"
OLD, NEW = (Fingerprint(bytes([number]) * 32) for number in range(2))


def test_rotate(command: Command) -> None:
    """The new fingerprint is printed, and the statement for peers names the account. A program has the store open."""
    old = command("init", ALICE, "--json").data["fingerprint"]
    with SQLStore.for_jid(ALICE) as store:
        done = command("identity", "rotate", "--json")
        done.ended(0, "make a new backup", "peers refuse it")
        stored = store.own_key(never)
    new = command("fingerprint").out.strip()
    assert done.data == {"account": ALICE, "fingerprint": new, "old": old}
    assert new != old
    [rotation] = unpack(stored.rotations)
    assert (rotation.account, str(rotation.old_key), str(rotation.new_key)) == (ALICE, old, new)
    assert rotation.is_signed()


def test_rotate_takes_an_account(command: Command) -> None:
    command("identity", "rotate", "--account", ALICE).ended(1, "has no key on this machine", "xmpp-e2e init")
    assert not path_for(ALICE).exists()


def test_delete_after_a_confirmation(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything but yes changes nothing, and so does a script that does not say ``--yes``."""
    own = command("init", ALICE, "--json").data["fingerprint"]
    command("identity", "delete").ended(1, "no terminal", "--yes")
    monkeypatch.setattr(prompts, "has_terminal", lambda: True)
    for word in ("", "n\n", "perhaps\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(word))
        command("identity", "delete").ended(1, f"Delete the key of {ALICE}?", "nothing was deleted")
    assert command("fingerprint").out.strip() == own
    monkeypatch.setattr("sys.stdin", io.StringIO("Yes\n"))
    command("identity", "delete").ended(0, "Peers still remember the old key")


def test_deleted_is_never_made_again_by_itself(command: Command) -> None:
    """Every command refuses, until the user asks for a new one; what is known of peers stays."""
    own = command("init", ALICE, "--json").data["fingerprint"]
    command("trust", "pin", BOB, str(OLD)).ended(0)
    assert command("identity", "delete", "--yes", "--json").data == {"account": ALICE, "deleted": "identity"}
    for words in (("fingerprint",), ("identity", "rotate"), ("trust", "show", BOB), ("backup", "file")):
        command(*words).ended(1, "was deleted", "xmpp-e2e init")
    command("identity", "delete", "--yes").ended(1, "none to delete")
    made = command("init", ALICE, "--json")
    made.ended(0, "Peers compare it and pin it")
    assert made.data["created"]
    assert made.data["fingerprint"] != own
    assert command("init", ALICE, "--json").data["created"] is False
    assert str(OLD) in command("trust", "list").out


def test_delete_everything(command: Command) -> None:
    """An empty store stays, which remembers that; the key that protected it is gone."""
    command("init", ALICE).ended(0)
    command("trust", "pin", BOB, str(OLD)).ended(0)
    command("identity", "delete", "--everything", "--yes").ended(0, "Peers still remember the old key")
    assert not path_for(ALICE).with_suffix(".key").exists()
    command("fingerprint").ended(1, "has no key on this machine")
    command("init", ALICE).ended(0)
    assert str(OLD) not in command("trust", "list").out


def test_delete_refuses_a_store_in_use(command: Command) -> None:
    own = command("init", ALICE, "--json").data["fingerprint"]
    with SQLStore.for_jid(ALICE) as store:
        store.peers()
        command("identity", "delete", "--yes").ended(1, "a program uses the store", "End the other program")
        assert str(load_own_key(store).fingerprint) == own


def test_rotated_keys_of_peers_are_shown(command: Command) -> None:
    """Which key took the place of which; the old one as retired."""
    command("init", ALICE).ended(0)
    with SQLStore.for_jid(ALICE) as store:
        store.remember_key(BOB, OLD, Assurance.VERIFIED, "sas", 1.0)
        store.rotate_key(BOB, OLD, NEW, 2.0)
    for words in (("list",), ("show", BOB)):
        shown = command("trust", *words).out
        assert f"{OLD}  retired, refused: another took its place" in shown
        assert f"{NEW}  verified by rotation, since 1970-01-01, rotated from {OLD}" in shown
    data = command("trust", "show", BOB, "--json").data
    assert [(key["method"], key["blocked"]) for key in data["keys"]] == [("retired", True), ("rotation", False)]
    assert [line["what"] for line in data["history"]] == ["accepted", "retired", "rotated"]


def test_component(command: Command) -> None:
    """Its addresses share the key, whichever is named: the statement names the domain. It can be deleted, and made anew."""
    with SQLStore.for_jid("bots.test") as store:
        load_own_key(store)
    for named in ("bots.test", "bot@bots.test"):
        command("identity", "rotate", "--account", named).ended(0)
    with SQLStore.for_jid("bots.test") as store:
        assert [one.account for one in unpack(store.own_key(never).rotations)] == ["bots.test", "bots.test"]
    command("identity", "delete", "--account", "bots.test", "--yes").ended(0, "xmpp-e2e init bots.test")
    command("fingerprint", "bots.test").ended(1, "was deleted")
    command("init", "bots.test").ended(0)

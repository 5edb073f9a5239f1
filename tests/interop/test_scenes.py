"""Every scene on one server; `make interop` does the same at full length."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from interop.props import NotHeard, Person
from interop.scenes import (
    asked_by_itself,
    compare_strings,
    different_strings,
    each_as_he_trusts,
    farewell,
    first_message,
    key_and_password,
    pinned_by_hand,
    presence_and_iq,
    prove_later,
    shared_key,
    shared_key_missing,
    shared_password,
    talk_while_comparing,
    tie_break_proved,
    trust_file,
    two_devices,
    wrong_password,
)
from interop.servers.loopback import Loopback
from interop.stage import Stage
from interop.theatre import SERVERS, Scene, Theatre
from slixmpp_e2e.errors import PeerWithoutE2E
from slixmpp_e2e.verification.verifier import Proofs
from tests.interop.playing import play, played_on
from xmpp_e2e.identity import Assurance, TrustModel

ALONE = ("loopback", "prosody", "ejabberd")
TWO = ("federation", "exchanged")
"""In a file of their own."""


def test_no_server_is_forgotten() -> None:
    """Each that there is belongs to one of the files."""
    assert {*ALONE, *TWO} == set(SERVERS)


@pytest.mark.asyncio(loop_scope="module")
@played_on(*ALONE)
async def test_it_plays(monkeypatch: pytest.MonkeyPatch, theatre: Theatre, scene: Scene, server: str) -> None:
    """The scene passes, if need be a shorter one."""
    await play(monkeypatch, theatre, scene, server)


@pytest.mark.parametrize("scene", [first_message, farewell, presence_and_iq, two_devices])
async def test_without_encryption_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: clients that speak in clear do not pass."""
    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    async with Loopback() as server, Stage(server) as stage:
        monkeypatch.setattr(stage, "encrypted", partial(stage.encrypted, policy="off"))
        with pytest.raises((AssertionError, PeerWithoutE2E)):
            await scene.play(stage)


SET_UP = [shared_key, shared_key_missing, shared_password, wrong_password, key_and_password, tie_break_proved]


@pytest.mark.parametrize("scene", SET_UP)
async def test_without_proofs_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: where nothing that was set up is asked for, they do not pass."""
    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    monkeypatch.setattr(Proofs, "secrets", lambda *_: {})
    async with Loopback() as server, Stage(server) as stage:
        with pytest.raises(AssertionError):
            await scene.play(stage)


@pytest.mark.parametrize("scene", [asked_by_itself, pinned_by_hand, each_as_he_trusts, trust_file])
async def test_whoever_trusts_the_server_does_not_pass(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: where the server's word is enough, nothing waits for a better one."""
    monkeypatch.setattr(TrustModel, "minimum", property(lambda self: Assurance.VOUCHED))
    async with Loopback() as server, Stage(server) as stage:
        with pytest.raises(AssertionError):
            await scene.play(stage)


@pytest.mark.parametrize("scene", [compare_strings, talk_while_comparing, prove_later])
async def test_what_is_not_proved_later_is_missed(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: where nothing is proved in the open session, they do not pass."""

    async def nothing(*_: object, **__: object) -> None:
        """It returns as if all were well."""

    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    monkeypatch.setattr(Proofs, "verify", nothing)
    async with Loopback() as server, Stage(server) as stage:
        with pytest.raises((AssertionError, IndexError)):
            await scene.play(stage)


async def test_who_does_not_look_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where nobody finds the strings different the session goes on."""
    monkeypatch.setattr("interop.props.HEARD_SECONDS", 1.0)
    monkeypatch.setattr(Person, "looks", lambda self, shown: not self.saw.append(shown))
    async with Loopback() as server, Stage(server) as stage:
        with pytest.raises(NotHeard):
            await different_strings.play(stage)

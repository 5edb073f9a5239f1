"""Every scene on one server. `make interop` runs them in full length."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from slixmpp import JID
from slixmpp.basexmpp import BaseXMPP

from interop.harness import Harness
from interop.helpers import EventMissing, SasUser, plugin
from interop.runner import SERVERS, Runner, Scene
from interop.scenes import (
    automatic_verification,
    closed_session,
    compare_strings,
    different_strings,
    different_trust_models,
    first_message,
    key_and_password,
    later_verification,
    pinned_key,
    poisoned_hash,
    presence_and_iq,
    shared_key,
    shared_key_missing,
    shared_password,
    talk_while_comparing,
    tie_break_verified,
    trust_file,
    two_devices,
    wrong_password,
)
from interop.servers.loopback import Loopback
from slixmpp_e2e.errors import RefusedByPolicy
from slixmpp_e2e.verification.verifier import Verifier
from slixmpp_e2e.xmpp import discovery
from tests.interop.running import on_servers, run_shortened
from xmpp_e2e.negotiate.jingle import NS_SECURITY
from xmpp_e2e.types import Assurance, TrustModel

HERE = ("loopback", "prosody")
ELSEWHERE = ("ejabberd", "federation", "swapped")
"""They have files of their own."""


def test_no_server_is_forgotten() -> None:
    assert {*HERE, *ELSEWHERE} == set(SERVERS)


@pytest.mark.asyncio(loop_scope="module")
@on_servers(*HERE)
async def test_it_passes(monkeypatch: pytest.MonkeyPatch, runner: Runner, scene: Scene, server: str) -> None:
    """Long scenes are shortened."""
    await run_shortened(monkeypatch, runner, scene, server)


@pytest.mark.parametrize("scene", [first_message, closed_session, presence_and_iq, two_devices])
async def test_without_encryption_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: plaintext clients do not pass."""
    monkeypatch.setattr("interop.helpers.EVENT_SECONDS", 1.0)
    async with Loopback() as server, Harness(server) as harness:
        monkeypatch.setattr(harness, "e2e_client", partial(harness.e2e_client, policy="off"))
        with pytest.raises((AssertionError, RefusedByPolicy)):
            await scene.run(harness)


SET_UP = [shared_key, shared_key_missing, shared_password, wrong_password, key_and_password, tie_break_verified]


@pytest.mark.parametrize("scene", SET_UP)
async def test_without_proofs_a_scene_fails(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: without shared secrets the scenes do not pass."""
    monkeypatch.setattr("interop.helpers.EVENT_SECONDS", 1.0)
    monkeypatch.setattr(Verifier, "shared_secrets", lambda *_: {})
    async with Loopback() as server, Harness(server) as harness:
        with pytest.raises(AssertionError):
            await scene.run(harness)


@pytest.mark.parametrize("scene", [automatic_verification, pinned_key, different_trust_models, trust_file])
async def test_whoever_trusts_the_server_does_not_pass(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: if the server's word is enough, nothing waits for a verification."""
    monkeypatch.setattr(TrustModel, "min_assurance", property(lambda self: Assurance.VOUCHED))
    async with Loopback() as server, Harness(server) as harness:
        with pytest.raises(AssertionError):
            await scene.run(harness)


@pytest.mark.parametrize("scene", [compare_strings, talk_while_comparing, later_verification])
async def test_what_is_not_proved_later_is_missed(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    """Control: without a verification in the open session the scenes do not pass."""

    async def nothing(*_: object, **__: object) -> None:
        """Return as if all were well."""

    monkeypatch.setattr("interop.helpers.EVENT_SECONDS", 1.0)
    monkeypatch.setattr(Verifier, "verify", nothing)
    async with Loopback() as server, Harness(server) as harness:
        with pytest.raises((AssertionError, IndexError)):
            await scene.run(harness)


async def test_whoever_goes_by_the_hash_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if what a stranger has told under the hash decides, the first message goes in plaintext."""
    ask = discovery.supports

    async def supports(xmpp: BaseXMPP, own_jid: JID, peer: JID) -> bool | None:
        caps = plugin(xmpp, "xep_0115")
        info = await caps.get_caps(verstring=await caps.get_verstring(peer))
        return NS_SECURITY in info["features"] if info else await ask(xmpp, own_jid, peer)

    monkeypatch.setattr(discovery, "supports", supports)
    async with Loopback(friends=False) as server, Harness(server) as harness:
        with pytest.raises(AssertionError):
            await poisoned_hash.run(harness)


async def test_who_does_not_look_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if nobody says that the strings differ, the session goes on."""
    monkeypatch.setattr("interop.helpers.EVENT_SECONDS", 1.0)
    monkeypatch.setattr(SasUser, "compare", lambda self, shown: not self.prompts.append(shown))
    async with Loopback() as server, Harness(server) as harness:
        with pytest.raises(EventMissing):
            await different_strings.run(harness)

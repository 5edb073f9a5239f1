"""OMEMO (XEP-0384) works beside the plugin: alone, through a session, and with its keys published under every policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from omemo.session_manager import SessionManager
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType
from slixmpp import JID, ClientXMPP, Message
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384

from interop.harness import Harness
from interop.helpers import Events, e2e, plugin, say, session

NOT_ON = {"loopback": "it has no PEP, where OMEMO keeps its keys"}
SECRET = "Under two locks."
NAMESPACES = ("urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl")
"""The two versions of OMEMO, each with its own list of devices."""


class Memory(Storage):
    """OMEMO's keys, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, JSONType] = {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self._kept[key]) if key in self._kept else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self._kept[key] = value

    async def _delete(self, key: str) -> None:
        self._kept.pop(key, None)


class Omemo(XEP_0384):
    """Blind trust before verification, the default of most clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._storage = Memory()

    @property
    def storage(self) -> Storage:
        """The storage of its keys."""
        return self._storage

    @property
    def _btbv_enabled(self) -> bool:
        return True

    async def _prompt_manual_trust(self, manually_trusted: Any, identifier: str | None) -> None:
        raise AssertionError("nobody has verified anything")


async def join(enter: Callable[..., Awaitable[ClientXMPP]], witness: ClientXMPP | None = None) -> ClientXMPP:
    """Bring a client with OMEMO online, and wait until its keys are published and a witness, or the client itself, has
    them.

    Clients join one by one: when two publish in the same instant, ejabberd may refuse one.
    """
    ears: dict[str, Events] = {}

    def prepare(client: ClientXMPP) -> None:
        register_plugin(Omemo)
        client.register_plugin("xep_0384")
        ears["ready"] = Events(client, "omemo_initialized")
        ears["told"] = Events(witness or client, "twomemo_device_list_publish")

    client = await enter(prepare=prepare)
    await ears["ready"].take()
    device, _ = await (await manager(client)).get_own_device_information()
    while str(device.device_id) not in str(event := await ears["told"].take()):
        pass
    assert event["from"] == client.boundjid.bare
    asking = await manager(witness or client)
    for namespace in NAMESPACES:
        await asking.refresh_device_list(namespace, client.boundjid.bare)
    assert device.device_id in {known.device_id for known in await asking.get_device_information(client.boundjid.bare)}
    return client


async def manager(client: ClientXMPP) -> SessionManager:
    """Return OMEMO's session manager."""
    own: SessionManager = await plugin(client, "xep_0384").get_session_manager()
    return own


async def lock(client: ClientXMPP, peer: JID) -> Message:
    """Return the secret, encrypted by OMEMO to ``peer`` and not yet sent."""
    letter = client.make_message(mto=peer, mbody=SECRET, mtype="chat")
    locked: Message
    locked, errors = await plugin(client, "xep_0384").encrypt_message(letter, peer)
    assert not errors
    locked["to"] = peer
    return locked


async def unlock(client: ClientXMPP, heard: Events) -> Message:
    """Return the next message as it arrived. OMEMO decrypts it to the secret."""
    letter: Message = await heard.take()
    assert letter["body"] != SECRET
    opened, _ = await plugin(client, "xep_0384").decrypt_message(letter)
    assert opened["body"] == SECRET
    return letter


async def run(harness: Harness) -> None:
    """Alice and Bob have both, Carol has only OMEMO."""
    alice = await join(partial(harness.e2e_client, "alice", policy="require"))
    for name in ("bob", "carol"):
        e2e(alice).set_policy(harness.jid(name), "prefer")
    bob = await join(partial(harness.e2e_client, "bob"), alice)
    carol = await join(partial(harness.client, "carol"), alice)
    heard = {client: Events(client, "message") for client in (alice, bob, carol)}
    failed, refused = Events(alice, "e2e_send_failed"), Events(alice, "e2e_plaintext_refused")

    # Under `prefer`: OMEMO alone, in both directions.
    (await lock(alice, carol.boundjid)).send()
    await unlock(carol, heard[carol])
    (await lock(carol, alice.boundjid)).send()
    assert str((await unlock(alice, heard[alice]))["e2e"]["assurance"]) == "none"

    # Through a session, with OMEMO and without.
    harness.server.forget_handled()
    await session(alice, bob)
    say(alice, bob.boundjid, "Under one lock.")
    letter = await heard[bob].take()
    assert (letter["body"], str(letter["e2e"]["assurance"])) == ("Under one lock.", "vouched")
    (await lock(alice, bob.boundjid)).send()
    assert str((await unlock(bob, heard[bob]))["e2e"]["assurance"]) == "vouched"
    (await lock(bob, alice.boundjid)).send()
    assert str((await unlock(alice, heard[alice]))["e2e"]["assurance"]) == "vouched"
    assert harness.find_text("<encrypted", "Under one lock", SECRET) == []
    assert len(failed) == len(refused) == 0

    # Under `require`: keys are still published, OMEMO works inside a session, and OMEMO alone is refused.
    for name in ("bob", "carol"):
        e2e(alice).set_policy(harness.jid(name), "require")
    for name in ("bob", "alice"):
        await join(partial(harness.client, name, "laptop"), alice)
    (await lock(alice, bob.boundjid)).send()
    assert str((await unlock(bob, heard[bob]))["e2e"]["assurance"]) == "vouched"
    (await lock(alice, carol.boundjid)).send()
    assert "Nothing was sent." in str(await failed.take())
    (await lock(carol, alice.boundjid)).send()
    assert "the policy `require` refuses" in str(await refused.take())
    assert len(failed) == len(refused) == 0
    assert len(e2e(alice).sessions()) == 1

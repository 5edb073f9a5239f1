"""OMEMO (XEP-0384) beside the plugin goes on as ever, its keys come and go under every policy, and it may go inside, too."""

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

from interop.props import Heard, e2e, plugin, say, session
from interop.stage import Stage

NOT_ON = {"loopback": "it has no PEP, where OMEMO keeps its keys"}
SECRET = "Under two locks."
NAMESPACES = ("urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl")
"""Of the two versions of OMEMO that there are, each with a list of devices of its own."""


class Memory(Storage):
    """OMEMO's keys, for as long as the scene lasts."""

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
    """Blind trust before verification, as most clients begin."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._storage = Memory()

    @property
    def storage(self) -> Storage:
        """Where its keys are."""
        return self._storage

    @property
    def _btbv_enabled(self) -> bool:
        return True

    async def _prompt_manual_trust(self, manually_trusted: Any, identifier: str | None) -> None:
        raise AssertionError("nobody has verified anything")


async def join(enter: Callable[..., Awaitable[ClientXMPP]], witness: ClientXMPP | None = None) -> ClientXMPP:
    """A client that loads it as its own documentation says. Whoever is to witness it, or the client itself, hears of its keys
    and gets them. (Once all is published: of two who publish in the same instant ejabberd may refuse one.)"""
    ears: dict[str, Heard] = {}

    def prepare(client: ClientXMPP) -> None:
        register_plugin(Omemo)
        client.register_plugin("xep_0384")
        ears["ready"] = Heard(client, "omemo_initialized")
        ears["told"] = Heard(witness or client, "twomemo_device_list_publish")

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
    """OMEMO's own."""
    own: SessionManager = await plugin(client, "xep_0384").get_session_manager()
    return own


async def lock(client: ClientXMPP, peer: JID) -> Message:
    """The secret, encrypted by OMEMO to ``peer`` and not sent yet."""
    letter = client.make_message(mto=peer, mbody=SECRET, mtype="chat")
    locked: Message
    locked, errors = await plugin(client, "xep_0384").encrypt_message(letter, peer)
    assert not errors
    locked["to"] = peer
    return locked


async def unlock(client: ClientXMPP, heard: Heard) -> Message:
    """The next message as it came; OMEMO decrypts it to the secret."""
    letter: Message = await heard.take()
    assert letter["body"] != SECRET
    opened, _ = await plugin(client, "xep_0384").decrypt_message(letter)
    assert opened["body"] == SECRET
    return letter


async def play(stage: Stage) -> None:
    """Alice and Bob have both, Carol has only OMEMO."""
    alice = await join(partial(stage.encrypted, "alice", policy="require"))
    for name in ("bob", "carol"):
        e2e(alice).set_policy(stage.jid(name), "prefer")
    bob = await join(partial(stage.encrypted, "bob"), alice)
    carol = await join(partial(stage.client, "carol"), alice)
    heard = {client: Heard(client, "message") for client in (alice, bob, carol)}
    failed, refused = Heard(alice, "e2e_send_failed"), Heard(alice, "e2e_plaintext_refused")

    # Under `prefer`: by OMEMO alone, to and fro.
    (await lock(alice, carol.boundjid)).send()
    await unlock(carol, heard[carol])
    (await lock(carol, alice.boundjid)).send()
    assert str((await unlock(alice, heard[alice]))["e2e"]["assurance"]) == "none"

    # Through a session, with OMEMO and without.
    stage.server.forget()
    await session(alice, bob)
    say(alice, bob.boundjid, "Under one lock.")
    letter = await heard[bob].take()
    assert (letter["body"], str(letter["e2e"]["assurance"])) == ("Under one lock.", "vouched")
    (await lock(alice, bob.boundjid)).send()
    assert str((await unlock(bob, heard[bob]))["e2e"]["assurance"]) == "vouched"
    (await lock(bob, alice.boundjid)).send()
    assert str((await unlock(alice, heard[alice]))["e2e"]["assurance"]) == "vouched"
    assert stage.readable("<encrypted", "Under one lock", SECRET) == []
    assert len(failed) == len(refused) == 0

    # Under `require` keys still come and go, and OMEMO goes inside, but alone it is not what is required.
    for name in ("bob", "carol"):
        e2e(alice).set_policy(stage.jid(name), "require")
    for name in ("bob", "alice"):
        await join(partial(stage.client, name, "laptop"), alice)
    (await lock(alice, bob.boundjid)).send()
    assert str((await unlock(bob, heard[bob]))["e2e"]["assurance"]) == "vouched"
    (await lock(alice, carol.boundjid)).send()
    assert "Nothing was sent." in str(await failed.take())
    (await lock(carol, alice.boundjid)).send()
    assert "the policy `require` refuses" in str(await refused.take())
    assert len(failed) == len(refused) == 0
    assert len(e2e(alice).sessions()) == 1

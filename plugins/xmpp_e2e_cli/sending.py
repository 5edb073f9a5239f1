"""``xmpp-e2e send``: deliver one message inside end-to-end sessions, or nothing at all.

Delivered means: the session opened, and at the end the peer's own farewell came inside TLS, after all that we had sent.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, Happened, Link
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E
from xmpp_e2e.config import Deadlines
from xmpp_e2e.errors import E2EError, TimedOut, UntrustedKey
from xmpp_e2e.events import KeyChanged
from xmpp_e2e.identity import Assurance, Fingerprint
from xmpp_e2e.stages import Stage
from xmpp_e2e.trust.policy import Policy
from xmpp_e2e_cli.codes import RefusedByPolicy, worst

PRESENCE_SECONDS = 5.0
"""How long a contact's presence may take: his server answers within a second or so, if he is online."""
RESOURCES = 8
"""Devices of one person that get a copy, as when a program sends."""
QUIET = -1
"""Our priority: the server must not hand us what was written to the account (RFC 6121 §8.5.2.1)."""
_OURS_TO_DECIDE = frozenset({Stage.GREETED, Stage.AWAITED})
"""The hellos are done, and, unless a proof is on its way, it is our own side that does not accept the peer's key."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Delivered:
    """To whom it went, and how sure that is."""

    peer: str
    """Full JID."""
    assurance: Assurance
    fingerprint: Fingerprint


class NoPresence(PeerOffline):
    """We may not see whether, and where, the peer is online."""

    likely = "You two are not in each other's contact lists (rosters)."
    attack = ""
    remedy = (
        "Nothing was sent. Write to a full JID, which works without: xmpp-e2e send name@domain/resource"
        " (`listen` prints its own); or ask him for permission: --subscribe."
    )


class KeyHeld(UntrustedKey):
    """The session waits for our own user, who has to decide about the key; the message tells the whole story."""

    likely = attack = remedy = ""


@dataclass(frozen=True)
class Errand:
    """One message to one peer."""

    peer: JID
    body: str
    seconds: float
    """For each session: until the peer has opened it, and again until he has said farewell."""
    subscribe: bool = False
    """Ask for the peer's presence if we may not see it."""
    asks: bool = False
    """Is there a person at the terminal, who can prove a key that would be held?"""


async def deliver(client: ClientXMPP, e2e: E2E, errand: Errand, tell: Tell) -> list[Delivered]:
    """Send to every device of the peer that can take it, at least one; else the error that matters most.

    ``client`` is logged in, and sends its presence here.
    """
    if e2e.memory.policy(errand.peer.bare).policy is Policy.OFF:
        raise RefusedByPolicy(f"the policy for {errand.peer.bare} is `off`, and this command sends encrypted or not at all")
    devices = await online_devices(client, errand.peer, errand.seconds, tell, subscribe=errand.subscribe)
    tell(f"opening a session with {', '.join(devices)}")
    with _key_changes(client, tell) as changes:
        outcomes = await asyncio.gather(*(_one(client, e2e, device, errand, changes) for device in devices))
    delivered = [outcome for outcome in outcomes if isinstance(outcome, Delivered)]
    failed = [(device, o) for device, o in zip(devices, outcomes, strict=True) if isinstance(o, E2EError)]
    if not delivered:
        raise worst([error for _, error in failed])
    for device, error in failed:
        if not isinstance(error, PeerWithoutE2E):
            tell(f"not sent to {device}: {error}")
    return delivered


async def _one(
    client: ClientXMPP, e2e: E2E, device: str, errand: Errand, changes: dict[Link, KeyChanged]
) -> Delivered | E2EError:
    try:
        link = await _opened(e2e, device, errand, changes)
        message: Any = client.make_message(mto=device, mbody=errand.body, mtype="chat")
        # Into this session, not by way of a queue: whatever happens, it goes in there or nowhere.
        link.send(message.xml)
        return await closed(link, errand.seconds)
    except E2EError as error:
        return error


@contextmanager
def _key_changes(client: ClientXMPP, tell: Tell) -> Iterator[dict[Link, KeyChanged]]:
    """What happens to peers' keys meanwhile. What is accepted is told; the rest becomes the error."""
    changes: dict[Link, KeyChanged] = {}

    def changed(happened: Happened) -> None:
        assert isinstance(happened.detail, KeyChanged)
        changes[happened.session] = happened.detail
        if happened.detail.decision == "accept":
            tell(happened.detail.text)

    client.add_event_handler("e2e_key_changed", changed)
    try:
        yield changes
    finally:
        client.del_event_handler("e2e_key_changed", changed)


async def _opened(e2e: E2E, device: str, errand: Errand, changes: dict[Link, KeyChanged]) -> Link:
    """A session through which stanzas flow; KeyHeld if it waits for our own user, who has to act first."""
    seconds = max(errand.seconds, Deadlines().human) if errand.asks else errand.seconds
    try:
        async with asyncio.timeout(seconds):
            link = await e2e.connect(device)
            if link.stage in _OURS_TO_DECIDE and not link.proving:
                link.end()
                raise KeyHeld(_why(link, changes.get(link)))
            await link.opened()
    except TimeoutError:
        raise TimedOut(f"{device} did not open the session within {seconds:g} seconds; nothing was sent") from None
    return link


def _why(link: Link, change: KeyChanged | None) -> str:
    if change is not None:
        return change.text
    bare, shown = JID(link.peer).bare, link.fingerprint
    return (
        f"the key of {link.peer} is only {link.assurance}, and verified is required: a server that reads along could show"
        f" a key of its own. Nothing was sent. Compare the fingerprint with the peer by another way, then:"
        f" xmpp-e2e trust pin {shlex.quote(bare)} {shown}"
    )


async def closed(link: Link, seconds: float) -> Delivered:
    """Farewells on both sides: then the message is known to have arrived. Raises what went wrong instead."""
    assurance, fingerprint = link.assurance, link.fingerprint
    assert fingerprint is not None
    link.end()
    try:
        async with asyncio.timeout(seconds):
            error = await link.ended()
    except TimeoutError:
        raise TimedOut(f"{link.peer} did not say farewell within {seconds:g} seconds; it may have arrived") from None
    if error is not None:
        raise error
    return Delivered(link.peer, assurance, fingerprint)


# --- where is he? ----------------------------------------------------------------------------------------------------


async def online_devices(
    client: ClientXMPP, peer: JID, seconds: float, tell: Tell, *, subscribe: bool = False
) -> list[str]:
    """The full JIDs of the peer's online devices, best priority first; or the one that is named. PeerOffline, NoPresence.

    ``subscribe``: ask him to let us see them, and wait so many seconds for that."""
    if peer.resource:
        return [peer.full]
    bare = peer.bare
    appeared = asyncio.Event()
    patience, absent = PRESENCE_SECONDS, f"{bare} is not online"

    def noticed(presence: Any) -> None:
        if presence["from"].bare == bare:
            appeared.set()

    client.add_event_handler("presence_available", noticed)
    try:
        await client.get_roster()
        client.send_presence(ppriority=QUIET)
        if client.client_roster[bare]["subscription"] not in ("to", "both") and bare != client.boundjid.bare:
            if not subscribe:
                raise NoPresence(f"{bare} does not let {client.boundjid.bare} see his presence")
            tell(f"asking {bare} for permission to see his presence (a subscription request); waiting for his answer")
            client.send_presence_subscription(bare)
            patience, absent = seconds, f"{bare} is not online, or has not answered the request"
        # The server answers in order: what it had to tell at once has been told before this answer.
        await client.get_roster()
        if not appeared.is_set():
            await _wait(appeared, patience)
            await client.get_roster()
    finally:
        client.del_event_handler("presence_available", noticed)
    present = client.client_roster[bare].resources.items()
    ranked = sorted(present, key=lambda item: -int(item[1].get("priority") or 0))
    devices = [full for name, _ in ranked if (full := f"{bare}/{name}") != client.boundjid.full]
    if not devices:
        raise PeerOffline(absent)
    return devices[:RESOURCES]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """For the event, but not for ever."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass

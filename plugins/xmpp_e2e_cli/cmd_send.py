"""``xmpp-e2e send``: deliver one message inside end-to-end sessions, or nothing at all.

Delivery means: the session opened, and at the end the peer's own farewell came inside TLS, after all that we had sent.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slixmpp import JID, ClientXMPP

from slixmpp_e2e import E2E, E2ESession, KeyChanged, Policy
from slixmpp_e2e.errors import PeerOffline, PeerWithoutE2E, RefusedByPolicy
from slixmpp_e2e.messages.routing import MAX_DEVICES
from xmpp_e2e.config import Timeouts
from xmpp_e2e.errors import E2EError, Timeout, UntrustedKey
from xmpp_e2e.states import AWAITING_OUR_DONE
from xmpp_e2e.types import Assurance, Fingerprint
from xmpp_e2e_cli.connection import handling
from xmpp_e2e_cli.exit_codes import most_urgent

PRESENCE_SECONDS = 5.0
"""Time for a contact's presence to arrive. Their server answers within a second or so if they are online."""
NEGATIVE_PRIORITY = -1
"""Our presence priority: the server must not route messages for the account to us (RFC 6121 §8.5.2.1)."""

Progress = Callable[[str], None]
"""Prints a line about progress."""


@dataclass(frozen=True)
class Delivery:
    """A delivered message: the recipient, and how well their key is verified."""

    peer: str
    """The full JID."""
    assurance: Assurance
    fingerprint: Fingerprint


class PresenceNotShared(PeerOffline):
    """The peer does not share their presence with us, so their devices are unknown."""

    likely = "You two are not in each other's contact lists (rosters)."
    attack = ""
    remedy = (
        "Nothing was sent. Write to a full JID, which needs no presence: xmpp-e2e send name@domain/resource"
        " (`listen` prints its own). Or ask for permission: --subscribe."
    )


@dataclass(frozen=True)
class Message:
    """The message to send to one peer."""

    peer: JID
    body: str
    seconds: float
    """Timeout for the peer to open a session, and again for the peer to close it."""
    subscribe: bool = False
    """Send a subscription request if the peer does not share their presence."""
    can_ask: bool = False
    """A user at the terminal can verify a key that is not accepted yet."""


async def deliver(client: ClientXMPP, e2e: E2E, message: Message, tell: Progress) -> list[Delivery]:
    """Send to every device of the peer that accepts it. Raises the most urgent error if none does.

    ``client`` is logged in; its presence is sent here.
    """
    if e2e.policy_of(message.peer.bare) is Policy.OFF:
        raise RefusedByPolicy(f"our policy for {message.peer.bare} is `off`, but this command sends encrypted or not at all")
    devices = await online_devices(client, message.peer, message.seconds, tell, subscribe=message.subscribe)
    tell(f"opening a session with {', '.join(devices)}")
    with _key_changes(client, tell) as changes:
        outcomes = await asyncio.gather(*(_deliver_to(client, e2e, device, message, changes) for device in devices))
    delivered = [outcome for outcome in outcomes if isinstance(outcome, Delivery)]
    failed = [(device, o) for device, o in zip(devices, outcomes, strict=True) if isinstance(o, E2EError)]
    if not delivered:
        raise most_urgent([error for _, error in failed])
    for device, error in failed:
        if not isinstance(error, PeerWithoutE2E):
            tell(f"not sent to {device}: {error}")
    return delivered


async def _deliver_to(
    client: ClientXMPP, e2e: E2E, device: str, message: Message, changes: dict[E2ESession, KeyChanged]
) -> Delivery | E2EError:
    try:
        session = await _open_session(e2e, device, message, changes)
        stanza: Any = client.make_message(mto=device, mbody=message.body, mtype="chat")
        # Straight into this session, past the queue: whatever happens, the stanza goes there or nowhere.
        session.send(stanza)
        return await close_session(session, message.seconds)
    except E2EError as error:
        return error


@contextmanager
def _key_changes(client: ClientXMPP, tell: Progress) -> Iterator[dict[E2ESession, KeyChanged]]:
    """Collect changes of peers' keys. Print those that are accepted; the others become the error."""
    changes: dict[E2ESession, KeyChanged] = {}

    def changed(event: KeyChanged) -> None:
        changes[event.session] = event
        if event.decision == "accept":
            tell(event.text)

    with handling(client, {KeyChanged.name: changed}):
        yield changes


async def _open_session(e2e: E2E, device: str, message: Message, changes: dict[E2ESession, KeyChanged]) -> E2ESession:
    """Return an open session. Raises UntrustedKey if our own user has to decide about the key first."""
    seconds = max(message.seconds, Timeouts().user) if message.can_ask else message.seconds
    try:
        async with asyncio.timeout(seconds):
            session = await e2e.connect(device)
            if session.state in AWAITING_OUR_DONE and not session.is_verifying:  # our own side does not accept the key
                await session.close()
                raise UntrustedKey(_explain_key(session, changes.get(session)))
            await session.wait_open()
    except TimeoutError:
        raise Timeout(f"{device} did not open the session within {seconds:g} seconds; nothing was sent") from None
    return session


def _explain_key(session: E2ESession, change: KeyChanged | None) -> str:
    if change is not None:
        return change.text
    bare, shown = JID(session.peer).bare, session.fingerprint
    return (
        f"the key of {session.peer} is only {session.assurance}, but must be verified: a dishonest server could show its own"
        " key. Nothing was sent. Compare the fingerprint with the peer over another channel, then:"
        f" xmpp-e2e trust pin {shlex.quote(bare)} {shown}"
    )


async def close_session(session: E2ESession, seconds: float) -> Delivery:
    """Close the session and wait for the peer to close it too: then the message has arrived. Raises the session's error."""
    assurance, fingerprint = session.assurance, session.fingerprint
    assert fingerprint is not None
    try:
        async with asyncio.timeout(seconds):
            error = await session.close()
    except TimeoutError:
        text = f"{session.peer} did not close the session within {seconds:g} seconds; the message may have arrived"
        raise Timeout(text) from None
    if error is not None:
        raise error
    return Delivery(session.peer, assurance, fingerprint)


# --- the peer's devices ---------------------------------------------------------------------------------------------


async def online_devices(
    client: ClientXMPP, peer: JID, seconds: float, tell: Progress, *, subscribe: bool = False
) -> list[str]:
    """Return the full JIDs of the peer's online devices, highest priority first; or the one that ``peer`` names.

    ``subscribe`` asks the peer to share their presence, and waits up to ``seconds`` for it. Raises PeerOffline,
    PresenceNotShared.
    """
    if peer.resource:
        return [peer.full]
    bare = peer.bare
    appeared = asyncio.Event()
    timeout, absent = PRESENCE_SECONDS, f"{bare} is not online"

    def on_presence(presence: Any) -> None:
        if presence["from"].bare == bare:
            appeared.set()

    with handling(client, {"presence_available": on_presence}):
        await client.get_roster()
        client.send_presence(ppriority=NEGATIVE_PRIORITY)
        if client.client_roster[bare]["subscription"] not in ("to", "both") and bare != client.boundjid.bare:
            if not subscribe:
                raise PresenceNotShared(f"{bare} does not let {client.boundjid.bare} see their presence")
            tell(f"asking {bare} for permission to see their presence (a subscription request); waiting for the answer")
            client.send_presence_subscription(bare)
            timeout, absent = seconds, f"{bare} is not online, or has not answered the request"
        # The server answers in order: presence that it had ready has arrived before this answer.
        await client.get_roster()
        if not appeared.is_set():
            await _wait(appeared, timeout)
            await client.get_roster()
    present = client.client_roster[bare].resources.items()
    ranked = sorted(((int(data.get("priority") or 0), f"{bare}/{name}") for name, data in present), key=lambda one: -one[0])
    devices = [full for priority, full in ranked if priority >= 0 and full != client.boundjid.full]  # RFC 6121 §8.5.2.1.1
    if not devices:
        raise PeerOffline(absent)
    return devices[:MAX_DEVICES]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, up to ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
